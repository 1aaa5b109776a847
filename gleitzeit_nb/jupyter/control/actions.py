"""What each command of a front end does. Runs on the engine's loop; a command names only what this engine itself has."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.errors import UsageError

if TYPE_CHECKING:
    from gleitzeit_nb.engine import Engine
    from gleitzeit_nb.jupyter.control.commands import Command
    from gleitzeit_nb.runtime import Runtime

SHOWN_CHARS = 300  # of a name, in snapshots
TOLD_CHARS = 60  # … and in a sentence
SLOW = frozenset({"restart_pool", "reload", "diagnostics"})  # it is said at once that they have begun
PANEL = "from the side panel"
CELL = "from a cell"


class Done(NamedTuple):
    """What was done, in a line. `report`: of diagnostics, in many lines."""

    text: str
    report: str = ""


async def perform(command: Command, engine: Engine | None, runtime: Runtime, by: str = PANEL) -> Done:
    """Do it. Raises GleitzeitError. `engine` None: nothing runs yet, and nothing is started for a command. `by`: who wants it."""
    if command.type == "reload":
        ended = await asyncio.to_thread(runtime.reload)  # which reads files, and waits for this loop
        return Done(f"The configuration was read again. {ended}".rstrip())
    if command.type == "diagnostics":
        return await _diagnostics(engine, runtime)
    action = _ACTIONS.get(command.type)
    if action is None:
        raise UsageError(f"This kernel cannot do that: {command.type}.")
    if engine is None:
        raise UsageError("Nothing runs in this kernel yet: the first %%llm or %%sandbox cell starts it.")
    return Done(await action(command, engine, by))


def doing(command: Command) -> str:
    """For one that takes a while."""
    return _DOING.get(command.type, "It is being done.").format(target=_told(command.target), model=_told(command.model))


def meant(what: str, shown: str, ids: Iterable[str]) -> str:
    """The id that the front end means: it knows ids as they were shown to it. Raises UsageError."""
    known = list(dict.fromkeys(ids))
    matching = [each for each in known if each == shown] or [each for each in known if one_line(each, SHOWN_CHARS) == shown]
    if len(matching) != 1 or not shown:
        raise UsageError(f"This kernel has no {what} {_told(shown)!r}.")
    return matching[0]


# -- instances ------------------------------------------------------------------------------------------------------------------


def _instance(command: Command, engine: Engine) -> str:
    return meant("instance", command.target, (view.id for view in engine.pool.instance_views()))


async def _drain(command: Command, engine: Engine, _by: str) -> str:
    instance = _instance(command, engine)
    await engine.pool.drain(instance)
    return f"{_told(instance)} gets nothing new; what it is answering goes on."


async def _resume(command: Command, engine: Engine, _by: str) -> str:
    instance = _instance(command, engine)
    await engine.pool.resume(instance)
    return f"{_told(instance)} gets work again."


async def _warm(command: Command, engine: Engine, _by: str) -> str:
    from gleitzeit_nb.rendering.upkeep import warmed_text

    instance = _instance(command, engine)
    [view] = [each for each in engine.pool.instance_views() if each.id == instance]
    model = meant("model", command.model, view.models)
    return warmed_text(await engine.pool.warm(model, instance=instance))


async def _unload(command: Command, engine: Engine, _by: str) -> str:
    from gleitzeit_nb.rendering.upkeep import unloaded_text

    instance = _instance(command, engine)
    [view] = [each for each in engine.pool.instance_views() if each.id == instance]
    model = meant("loaded model", command.model, (each.name for each in view.warm))
    return unloaded_text(model, await engine.pool.unload(model, instance=instance))


async def _restart_pool(command: Command, engine: Engine, _by: str) -> str:
    running = len(engine.pool.run_views())
    await engine.restart_pool()
    ended = "" if not running else " The request that was going on has ended." if running == 1 else f" {running} requests have ended."
    return f"The pool was started anew with {len(engine.pool.instance_views())} instances.{ended} Sandboxes and sessions go on."


# -- requests, runs and containers -------------------------------------------------------------------------------------------------


async def _cancel(command: Command, engine: Engine, by: str) -> str:
    runs = {view.id: view.label for view in engine.run_views()}
    run = meant("request or run", command.target, runs)
    if not engine.cancel(run, by):
        raise UsageError(f"{_told(runs[run])} has just ended.")
    return f"{_told(runs[run])} was cancelled."


async def _stop_container(command: Command, engine: Engine, by: str) -> str:
    views = {view.id: view for view in engine.sandbox.container_views() if view.id}
    container = meant("container", command.target, views)
    view = views[container]
    if not await engine.sandbox.stop_container(container, f"stopped {by}"):
        raise UsageError(f"The container {_told(container)} is just changing hands: try again.")
    ended = f" The session {_told(view.session)} is over, and its variables are gone." if view.session else ""
    ended = ended or (" The run in it ends as killed." if view.run else "")
    return f"The container {_told(container)} was stopped.{ended}"


async def _reset_session(command: Command, engine: Engine, by: str) -> str:
    session = meant("session", command.target, (view.name for view in engine.sandbox.session_views()))
    await engine.sandbox.reset_session(session, f"its session was reset {by}")
    return f"The session {_told(session)} is over, and its variables are gone."


# -- looking ----------------------------------------------------------------------------------------------------------------------


async def _diagnostics(engine: Engine | None, runtime: Runtime) -> Done:
    versions = await asyncio.to_thread(_versions)
    from gleitzeit_nb.rendering.diagnostics import diagnostics_text

    config = engine.config if engine is not None else await asyncio.to_thread(runtime.config)
    findings = await engine.doctor() if engine is not None else []
    report = diagnostics_text(versions, config, findings, engine.snapshot() if engine is not None else None)
    return Done("Diagnostics are ready: without keys, prompts, code, addresses and the names of your folders.", report)


def _versions() -> Mapping[str, str]:
    """Imports what a report needs on its way, where that does not hold up the loop."""
    from gleitzeit_nb.doctor import installed
    from gleitzeit_nb.rendering import diagnostics  # noqa: F401

    return installed()


def _told(name: str) -> str:
    return one_line(name, TOLD_CHARS)


_ACTIONS: Mapping[str, Callable[[Command, Engine, str], Awaitable[str]]] = {
    "drain": _drain,
    "resume": _resume,
    "warm": _warm,
    "unload": _unload,
    "cancel": _cancel,
    "stop_container": _stop_container,
    "reset_session": _reset_session,
    "restart_pool": _restart_pool,
}
_DOING = {
    "warm": "{target} loads {model} …",
    "unload": "{target} unloads {model} …",
    "stop_container": "The container {target} is being stopped …",
    "reset_session": "The session {target} is being ended …",
    "restart_pool": "The pool is being started anew …",
    "reload": "The configuration is being read …",
    "diagnostics": "Looking at everything that the pool and the sandbox need …",
}
