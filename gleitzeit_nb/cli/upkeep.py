"""`warm`, `pull`, `unload` and `delete`: models on the instances of the pool."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from gleitzeit_nb.cli.terminal import say

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from gleitzeit_nb.core.upkeep import Place
    from gleitzeit_nb.llm.pool import OllamaPoolManager

Work = Callable[["OllamaPoolManager", str, "Place"], Awaitable[None]]


def add_commands(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    _add(commands, "warm", "load a model: on the named instances, else on one", _warm)
    _add(commands, "pull", "let instances fetch a model; Ctrl-C stops it", _pull)
    _add(commands, "unload", "unload a model, wherever it is loaded or on the named instances", _unload)
    delete = _add(commands, "delete", "delete a model from the disks of all that have it, or of the named instances", _delete)
    delete.add_argument("--yes", action="store_true", help="really delete it")
    delete.set_defaults(verb=lambda arguments: _run(arguments, _delete if arguments.yes else _ask_first))


def _add(commands: _SubParsersAction[argparse.ArgumentParser], name: str, text: str, work: Work) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text)
    command.add_argument("model")
    command.add_argument("--instance", metavar="ID", help="on this instance")
    command.add_argument("-t", "--tags", default="", metavar="A,B", help="on those that have all of these tags")
    command.add_argument("--all", action="store_true", help="on all instances")
    command.set_defaults(verb=lambda arguments: _run(arguments, work))
    return command


def _run(arguments: argparse.Namespace, work: Work) -> int:
    from gleitzeit_nb.core.upkeep import Where
    from gleitzeit_nb.errors import UsageError

    place: Place = {"instance": arguments.instance, "tags": arguments.tags, "everywhere": arguments.all}
    try:
        Where.of(**place)
    except ValueError as error:
        raise UsageError(f"{error}: --instance ID, --tags A,B or --all") from error
    asyncio.run(_on_the_pool(work, arguments.model, place))
    return 0


async def _on_the_pool(work: Work, model: str, place: Place) -> None:
    from gleitzeit_nb.config import load
    from gleitzeit_nb.engine import Engine

    async with Engine(load()) as engine:
        await work(engine.pool, model, place)


async def _warm(pool: OllamaPoolManager, model: str, place: Place) -> None:
    from gleitzeit_nb.rendering.upkeep import warmed_text

    say(warmed_text(await pool.warm(model, **place)))


async def _pull(pool: OllamaPoolManager, model: str, place: Place) -> None:
    from gleitzeit_nb.rendering.upkeep import progress_line, step_of

    said: dict[str, tuple[object, ...]] = {}
    async for progress in pool.pull(model, **place):
        step = step_of(progress)
        if said.get(progress.instance) != step:
            said[progress.instance] = step
            say(progress_line(progress))


async def _unload(pool: OllamaPoolManager, model: str, place: Place) -> None:
    from gleitzeit_nb.rendering.upkeep import unloaded_text

    say(unloaded_text(model, await pool.unload(model, **place)))


async def _delete(pool: OllamaPoolManager, model: str, place: Place) -> None:
    from gleitzeit_nb.rendering.upkeep import deleted_text

    say(deleted_text(model, await pool.delete(model, **place)))


async def _ask_first(pool: OllamaPoolManager, model: str, place: Place) -> None:
    from gleitzeit_nb.core.upkeep import Where
    from gleitzeit_nb.errors import ModelNotFoundError, UsageError
    from gleitzeit_nb.rendering.upkeep import deletion_question

    holdings = await pool.upkeep.holders(model, Where.of(**place))
    if not holdings:
        raise ModelNotFoundError(f"nobody has {model[:80]}: there is nothing to delete. Its name must be whole, with its tag")
    raise UsageError(f"{deletion_question(holdings)}\nNothing is deleted yet. Add --yes to do it")
