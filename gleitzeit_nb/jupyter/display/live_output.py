"""A few places of a notebook whose content goes on changing while other cells run: what a job shows.

Each place is a display with an id of its own, first published by a cell and then replaced from other threads by messages with that id.
They go straight to the front end's socket: what a running cell captures or prints is not touched.
"""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from gleitzeit_nb.jupyter.display.answer import LAST_PAINT_WAIT_S, message_bytes
from gleitzeit_nb.jupyter.display.pace import Pace
from gleitzeit_nb.jupyter.display.places import Places

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

TOPIC = b"display_data"

Send = Callable[[str, dict[str, Any], dict[str, Any]], None]  # display id, data, metadata


class Part(NamedTuple):
    """What one place shows. `key` is another when the content is; `draw` may take its time. `rest_s`: at least between two changes."""

    key: Hashable
    draw: Callable[[], tuple[dict[str, Any], dict[str, Any]]]  # data, metadata
    rest_s: float = 0.0


def updates_of(shell: InteractiveShell) -> Send | None:
    """How to replace what the running cell displays, from any thread, also when that cell is over. None where no front end listens."""
    kernel = getattr(shell, "kernel", None)
    session, socket = getattr(kernel, "session", None), getattr(kernel, "iopub_socket", None)
    if kernel is None or session is None or socket is None:
        return None
    parent = kernel.get_parent()

    def send(display_id: str, data: dict[str, Any], metadata: dict[str, Any]) -> None:
        content = {"data": data, "metadata": metadata, "transient": {"display_id": display_id}}
        session.send(socket, "update_display_data", content, parent=parent, ident=TOPIC)

    return send


class LiveOutput:
    """`parts` says what is true now, one for each place. Nothing is drawn before it was shown for the first time."""

    def __init__(
        self,
        parts: Callable[[], Sequence[Part]],
        send: Send | None,
        pace: Pace,
        places: Places,
        *,
        streams: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._parts = parts
        self._send = send
        self._pace = pace
        self._places = places
        self._streams = streams  # else only the first and the last state are shown
        self._clock = clock
        self._ids = [uuid.uuid4().hex for _ in parts()]
        self._drawn: list[tuple[Hashable, float] | None] = [None] * len(self._ids)
        self._lock = threading.Lock()  # invariant: what was sent last was drawn last
        self._shown = False
        self._dirty = False
        self._ended = False
        self._painting: asyncio.Task[None] | None = None

    # -- on the thread of a cell ------------------------------------------------------------------------------------------------

    def show(self) -> None:
        """Publish all places below the running cell; also a second time, where they are wanted once more."""
        from IPython.display import publish_display_data

        with self._lock:
            self._shown = True
            for index, part in enumerate(self._parts()):
                data, metadata = self._draw(index, part)
                place = {"display_id": self._ids[index]}
                publish_display_data(data=data, metadata=metadata, transient=place)  # type: ignore[no-untyped-call]

    # -- on the engine's loop ---------------------------------------------------------------------------------------------------

    def touch(self) -> None:
        """Something changed: show it as soon as its size allows."""
        self._dirty = True
        if self._painting is None and self._streams and not self._ended and self._send is not None:
            self._painting = asyncio.get_running_loop().create_task(self._paint())

    async def _paint(self) -> None:
        try:
            while self._dirty and self._shown:
                await asyncio.sleep(self._pace.wait_s(self._clock()))
                self._dirty = False
                size_bytes, cost_s = await asyncio.to_thread(self._repaint)
                self._pace.sent(size_bytes, self._clock(), cost_s if size_bytes else 0.0)
        finally:
            self._painting = None

    async def end(self) -> None:
        """Show the last state. Nothing changes afterwards."""
        self._ended = True
        if self._painting is not None:
            self._painting.cancel()
        if self._send is None or not self._shown:
            return
        now = self._clock()
        await asyncio.sleep(min(self._pace.wait_s(now), LAST_PAINT_WAIT_S))
        try:
            size_bytes, _ = await asyncio.to_thread(self._repaint, final=True)
        except RuntimeError:  # the interpreter ends and has no more threads
            size_bytes, _ = self._repaint(final=True)
        self._pace.sent(size_bytes, self._clock())

    # -- on any thread ----------------------------------------------------------------------------------------------------------

    def _repaint(self, *, final: bool = False) -> tuple[int, float]:
        """Send what is not shown as it is; the bytes, and the seconds of work."""
        sent_bytes, began = 0, time.thread_time()
        with self._lock:
            if self._send is None or (self._ended and not final):
                return 0, 0.0
            for index, part in enumerate(self._parts()):
                before = self._drawn[index]
                if before is not None and not final and self._clock() - before[1] < part.rest_s:
                    continue
                if before is not None and before[0] == part.key and not (final and self._places.is_live(self._ids[index])):
                    continue
                data, metadata = self._draw(index, part)
                self._send(self._ids[index], data, metadata)
                sent_bytes += sum(message_bytes(text) for text in data.values() if isinstance(text, str))
        return sent_bytes, time.thread_time() - began

    def _draw(self, index: int, part: Part) -> tuple[dict[str, Any], dict[str, Any]]:
        """Under the lock. What is said to go on is so until the end, and only where more can be sent."""
        data, metadata = part.draw()
        self._drawn[index] = (part.key, self._clock())
        return data, self._places.put(self._ids[index], data, metadata, final=self._ended or self._send is None)
