"""The values of cells: an answer and a run, each an ordinary object: one line below its own cell, elsewhere all that it holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gleitzeit_nb.core.displays import Display
from gleitzeit_nb.core.execution import ExecutionResult
from gleitzeit_nb.core.network import NetworkRecord, summary
from gleitzeit_nb.core.plain import one_line, size_words
from gleitzeit_nb.core.requests import Reply
from gleitzeit_nb.errors import NotJSONError
from gleitzeit_nb.jupyter.display.quiet import quiet_lines
from gleitzeit_nb.rendering.answers import origin

if TYPE_CHECKING:
    from gleitzeit_nb.core.requests import Message
    from gleitzeit_nb.jupyter.llm.conversation import Place
    from gleitzeit_nb.llm.tools import ToolRun


FILES_SHOWN = 20
WORTH_TELLING_S = 0.1  # of waiting for a worker


def _listed(files: Sequence[str]) -> str:
    more = len(files) - FILES_SHOWN
    return ", ".join(files[:FILES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _is_json(text: str) -> bool:
    """Whether the whole text is a JSON object or array."""
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


class CellValue:
    """Shows `footer()` below the cell that showed `content()` already, and both wherever else Jupyter shows a value."""

    _above: Callable[[], bool] | None = None

    def stands_above(self, here: Callable[[], bool]) -> None:
        """What it holds is shown already in the cell of which `here` is true."""
        self._above = here

    def content(self) -> dict[str, str]:
        """What it holds, made harmless: "text/plain", and "text/markdown" or "text/html". Empty where there is nothing to show."""
        return {}

    def footer(self) -> str:
        raise TypeError("a subclass says what its line is")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.footer()}>"

    def notes(self) -> tuple[str, ...]:
        """What deserves a line of its own below that one."""
        return ()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        lines = (self.footer(), *self.notes())
        held = {} if self._above is not None and self._above() else self.content()
        plain = "\n".join([*([held["text/plain"].rstrip("\n")] if held else []), *lines])
        if "text/markdown" in held:
            from gleitzeit_nb.jupyter.markdown.harmless import harmless_line

            noted = "  \n".join(f"*{harmless_line(line)}*" for line in lines)
            return {"text/plain": plain, "text/markdown": f"{held['text/markdown']}\n\n{noted}"}
        return {"text/plain": plain, "text/html": held.get("text/html", "") + quiet_lines(lines)}


class LLMReply(CellValue):
    """An answer of the pool. `str()` is its text, so that `{answer}` in the next prompt inserts it; the text is untrusted."""

    def __init__(self, reply: Reply, tool_runs: tuple[ToolRun, ...] = (), asked_tools: tuple[Message, ...] = ()) -> None:
        self.reply = reply
        self.tool_runs = tool_runs
        self.execution: SandboxRun | None = None  # of its code, where `--run` ran that
        self._code_notes: tuple[str, ...] = ()
        self.place: Place | None = None  # in a conversation
        self._asked_tools = asked_tools

    def __str__(self) -> str:
        return self.reply.text

    def __format__(self, spec: str) -> str:
        return format(self.reply.text, spec)

    @property
    def text(self) -> str:
        return self.reply.text

    @property
    def model(self) -> str:
        return self.reply.model

    @property
    def instance(self) -> str:
        return self.reply.instance

    @property
    def tokens(self) -> int | None:
        """How many were generated; None when the server did not say."""
        return self.reply.usage.completion_tokens

    @property
    def thinking(self) -> str:
        """What the model thought before it answered; untrusted as its text."""
        return self.reply.thinking

    @property
    def object(self) -> Any:
        """What `--schema` made of the text: an object of that type, or plain JSON."""
        return self.reply.parsed

    @property
    def said(self) -> tuple[Message, ...]:
        """The answer as a dialogue goes on from it: what tools were asked and told, then the text."""
        calls = {"tool_calls": list(self.tool_calls)} if self.tool_calls else {}
        return (*self._asked_tools, {"role": "assistant", "content": self.text, **calls})

    @property
    def tool_calls(self) -> tuple[Mapping[str, Any], ...]:
        """The calls that the model wants made and that were not: those in `tool_runs` were."""
        return self.reply.tool_calls

    @property
    def logprobs(self) -> tuple[Mapping[str, Any], ...]:
        """{"token", "logprob", "top_logprobs"?} for each token, where they were asked for."""
        return self.reply.logprobs

    def json(self) -> Any:
        """The text as JSON. NotJSONError, a ValueError, where it is none; the message shows where."""
        try:
            return json.loads(self.reply.text)
        except json.JSONDecodeError as error:
            near = one_line(self.reply.text[max(0, error.pos - 20) : error.pos + 20])
            raise NotJSONError(f"the answer is not JSON: {error.msg} near {near!r}.\nAsk with --format json, or with --schema.") from None

    def content(self) -> dict[str, str]:
        """The text, as code where it is JSON; and what its code printed and showed."""
        from gleitzeit_nb.jupyter.display.answer import fenced, harmless_json, whole
        from gleitzeit_nb.jupyter.llm.tool_rounds import called
        from gleitzeit_nb.jupyter.markdown.harmless import harmless

        shown = whole(self.text, harmless_json if _is_json(self.text) else harmless, instead=called(self.tool_calls))
        run = self.execution.content() if self.execution is not None else {}
        if not run.get("text/plain"):
            return shown
        joined = {"text/plain": f"{shown['text/plain'].rstrip()}\n{run['text/plain']}"}
        return {**joined, "text/markdown": f"{shown['text/markdown']}\n\n*its code printed*\n\n{fenced('text', run['text/plain'])}"}

    def footer(self) -> str:
        """Instance, model, tokens, rate, seconds, retries. Of an answer that was kept, no times: nobody was asked."""
        reply, rate = self.reply, self.reply.usage.tokens_per_s
        asked = reply.source == "instance"
        parts = [origin(reply), one_line(f"{reply.alias} → {reply.model}" if reply.alias else reply.model, 60)]
        parts += [] if self.tokens is None else ["1 token" if self.tokens == 1 else f"{self.tokens} tokens"]
        parts += [f"{rate:.1f} tok/s"] if rate is not None and asked else []
        parts += [f"{reply.elapsed_s:.1f} s", self._retries()] if asked else []
        parts += [f"tool calls: {len(self.tool_runs)} run, {len(self.tool_calls)} not run"] if self.tool_runs or self.tool_calls else []
        parts += [str(self.place)] if self.place is not None else []
        parts += ["repaired once"] if reply.repairs else []
        parts += [] if reply.done_reason in ("", "stop") else [f"ended by {one_line(reply.done_reason, 30)}"]
        return " · ".join(parts)

    def notes(self) -> tuple[str, ...]:
        """What was asked for and not followed, what of a conversation was not sent; and the run of its code."""
        placed = (self.place.note,) if self.place is not None and self.place.note else ()
        lines = tuple(one_line(notice, 400) for notice in (*self.reply.notices, *placed))
        if self.execution is None:
            return lines
        return (*lines, " · ".join((f"its code: {self.execution.footer()}", *self._code_notes)), *self.execution.notes())

    def executed(self, run: SandboxRun, notes: tuple[str, ...] = ()) -> None:
        """The code of this answer was run. `notes`: what was put together for that."""
        self.execution, self._code_notes = run, notes

    def _retries(self) -> str:
        retries = self.reply.route.retries
        if not retries:
            return "no retries"
        failed = ", ".join(f"{one_line(each.instance, 40)}: {one_line(each.outcome, 40)}" for each in self.reply.route.attempts[:-1])
        return f"{retries} {'retry' if retries == 1 else 'retries'} ({failed})"

    def metadata(self) -> dict[str, Any]:
        """What a notebook file remembers of where the answer came from."""
        reply = self.reply
        placed = {"thread": self.place.thread, "turn": self.place.number} if self.place is not None else {}
        return {
            "gleitzeit_nb": {
                **placed,
                "instance": reply.instance,
                "model": reply.model,
                "source": reply.source,
                "tokens": self.tokens,
                "elapsed_s": round(reply.elapsed_s, 3),
                "route": [{"instance": each.instance, "outcome": each.outcome} for each in reply.route.attempts],
            }
        }


class SandboxRun(CellValue):
    """A run in the sandbox. Everything that the code made, its texts included, is untrusted."""

    def __init__(self, result: ExecutionResult) -> None:
        self.result = result
        self.saved: tuple[tuple[str, int], ...] = ()  # (name, bytes) of the files that were written to `saved_to`
        self.saved_to = ""

    @property
    def status(self) -> str:
        return self.result.status

    @property
    def ok(self) -> bool:
        return self.result.ok

    @property
    def mode(self) -> str:
        return self.result.mode

    @property
    def stdout(self) -> str:
        return self.result.stdout

    @property
    def stderr(self) -> str:
        return self.result.stderr

    @property
    def displays(self) -> tuple[Display, ...]:
        """What it showed: the value of its last expression, figures, `display()`."""
        return self.result.displays

    @property
    def outputs(self) -> dict[str, Any]:
        return dict(self.result.outputs)

    @property
    def artifacts(self) -> dict[str, bytes]:
        """The files that it left, where they were asked for."""
        return dict(self.result.artifacts)

    @property
    def traceback(self) -> str:
        return self.result.traceback

    @property
    def network(self) -> tuple[NetworkRecord, ...]:
        """Which hosts the code asked for, and what became of it."""
        return self.result.network

    def content(self) -> dict[str, str]:
        """What it printed, then what it displayed."""
        from gleitzeit_nb.jupyter.jobs.output_html import RunOutput

        output = RunOutput()
        output.add(("stdout", self.stdout))
        output.add(("stderr", self.stderr))
        for shown in self.displays:
            output.add(shown)
        output.add(("stderr", self.traceback))
        output.end()
        return output.bundle()

    def notes(self) -> tuple[str, ...]:
        """The files that came out, and those that could not; what the code reached and what it was refused, where it had a network."""
        tried = summary(self.result.network)
        written = [f"{one_line(name, 80)} ({size_words(size)})" for name, size in self.saved]
        refused = [f"{one_line(name, 80)} ({one_line(reason, 100)})" for name, reason in self.result.left_out.items()]
        lines = [f"{one_line(self.saved_to, 80)}: {_listed(written)}"] if written else []
        lines += ["no files were left"] if self.saved_to and not written else []
        lines += [f"not brought out: {_listed(refused)}"] if refused else []
        return (*lines, *([one_line(f"network: {tried}", 600)] if tried else []))

    def footer(self) -> str:
        """Mode, status, seconds, CPU seconds and most memory, what held it, and what was cut."""
        result = self.result
        parts = [one_line(result.mode, 60), result.status, duration(result.timings.run_s)]
        parts += [f"waited {duration(result.timings.queue_s)}"] if result.timings.queue_s >= WORTH_TELLING_S else []
        parts += [f"CPU {duration(result.usage.cpu_s)}", size_words(result.usage.peak_bytes)] if result.usage else []
        parts += [f"session {one_line(result.session, 120)}"] if result.session else []
        parts += [f"cold: {one_line(result.cold, 60)}, {duration(result.timings.start_s)}"] if result.cold else []
        parts += [one_line(result.isolation, 200)] if result.isolation else []
        parts += [f"{size:,} bytes of {stream} left out" for stream, size in sorted(result.truncated.items()) if size]
        parts += [f"not shown of what it displayed: {result.displays_dropped:,}"] if result.displays_dropped else []
        return " · ".join(parts)
