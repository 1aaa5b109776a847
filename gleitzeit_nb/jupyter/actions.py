"""What each command of a front end does. Runs on the engine's loop; a command names only what this engine itself has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.errors import UsageError

if TYPE_CHECKING:
    from gleitzeit_nb.engine import Engine
    from gleitzeit_nb.jupyter.commands import Command

SHOWN_CHARS = 300  # of a name, in snapshots
TOLD_CHARS = 60  # … and in a sentence


async def perform(command: Command, engine: Engine) -> str:
    """Do it; what was done, in one line. Raises GleitzeitError."""
    action = _ACTIONS.get(command.type)
    if action is None:
        raise UsageError(f"This kernel cannot do that: {command.type}.")
    return await action(command, engine)


def meant(what: str, shown: str, ids: Iterable[str]) -> str:
    """The id that the front end means: it knows ids as they were shown to it. Raises UsageError."""
    known = list(ids)
    matching = [each for each in known if each == shown] or [each for each in known if one_line(each, SHOWN_CHARS) == shown]
    if len(matching) != 1:
        raise UsageError(f"This kernel has no {what} {_told(shown)!r}.")
    return matching[0]


def _instance(command: Command, engine: Engine) -> str:
    return meant("instance", command.target, (view.id for view in engine.pool.instance_views()))


async def _drain(command: Command, engine: Engine) -> str:
    instance = _instance(command, engine)
    await engine.pool.drain(instance)
    return f"{_told(instance)} gets nothing new; what it is answering goes on."


async def _resume(command: Command, engine: Engine) -> str:
    instance = _instance(command, engine)
    await engine.pool.resume(instance)
    return f"{_told(instance)} gets work again."


async def _reset_session(command: Command, engine: Engine) -> str:
    session = meant("session", command.target, (view.name for view in engine.sandbox.session_views()))
    await engine.sandbox.reset_session(session)
    return f"The session {_told(session)} is over, and its variables are gone."


def _told(name: str) -> str:
    return one_line(name, TOLD_CHARS)


_ACTIONS: Mapping[str, Callable[[Command, Engine], Awaitable[str]]] = {
    "drain": _drain,
    "resume": _resume,
    "reset_session": _reset_session,
}
