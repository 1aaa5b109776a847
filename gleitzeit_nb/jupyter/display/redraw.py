"""Showing what changes, no more often than its size allows. Lives on the engine's loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gleitzeit_nb.jupyter.display.pace import Pace

INTERVAL_S = 0.25  # four times a second is as live as a person reads


class Redraw:
    """Calls `send` when asked to: at once where the pace allows it, else once a little later, so that the last state always arrives.

    `send` returns how many bytes went out; 0 when there was nothing new.
    """

    def __init__(self, send: Callable[[], int], bytes_per_s: float) -> None:
        self._send = send
        self._pace = Pace(bytes_per_s, INTERVAL_S)
        self._due: asyncio.TimerHandle | None = None
        self._ended = False

    def ask(self) -> None:
        """Something may have changed."""
        if self._ended or self._due is not None:
            return
        loop = asyncio.get_running_loop()
        wait_s = self._pace.wait_s(loop.time())
        if wait_s > 0:
            self._due = loop.call_later(wait_s, self._now)
        else:
            self._now()

    def _now(self) -> None:
        self._due = None
        if not self._ended:
            size_bytes = self._send()
            if size_bytes:
                self._pace.sent(size_bytes, asyncio.get_running_loop().time())

    def end(self) -> None:
        """Send nothing more. From any thread: what is due then does nothing."""
        self._ended = True
