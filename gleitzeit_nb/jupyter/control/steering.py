"""`%gleitzeit cancel`, `restart`, `diagnostics` and `sandbox stop`: what the side panel can do, from a cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gleitzeit_nb.errors import UsageError
from gleitzeit_nb.jupyter.control.actions import CELL, Done, perform
from gleitzeit_nb.jupyter.control.commands import Command

if TYPE_CHECKING:
    from gleitzeit_nb.jupyter.front import Front


def cancel(front: Front, words: Sequence[str]) -> str:
    """`words`: the ids of requests, runs and jobs."""
    from gleitzeit_nb.rendering.sandbox import runs_text

    if not words:
        return runs_text(front.engine.snapshot().runs) or "Nothing goes on beside this cell."
    return "\n".join(_do(front, "cancel", word).text for word in words)


def stop(front: Front, words: Sequence[str]) -> str:
    """`words`: the ids of containers."""
    if not words:
        return containers(front)
    return "\n".join(_do(front, "stop_container", word).text for word in words)


def containers(front: Front) -> str:
    from gleitzeit_nb.rendering.sandbox import containers_text

    return containers_text(front.engine.snapshot().container_list) or "No containers and no guest processes."


def restart(front: Front, words: Sequence[str]) -> str:
    _refuse_more("restart", words)
    return _do(front, "restart_pool").text


def diagnostics(front: Front, words: Sequence[str]) -> str:
    _refuse_more("diagnostics", words)
    return _do(front, "diagnostics").report


def _do(front: Front, command: str, target: str = "") -> Done:
    runtime = front.runtime
    return runtime.call(perform(Command(command, target), front.engine, runtime, by=CELL))


def _refuse_more(command: str, words: Sequence[str]) -> None:
    if words:
        raise UsageError(f"%gleitzeit {command} takes nothing more, and {words[0][:40]!r} was given.\nAll commands: %gleitzeit help")
