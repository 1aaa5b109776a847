"""`%gleitzeit sandbox`: its workers and sessions, and what can be done with them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from gleitzeit_nb.errors import UsageError
from gleitzeit_nb.jupyter.arguments import Kind, MagicParser
from gleitzeit_nb.jupyter.control.steering import stop

if TYPE_CHECKING:
    from gleitzeit_nb.jupyter.front import Front

SUBCOMMANDS = {
    "warm": "[MODE]: make the workers that are kept ready now",
    "cleanup": "remove all workers that are idle",
    "containers": "list the containers and guest processes",
    "stop": "ID: remove a container; a run in it ends as killed, a session in it is over",
    "sessions": "list the sessions",
    "reset": "NAME: end a session; its variables are gone",
}


_OFFERS: Mapping[str, Kind] = {"warm": "mode", "reset": "session", "stop": "container"}


def sandbox_command_parser() -> MagicParser:
    parser = MagicParser("%gleitzeit sandbox", "The sandbox's workers and sessions.")
    parser.commands = {name: partial(_parser_of, name) for name in SUBCOMMANDS}
    return parser


def _parser_of(command: str) -> MagicParser:
    parser = MagicParser(f"%gleitzeit sandbox {command}", SUBCOMMANDS[command])
    if command in _OFFERS:
        parser.add_argument("name", nargs="?", offers=_OFFERS[command])
    return parser


def steer_sandbox(front: Front, words: Sequence[str]) -> None:
    """`words`: what stands behind `%gleitzeit sandbox`."""
    command, rest = (words[0], words[1:]) if words else ("", ())
    if command and command not in SUBCOMMANDS:
        near = difflib.get_close_matches(command, SUBCOMMANDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise UsageError(f"%gleitzeit sandbox: there is no command {command[:40]!r}{hint}\nKnown are {', '.join(SUBCOMMANDS)}.")
    if len(rest) > (command in _OFFERS):
        raise UsageError(f"%gleitzeit sandbox {command}: {rest[-1][:40]!r} is more than it takes.\nAll commands: %gleitzeit help")
    runtime, sandbox = front.runtime, front.engine.sandbox
    if command == "warm":
        mode = runtime.call(sandbox.warm(rest[0] if rest else None))
        print(f"{mode} has its workers ready.")  # noqa: T201
    elif command == "cleanup":
        count = runtime.call(sandbox.cleanup_idle_containers(0))
        print(f"{count} idle {'worker was' if count == 1 else 'workers were'} removed.")  # noqa: T201
    elif command == "reset":
        _reset(front, rest)
    elif command in ("stop", "containers"):
        print(stop(front, rest))  # noqa: T201
    else:
        _show(front, sessions_only=command == "sessions")


def _reset(front: Front, names: Sequence[str]) -> None:
    known = [view.name for view in front.engine.snapshot().sessions]
    if not names:
        raise UsageError(f"%gleitzeit sandbox reset takes the name of a session.\nThere are: {', '.join(known) or 'none'}.")
    if not front.runtime.call(front.engine.sandbox.reset_session(names[0])):
        raise UsageError(
            f"There is no session {names[0][:60]!r}, so there is nothing to end. A restarted kernel has none.\n"
            f"There are: {', '.join(known) or 'none'}."
        )
    print(f"The session {names[0]} is over, and its variables are gone.")  # noqa: T201


def _show(front: Front, *, sessions_only: bool) -> None:
    from gleitzeit_nb.rendering.sandbox import sessions_text, workers_text

    snapshot = front.engine.snapshot()
    text = sessions_text(snapshot.sessions) or "No sessions. %%sandbox --session NAME starts one; a restarted kernel has none."
    print(text if sessions_only else f"{workers_text(snapshot)}\n\n{text}")  # noqa: T201
