"""A conversation in which the model may call functions of the notebook: ask, run what is allowed, tell, ask again, a few times."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gleitzeit_nb.core.requests import LLMRequest
from gleitzeit_nb.errors import UsageError
from gleitzeit_nb.jupyter.arguments import joined
from gleitzeit_nb.jupyter.llm.answering import answer_into
from gleitzeit_nb.jupyter.llm.options import named
from gleitzeit_nb.jupyter.values import LLMReply
from gleitzeit_nb.llm.tools import Toolbox, ToolRun, answering, call_text, parsed

if TYPE_CHECKING:
    from gleitzeit_nb.jupyter.display.answer import AnswerView
    from gleitzeit_nb.jupyter.front import Front

CALLS_SHOWN = 5


def toolbox_of(args: argparse.Namespace, front: Front) -> Toolbox | None:
    """What `--tools` and `--allow-tools` name; None when nothing is offered. Raises UsageError."""
    offered, allowed = joined(args.tools), joined(args.allow_tools)
    if not offered and not allowed:
        return None
    if args.schema is not None or args.format is not None:
        raise UsageError(
            "%%llm: a model that must answer in a format cannot call tools.\nAsk with --tools first, for the format in the next cell."
        )
    try:
        functions: dict[str, Callable[..., Any]] = {}
        for word in offered:
            name = word.rpartition(".")[2]
            if name in functions:
                raise ValueError(f"two tools are called {name[:60]!r}")
            functions[name] = named(word, front)
        return Toolbox(functions, allowed)
    except (TypeError, ValueError) as error:
        raise UsageError(f"--tools: {error}.\nThe model can be offered functions of the notebook: --tools look,add") from error


def called(calls: Sequence[Mapping[str, Any]]) -> str:
    """What a reply without text asks for, in one line; "" for one that calls nothing."""
    shown = ", ".join(call_text(*parsed(call)) for call in calls[:CALLS_SHOWN])
    more = f" and {len(calls) - CALLS_SHOWN} more" if len(calls) > CALLS_SHOWN else ""
    return f"no text, but {'a call' if len(calls) == 1 else 'calls'}: {shown}{more}" if calls else ""


def converse(view: AnswerView, front: Front, request: LLMRequest, box: Toolbox, args: argparse.Namespace) -> LLMReply:
    """The last answer, with all that ran for it. Functions run here, on the cell's thread."""

    def tell(line: str) -> None:
        if not args.quiet:
            print(line)  # noqa: T201

    runs: list[ToolRun] = []
    rounds: int = args.max_rounds
    asked = len(request.messages)
    reply = answer_into(view, front, request)
    for number in range(1, rounds + 1):
        calls = reply.tool_calls
        if not calls or not box.may_run(calls):
            break
        done = box.run(calls)
        for run in done:
            tell(f"{'ran' if run.ok else 'failed'}: {run}")
        runs += done
        messages = (*request.messages, *answering(calls, done, reply.text))
        request = replace(request, id=f"{request.id.partition('.')[0]}.{number}", messages=messages)
        if reply.text:
            view.add("\n\n")
        reply = answer_into(view, front, request)
    for call in reply.tool_calls:
        name, _ = parsed(call)
        why = (
            f"{rounds} rounds are over" if name in box.allowed and box.may_run(reply.tool_calls) else "only what --allow-tools names is run"
        )
        tell(f"not run: {call_text(*parsed(call))} ({why})")
    return LLMReply(reply, tool_runs=tuple(runs), asked_tools=request.messages[asked:])
