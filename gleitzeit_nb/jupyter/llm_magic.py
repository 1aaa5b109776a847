"""`%%llm`: ask the pool, show the answer while it arrives, and have it as a value. `%llm models`, `%llm ps`: what there is."""

from __future__ import annotations

import argparse
import difflib
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand

from gleitzeit_nb.core.limit_options import positive
from gleitzeit_nb.core.requests import Kind, LLMRequest, RequestOptions
from gleitzeit_nb.core.runner_options import RUNNER_OPTIONS
from gleitzeit_nb.core.strategies import STRATEGIES
from gleitzeit_nb.core.threads import Thread
from gleitzeit_nb.errors import GleitzeitError, UsageError
from gleitzeit_nb.jupyter.arguments import MagicParser, documented, ending_with, identifier, joined, key_value, listed
from gleitzeit_nb.jupyter.failures import fails_briefly
from gleitzeit_nb.jupyter.jobs.bg_option import add_bg_option, answer_in_background, refuse_beside_bg
from gleitzeit_nb.jupyter.jobs.command import JOBS_HELP, jobs_parser, look_at_jobs
from gleitzeit_nb.jupyter.llm.answering import answer_into, given_up
from gleitzeit_nb.jupyter.llm.cache_command import CACHE_HELP, cache_parser, cache_text
from gleitzeit_nb.jupyter.llm.constraint_options import add_constraint_options, constraint_keywords
from gleitzeit_nb.jupyter.llm.conversation import Conversation
from gleitzeit_nb.jupyter.llm.fix_command import FIX_HELP, Fixer, fix_parser
from gleitzeit_nb.jupyter.llm.options import add_api_options, api_keywords, kind_of
from gleitzeit_nb.jupyter.llm.receipts_command import ReceiptTable, look_at_receipts, receipts_parser
from gleitzeit_nb.jupyter.llm.run_option import CodeRunner, add_run_options, runner_of
from gleitzeit_nb.jupyter.llm.several_option import MOST_ANSWERS, refuse_several, several
from gleitzeit_nb.jupyter.llm.strategy_option import strategies_text, strategy
from gleitzeit_nb.jupyter.llm.thinking import show_thinking
from gleitzeit_nb.jupyter.llm.thread_commands import THREAD_COMMANDS, look_at_threads, thread_parser
from gleitzeit_nb.jupyter.llm.thread_options import add_thread_options, thread_of
from gleitzeit_nb.jupyter.llm.tool_rounds import called, converse, toolbox_of
from gleitzeit_nb.jupyter.llm.upkeep_commands import COMMANDS, keep_up, upkeep_parser
from gleitzeit_nb.jupyter.llm.vectors import embedded, texts_of
from gleitzeit_nb.jupyter.template import expand
from gleitzeit_nb.jupyter.values import LLMReply
from gleitzeit_nb.llm.asking import request_from
from gleitzeit_nb.llm.params import MODEL_OPTIONS

if TYPE_CHECKING:
    from gleitzeit_nb.jupyter.front import Front
    from gleitzeit_nb.jupyter.jobs.handle import JobHandle
    from gleitzeit_nb.jupyter.llm.several import Answers
    from gleitzeit_nb.jupyter.llm.transcripts import ThreadTable, Transcript
    from gleitzeit_nb.llm.tools import Toolbox

_FORMATS = "Give json, or the name of a variable that holds a JSON Schema or a pydantic model."


