"""Time limits around awaits: `asyncio.timeout` for Python 3.10 too, without a task of its own, and without a timer for each."""

from __future__ import annotations

import asyncio
import math
import sys
from types import TracebackType


class Limit:
    """`with Limit(s):` raises TimeoutError when what is awaited in the block takes longer; a cancel from outside stays a cancel.

    `expire` ends it early, from elsewhere on the same loop. Without a number it only ever ends that way.
    """

    __slots__ = ("_cancels_before", "_due_at", "_fired", "_limit_s", "_task", "_timer")

    def __init__(self, limit_s: float | None = None) -> None:
        self._limit_s = limit_s
        self._due_at = math.inf
        self._fired = False
        self._cancels_before = 0
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        self._cancels_before = _cancels(self._task)
        self._fired = False
        if self._limit_s is not None:
            self._start(self._limit_s)

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self._task, task = None, self._task
        self._rest()
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

    def close(self) -> None:
        """No timer is left."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _rest(self) -> None:
        self.close()

    def _start(self, limit_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._due_at = loop.time() + max(0.0, limit_s)
        if self._timer is None or self._timer.when() > self._due_at:
            self.close()
            self._timer = loop.call_at(self._due_at, self._ring)

    def _ring(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.when() < self._due_at < math.inf:
            self._timer = asyncio.get_running_loop().call_at(self._due_at, self._ring)
        elif self._due_at < math.inf:
            self.expire()


class Limits(Limit):
    """For one block after the other: `with limits.of(s):`. To be closed.

    A timer is left to ring after its block and then finds out whether one is due, so that a stream starts none for each token.
    """

    __slots__ = ()

    def of(self, limit_s: float | None) -> Limits:
        self._limit_s = limit_s
        return self

    def _rest(self) -> None:
        self._due_at = math.inf


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
