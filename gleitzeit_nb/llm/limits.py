"""A time limit around one await: `asyncio.timeout` for Python 3.10 too, without a task of its own."""

from __future__ import annotations

import asyncio
import sys
from types import TracebackType


class Limit:
    """`async with Limit(s):` raises TimeoutError when the block takes longer; a cancel from outside stays a cancel.

    `expire` ends it early, from elsewhere on the same loop. Without a number it only ever ends that way.
    """

    __slots__ = ("_cancels_before", "_fired", "_handle", "_limit_s", "_task")

    def __init__(self, limit_s: float | None = None) -> None:
        self._limit_s = limit_s
        self._fired = False
        self._cancels_before = 0
        self._task: asyncio.Task[object] | None = None
        self._handle: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
        self._task = asyncio.current_task()
        self._cancels_before = _cancels(self._task)
        if self._limit_s is not None:
            self._handle = asyncio.get_running_loop().call_later(max(0.0, self._limit_s), self.expire)

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._task, task = None, self._task
        if not self._fired:
            return
        outside = _take_back(task) > self._cancels_before
        if kind is not None and issubclass(kind, asyncio.CancelledError) and not outside:
            raise TimeoutError("a limit of time was reached") from exc

    def expire(self) -> None:
        """Now, if the block is still being waited for."""
        if self._task is not None and not self._fired:
            self._fired = True
            self._task.cancel()


# Python 3.10 counts no cancels: there a cancel from outside in the very step in which the limit fires is taken for the limit's.


def _cancels(task: asyncio.Task[object] | None) -> int:
    if sys.version_info >= (3, 11):
        return task.cancelling() if task is not None else 0
    return 0


def _take_back(task: asyncio.Task[object] | None) -> int:
    """Undo the limit's own cancel; how many are left."""
    if sys.version_info >= (3, 11):
        return task.uncancel() if task is not None else 0
    return 0
