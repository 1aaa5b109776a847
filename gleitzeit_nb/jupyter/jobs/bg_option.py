"""`--bg`: the cell ends at once, and its work goes on in the background, below it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gleitzeit_nb.core.requests import LLMRequest
from gleitzeit_nb.errors import UsageError
from gleitzeit_nb.jupyter.sandbox.cell import mode_of, run_options

if TYPE_CHECKING:
    from gleitzeit_nb.jupyter.arguments import MagicParser
    from gleitzeit_nb.jupyter.front import Front
    from gleitzeit_nb.jupyter.jobs.handle import JobHandle
    from gleitzeit_nb.jupyter.llm.conversation import Conversation
    from gleitzeit_nb.jupyter.llm.run_option import CodeRunner

_NOT_WITH = {
    "answers": "each job is one answer; start several of them",
    "embed": "vectors are made by a cell that waits for them",
    "allow_tools": "functions of the notebook run on its own thread, while a cell waits for them",
}


def add_bg_option(parser: MagicParser) -> None:
    parser.add_argument("--bg", action="store_true", help="in the background: the cell's value, and -o, is a job (%%llm jobs lists them)")


def refuse_beside_bg(args: argparse.Namespace) -> None:
    """Raises UsageError for options that need a cell that waits."""
    for name, why in _NOT_WITH.items():
        if args.bg and getattr(args, name):
            option = "-n" if name == "answers" else f"--{name.replace('_', '-')}"
            raise UsageError(f"%%llm: --bg and {option} do not go together: {why}.\nLeave out one of them.")


def answer_in_background(
    front: Front, request: LLMRequest, args: argparse.Namespace, runner: CodeRunner | None, talk: Conversation | None
) -> JobHandle:
    """Ask, and let the cell go on. Raises UsageError when too many jobs are running."""
    from gleitzeit_nb.jupyter.display.answer import harmless_json
    from gleitzeit_nb.jupyter.jobs.background import AnswerWork
    from gleitzeit_nb.jupyter.markdown.harmless import harmless

    written = harmless_json if args.format is not None or args.schema is not None else harmless
    work = AnswerWork(front, request, written, runner, talk)
    return front.jobs.start(work, request.label.partition("] ")[2] + " --bg", streams=not args.no_stream)


def run_in_background(front: Front, code: str, args: argparse.Namespace) -> JobHandle:
    """As a `%%sandbox` cell, which does not wait. The variables of `--out` are in the run's `.outputs`."""
    from gleitzeit_nb.jupyter.jobs.background import RunWork

    magic = "%%sandbox --bg"
    return front.jobs.start(RunWork(front, code, args, run_options(front, args, magic), mode_of(front, args)), magic)
