"""`%llm jobs`: what goes on in the background, and how to end it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from gleitzeit_nb.errors import UsageError
from gleitzeit_nb.jupyter.arguments import MagicParser
from gleitzeit_nb.rendering.columns import columns

if TYPE_CHECKING:
    from gleitzeit_nb.jupyter.front import Front
    from gleitzeit_nb.jupyter.jobs.handle import JobHandle

JOBS_HELP = "the jobs in the background; `jobs show ID`, `jobs cancel ID` or `--all`, `jobs clear` forgets those that have ended"
_COMMANDS = {
    "show": "show a job here as well, live",
    "cancel": "end a job; what had come of it stays",
    "clear": "forget the jobs that have ended",
}


def jobs_parser() -> MagicParser:
    parser = MagicParser("%llm jobs", "List the jobs in the background, or do something with them.")
    parser.commands = {name: _parser_of(name) for name in _COMMANDS}
    return parser


def _parser_of(command: str) -> Callable[[], MagicParser]:
    def made() -> MagicParser:
        parser = MagicParser(f"%llm jobs {command}", f"{_COMMANDS[command].capitalize()}.")
        if command == "show":
            parser.add_argument("id", metavar="ID", nargs="?", offers="job", help="its number, as %%llm jobs lists it")
        elif command == "cancel":
            parser.add_argument("id", metavar="ID", nargs="*", offers="running job", help="their numbers, as %%llm jobs lists them")
            parser.add_argument("--all", action="store_true", help="all that are running")
        return parser

    return made


def look_at_jobs(front: Front, line: str) -> JobHandle | None:
    """`line`: what stands behind `%llm jobs`."""
    command = (line.split() or [""])[0]
    if command not in _COMMANDS:
        parser = jobs_parser()
        if command and not command.startswith("-"):
            raise UsageError(
                f"%llm jobs: there is no command {command[:40]!r}.\nKnown are {', '.join(_COMMANDS)}; without one it lists them."
            )
        args = parser.read(line)
        commands = "\n".join(f"  {name:<8} {text}" for name, text in _COMMANDS.items())
        print(f"{parser.format_help()}\ncommands:\n{commands}" if args.help else jobs_text(front))  # noqa: T201
        return None
    parser = _parser_of(command)()
    args = parser.read(line.partition(command)[2])
    if args.help:
        print(parser.format_help())  # noqa: T201
    elif command == "show":
        if args.id is None:
            raise UsageError("%llm jobs show: which one?\n%llm jobs lists them.")
        return front.jobs.named(args.id)
    elif command == "cancel":
        print(_cancelled(front, args))  # noqa: T201
    else:
        count = front.jobs.clear()
        print(f"{count} {'job that has ended is' if count == 1 else 'jobs that have ended are'} forgotten.")  # noqa: T201
    return None


def _cancelled(front: Front, args: argparse.Namespace) -> str:
    """Cancel them, and say what came of it."""
    if bool(args.id) == args.all:
        raise UsageError("%llm jobs cancel takes the numbers of jobs, or --all.\n%llm jobs lists them.")
    chosen = front.jobs.running if args.all else tuple(front.jobs.named(word) for word in args.id)
    ended = [str(each.id) for each in chosen if each.cancel()]
    others = [f"job {each.id} has ended already" for each in chosen if str(each.id) not in ended]
    told = [f"cancelled: {'job' if len(ended) == 1 else 'jobs'} {', '.join(ended)}"] if ended else []
    return "; ".join([*told, *others] or ["no job is running"]) + "."


def jobs_text(front: Front) -> str:
    """A table of all that are known, the newest first."""
    known = front.jobs.known
    if not known:
        return "No jobs. %%llm --bg asks in the background, %%sandbox --bg runs code there."
    views = {view.id: view for view in front.engine.snapshot().runs} if front.runtime.running else {}
    rows = [("Job", "Cell", "Model", "Where", "Elapsed", "Tokens", "State")]
    for each in reversed(known):
        view = views.get(f"job-{each.id}") if not each.done else None
        where, model = (each.where, each.model) if view is None else (view.where, view.model)
        facts = (where or "–", f"{each.elapsed_s:.1f} s", "–" if each.tokens is None else str(each.tokens))
        rows.append((str(each.id), f"[{each.cell}]", model or each.kind, *facts, each.stage or "starting"))
    return columns(rows)