def llm_parser() -> MagicParser:
    parser = MagicParser("%%llm", "Ask the pool; the cell's text is the prompt. {expression} in it is replaced by its value.")
    parser.expands = True
    parser.examples = ("%%llm -m llama3.2 --tags gpu -o answer\nWhat is unusual about {numbers}?",)
    parser.section("asking")
    add = parser.add_argument
    add("-m", "--model", metavar="NAME", offers="model", help="the model; default: the configured one, else the only or first warm one")
    add("--system", metavar="TEXT", help="the system prompt; a conversation keeps it until another is given")
    add(
        "--option",
        type=key_value,
        action="append",
        metavar="K=V",
        words=[f"{name}=" for name in sorted(MODEL_OPTIONS | RUNNER_OPTIONS)],
        help="a model option such as temperature=0; may be repeated",
    )
    add("-o", "--output", type=identifier, metavar="NAME", offers="variable", help="bind the reply to this variable")
    add("--raw", action="store_true", help="expand nothing: braces are sent as they are")
    add(
        "-n",
        dest="answers",
        type=several,
        metavar="N",
        words=tuple(map(str, range(2, MOST_ANSWERS + 1))),
        help="so many answers at once, side by side, each with a seed of its own",
    )
    add("--deadline", type=positive, metavar="S", help="seconds for everything, waiting and retries included")
    add("--restart-on-cut", action="store_true", help="ask again from the start, elsewhere, when the answer breaks off")
    add_thread_options(parser)
    add_constraint_options(parser)
    add(
        "--strategy",
        type=strategy,
        metavar="NAME",
        words=tuple(STRATEGIES),
        help="how one of them is picked: auto, round_robin, …; %%llm help has all",
    )
    add_api_options(parser)
    add(
        "--format",
        metavar="json|NAME",
        words=("json",),
        offers="shape",
        help="answer in JSON, unchecked; NAME: a variable that holds a schema",
    )
    add_run_options(parser)
    parser.section("what is shown")
    add_bg_option(parser)
    add("--no-stream", action="store_true", help="show the answer once, when it is whole")
    add("-q", "--quiet", action="store_true", help="show nothing")
    return parser


Given = TypeVar("Given", LLMReply, "JobHandle")
SUBCOMMANDS: Mapping[str, str] = {
    "models": "what each instance has",
    "ps": "what is loaded",
    "explain": "OPTIONS: who would answer a cell with these options, and why not the others",
    "receipts": "what became of the last requests",
    "fix": FIX_HELP,
    **THREAD_COMMANDS,
    **COMMANDS,
    "cache": CACHE_HELP,
    "jobs": JOBS_HELP,
    "help": "all commands, and the options of %%llm",
}


def look_parser() -> MagicParser:
    """`%llm` with its subcommands."""
    parser = MagicParser("%llm", "What the pool has and does. To ask a model, begin a cell with %%llm.")
    own: dict[str, Callable[[], MagicParser]] = {name: partial(upkeep_parser, name) for name in COMMANDS}
    own |= {name: partial(thread_parser, name) for name in THREAD_COMMANDS}
    own |= {"fix": fix_parser, "explain": llm_parser, "receipts": receipts_parser, "cache": cache_parser, "jobs": jobs_parser}
    parser.commands = {name: own.get(name, partial(MagicParser, f"%llm {name}", text)) for name, text in SUBCOMMANDS.items()}
    return parser


def look_text() -> str:
    """All commands, and the options of a cell: Lab's Shift+Tab on `%%llm` asks for the line's help."""
    return f"{listed('%llm', SUBCOMMANDS)}\n\nOn a cell:\n{llm_parser().format_help()}"


