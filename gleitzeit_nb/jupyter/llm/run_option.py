"""`%%llm --run`: the code of the answer, run in the sandbox below it, as a `%%sandbox` cell would."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gleitzeit_nb.errors import GleitzeitError, NoCodeError, UsageError
from gleitzeit_nb.jupyter.llm.answer_code import AnswerCode, code_of
from gleitzeit_nb.jupyter.sandbox.cell import bring_back, execute, failure_of, mode_of, run_options
from gleitzeit_nb.jupyter.values import SandboxRun

if TYPE_CHECKING:
    from gleitzeit_nb.jupyter.arguments import MagicParser
    from gleitzeit_nb.jupyter.front import Front
    from gleitzeit_nb.jupyter.values import LLMReply
    from gleitzeit_nb.sandbox.request import RunOptions

_ELSEWHERE = ("output", "quiet", "help", "bg")  # which %%llm has itself
_NOT_WITH = ("embed", "format", "schema")


def add_run_options(parser: MagicParser) -> None:
    parser.section("running its code")
    add = parser.add_argument
    add("--run", action="store_true", help="run the Python blocks of the answer, as one program, in the sandbox")
    add("--run-mode", metavar="MODE", offers="mode", help="as --run, in this mode of the sandbox")
    add("--run-with", metavar="OPTIONS", help='as --run, with options of %%%%sandbox, such as "--in table --timeout 30"')
    parser.verbatim.add("--run-with")


@dataclass(frozen=True)
class CodeRunner:
    """How the code of an answer is to be run. Made before the model is asked, so that what is wrong costs no answer."""

    args: argparse.Namespace  # of %%sandbox
    options: RunOptions
    mode: str | None

    def run_below(self, front: Front, reply: LLMReply) -> GleitzeitError | None:
        """Run it, show its output, and make it `reply.execution`; what the cell is to end in. Raises SandboxError, NoCodeError."""
        code = runnable(reply.text)
        run = SandboxRun(execute(front, code.source, self.args, self.options))
        reply.executed(run, code.notes())
        return failure_of(run, self.args, bring_back(front, run, self.args), of_answer=True)


def runner_of(args: argparse.Namespace, front: Front, expand: Callable[[str], str]) -> CodeRunner | None:
    """What `--run`, `--run-mode` and `--run-with` say; None where nothing is to be run. Raises UsageError, ConfigError, SandboxError."""
    from gleitzeit_nb.jupyter.sandbox_magic import sandbox_parser

    if not args.run and args.run_mode is None and args.run_with is None:
        return None
    for name in _NOT_WITH:
        if getattr(args, name) not in (None, False):
            raise UsageError(f"%%llm: an answer to --{name} holds no code that --run could run.\nLeave out one of them.")
    asked = sandbox_parser().read(args.run_with or "", expand)
    for name in _ELSEWHERE:
        if getattr(asked, name, None):
            raise UsageError(f"--run-with: --{name} is an option of the %%llm line itself.\nWrite it there, not among those of the run.")
    if args.run_mode is not None:
        if asked.mode is not None and asked.mode != args.run_mode:
            raise UsageError("%%llm: --run-mode and --run-with name two modes.\nKeep one of them.")
        asked.mode = args.run_mode
    asked.quiet = args.quiet
    options, mode = run_options(front, asked, "%%llm --run", "answer"), mode_of(front, asked)
    if mode is not None:
        front.engine.sandbox.require_mode(mode)
    return CodeRunner(asked, options, mode)


def runnable(text: str) -> AnswerCode:
    """The code of an answer. Raises NoCodeError where there is none that can be run."""
    code = code_of(text)
    if code.cut and code.blocks:
        raise NoCodeError("The answer ends in the middle of its code, so nothing was run.\nLet it be longer: --option num_predict=2000")
    if not code.blocks:
        held = f"It holds {code.others_text()}.\n" if code.others else ""
        raise NoCodeError(
            f"The answer holds no block of Python, so nothing was run.\n{held}Ask for the code in a ```python block, or leave out --run."
        )
    return code