@magics_class
class LLMMagics(Magics):
    front: Front

    def __init__(self, front: Front) -> None:
        super().__init__(front.shell)
        self.front = front
        self._fixer = Fixer(front)

    @no_var_expand
    @cell_magic("llm")  # type: ignore[arg-type]
    @fails_briefly
    @documented(llm_parser)
    def ask(self, line: str, cell: str) -> LLMReply | Answers | JobHandle | None:
        """Ask the pool of models; the cell's text is the prompt.

        `{expression}` in the cell and in the options is replaced by its value from the notebook, once; `{{` and `}}` are literal
        braces; `--raw` replaces nothing. The cell's value is the reply: `.text`, `.json()`, `.model`, `.instance`, `.reply`.
        """
        parser = llm_parser()
        raw = "--raw" in line.replace(";", " ").split()
        args = parser.read(line, None if raw else self._expand_word)
        if args.help:
            print(parser.format_help())  # noqa: T201
            return None
        if not cell.strip():
            raise UsageError("%%llm: the cell holds no prompt.\nWrite it below the first line.")
        kind = kind_of(args)
        refuse_beside_bg(args)
        expanded = str if raw else self._expand
        if kind == "embed":
            runner_of(args, self.front, str)  # which refuses
            return self._given(embedded(self.front, self._request(args, "embed", inputs=texts_of(cell, self.front, expanded))), args)
        refuse_several(args)
        box = toolbox_of(args, self.front)
        runner = runner_of(args, self.front, str if raw else self._expand_word)
        request = self._request(args, kind, expanded(cell.strip()))
        talk = self._talk(args, configured=kind == "chat")
        if talk is not None:
            request = talk.of(request, args.system)
        if args.answers is not None:
            from gleitzeit_nb.jupyter.llm.several import ask_several

            answers = ask_several(self.front, request, args, talk)
            return None if args.quiet else answers
        if box is not None:
            request = replace(request, tools=box.schemas, cache=False if box.allowed else request.cache)
        if args.bg:
            return self._given(answer_in_background(self.front, request, args, runner, talk), args)
        reply = self._answered(request, args, talk, box)
        given = self._given(reply, args)
        return given if runner is None else self._run_code(runner, reply, args)

    def _answered(self, request: LLMRequest, args: argparse.Namespace, talk: Conversation | None, box: Toolbox | None = None) -> LLMReply:
        """Ask, show the answer while it comes, and keep it where it belongs to a conversation."""
        from gleitzeit_nb.jupyter.display.answer import answer_view

        stream = self.front.streams and not args.no_stream
        view = answer_view(self.front, stream=stream, quiet=args.quiet, as_json=(args.format or args.schema) is not None)
        with given_up(view, talk.unkept if talk is not None else ""):
            if box is None:
                reply = LLMReply(answer_into(view, self.front, request))
            else:
                reply = converse(view, self.front, request, box, args)
        if talk is not None:
            talk.keep(reply)
        view.finish(metadata=reply.metadata(), instead=called(reply.tool_calls))
        if not args.quiet:
            show_thinking(self.front, reply.thinking)
            reply.stands_above(self.front.this_cell())
        return reply

    def _run_code(self, runner: CodeRunner, reply: LLMReply, args: argparse.Namespace) -> LLMReply | None:
        """The answer stays, and is bound, whatever becomes of its code."""
        failure: GleitzeitError | KeyboardInterrupt | None
        try:
            failure = runner.run_below(self.front, reply)
        except (GleitzeitError, KeyboardInterrupt) as exc:
            failure = exc
        if failure is None:
            return None if args.quiet else reply
        if not args.quiet:
            self.front.shell.displayhook(reply)
        raise failure

    def _given(self, reply: Given, args: argparse.Namespace) -> Given | None:
        """The cell's value, bound where that was asked for."""
        if args.output:
            self.front.shell.user_ns[args.output] = reply
        return None if args.quiet else reply

    @no_var_expand
    @line_magic("llm")  # type: ignore[arg-type]
    @fails_briefly
    @ending_with(look_text)
    def look(self, line: str) -> LLMReply | ReceiptTable | ThreadTable | Transcript | JobHandle | None:
        """What the pool has and does. To ask a model, begin a cell with %%llm."""
        words = line.split()
        command = words[0] if words else "help"
        if command in ("help", "-h", "--help"):
            print(f"{look_text()}{strategies_text()}")  # noqa: T201
        elif command == "receipts":
            return look_at_receipts(self.front, line.partition(command)[2])
        elif command == "fix":
            return self._fix(line.partition(command)[2])
        elif command in THREAD_COMMANDS:
            return look_at_threads(self.front, command, line.partition(command)[2])
        elif command in COMMANDS:
            keep_up(self.front, command, line.partition(command)[2])
        elif command == "explain":
            self._explain(line.partition(command)[2])
        elif command == "jobs":
            return look_at_jobs(self.front, line.partition(command)[2])
        elif command == "cache":
            print(cache_text(self.front, words[1:]))  # noqa: T201
        elif command in ("models", "ps") and words[1:] in (["-h"], ["--help"]):
            print(look_parser().commands[command]().format_help())  # noqa: T201
        elif command in ("models", "ps"):
            if words[1:]:
                raise UsageError(f"%llm {command} takes nothing more: {' '.join(words[1:])[:40]!r}.\nIt lists all; write it alone.")
            from gleitzeit_nb.jupyter.listings import aliases_text, loaded_text, models_text

            engine = self.front.engine
            if command == "models":
                print(models_text(self.front.runtime.call(engine.pool.models())) + aliases_text(engine.config.pool.aliases))  # noqa: T201
            else:
                print(loaded_text(self.front.runtime.call(engine.pool.ps())))  # noqa: T201
        else:
            near = difflib.get_close_matches(command, SUBCOMMANDS, n=1) if len(words) == 1 else []
            hint = f"did you mean %llm {near[0]}?" if near else f"known are {', '.join(SUBCOMMANDS)}."
            raise UsageError(f"%llm: there is no subcommand {command[:40]!r}; {hint}\nTo ask a model, begin the cell with %%llm.")
        return None

    def _fix(self, line: str) -> LLMReply | None:
        with self._fixer.explaining():
            args = self._fixer.arguments(line)
            if args.help:
                print(fix_parser().format_help())  # noqa: T201
                return None
            question = self._fixer.question(args)
            if isinstance(question, str) or args.show:
                print(question)  # noqa: T201
                return None
            if not args.quiet:
                self._fixer.show(question)
            request = replace(self._request(args, "chat", question.text), label=f"[{self.front.cell_number}] %llm fix")
            talk = self._talk(args, configured=False)
            return self._given(self._answered(request if talk is None else talk.of(request, args.system), args, talk), args)

    def _explain(self, line: str) -> None:
        args = llm_parser().read(line, self._expand_word)
        if args.help:
            print(f"%llm explain takes the options of %%llm.\n\n{llm_parser().format_help()}{strategies_text()}")  # noqa: T201
            return
        kind = kind_of(args)
        pool, request = self.front.engine.pool, self._request(args, kind, "" if kind == "embed" else "explain")
        talk = self._talk(args, configured=kind == "chat")
        request = request if talk is None else talk.of(request, args.system)
        print(pool.explain_request(request))  # noqa: T201

    # -- the request --------------------------------------------------------------------------------------------------------

    def _talk(self, args: argparse.Namespace, *, configured: bool) -> Conversation | None:
        """The cell's part in a conversation; None: it stands alone. `configured`: also the one that `%config` names."""
        name = thread_of(args, self.front.settings.thread if configured else "")
        return Conversation(self.front, self.front.threads.get(name) or Thread(name)) if name else None

    def _expand(self, text: str) -> str:
        return expand(text, self.front.evaluate)

    def _expand_word(self, word: str) -> str:
        return word if word.startswith('{"') else self._expand(word)  # a schema written out is no expression

    def _request(self, args: argparse.Namespace, kind: Kind, prompt: str = "", inputs: tuple[str, ...] = ()) -> LLMRequest:
        settings = self.front.settings
        options: RequestOptions = {
            **constraint_keywords(args),
            "tags": tuple(settings.tags) if args.tags is None else joined(args.tags),
            "strategy": args.strategy or settings.strategy or None,
            "options": dict(args.option or ()),
            "format": None if args.format is None else self._format(args.format),
            "deadline": settings.deadline if args.deadline is None else args.deadline,
            "cache": settings.cache if args.cache is None else args.cache,
            "restart_on_cut": args.restart_on_cut,
        }
        if kind != "embed":
            options |= api_keywords(args, self.front)
        label = f"[{self.front.cell_number}] %%llm"
        name = f"cell-{secrets.token_hex(6)}"
        model = args.model or settings.model
        if kind == "chat":
            system = [{"role": "system", "content": args.system}] if args.system else []
            return request_from(name, kind, model, messages=[*system, {"role": "user", "content": prompt}], label=label, **options)
        return request_from(name, kind, model, prompt=prompt or None, system=args.system, inputs=inputs, label=label, **options)

    def _format(self, text: str) -> str | Mapping[str, Any]:
        """`json`, a JSON Schema written out, or the name of a variable that holds one or a pydantic model."""
        if text == "json":
            return "json"
        value: Any
        if text.startswith("{"):
            try:
                value = json.loads(text)
            except ValueError as error:
                raise UsageError(f"--format: this is not JSON: {error}.\n{_FORMATS}") from error
        elif text in self.front.shell.user_ns:
            value = self.front.shell.user_ns[text]
        else:
            raise UsageError(f"--format: there is no variable {text[:60]!r} in the notebook.\n{_FORMATS}")
        schema = getattr(value, "model_json_schema", None)
        value = schema() if callable(schema) else value
        if not isinstance(value, Mapping):
            raise UsageError(f"--format: {text[:60]} is no JSON Schema but a {type(value).__name__}.\n{_FORMATS}")
        return value
