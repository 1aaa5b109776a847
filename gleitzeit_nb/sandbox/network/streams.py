"""Streams over frames, as the host sees them: numbered, with a window each way, served by one coroutine each.

The guest's frames are hostile: what breaks a number, a window or a count is a FrameError, which ends the guest. So the memory that a run
takes here is bounded by windows and the number of connections, and the work by the bytes that come.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Awaitable, Callable

from gleitzeit_nb.errors import SandboxProtocolError
from gleitzeit_nb.sandbox import protocol
from gleitzeit_nb.sandbox.protocol import FrameError

logger = logging.getLogger("gleitzeit_nb.sandbox")

PIECE_BYTES = 32 << 10
CREDIT_BYTES = protocol.WINDOW_BYTES // 4
LISTENER = 0
KINDS = (protocol.STREAM_OPEN, protocol.STREAM_DATA, protocol.STREAM_END, protocol.STREAM_CLOSE, protocol.STREAM_WINDOW)

Send = Callable[[bytes], Awaitable[None]]


class StreamGoneError(Exception):
    """The code has closed its connection."""


class CodeStream:
    """One connection of the code. For one reader and one writer."""

    def __init__(self, number: int, post: Callable[[bytes], None]) -> None:
        self.number = number
        self.gone = False  # the guest has closed it
        self.heard_end = False
        self._post = post
        self._buffer = bytearray()
        self._window = protocol.WINDOW_BYTES  # what the guest may still send
        self._consumed = 0
        self._credit = protocol.WINDOW_BYTES  # what may still be sent to it
        self._ended = False
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        state = "gone" if self.gone else "ended" if self._ended and self.heard_end else "open"
        return f"<CodeStream {self.number} {state}, {len(self._buffer)} bytes waiting>"

    async def read(self, most: int = PIECE_BYTES) -> bytes:
        """Some bytes; b"" at the end. Raises StreamGoneError."""
        while not (self._buffer or self.heard_end or self.gone):
            await self._change()
        if not self._buffer:
            if self.gone:
                raise StreamGoneError
            return b""
        data = bytes(self._buffer[:most])
        del self._buffer[:most]
        self._consumed += len(data)
        if self._consumed >= CREDIT_BYTES and not self.gone:
            self._window += self._consumed
            self._post(protocol.stream_frame(protocol.STREAM_WINDOW, self.number, struct.pack(">I", self._consumed)))
            self._consumed = 0
        return data

    async def write(self, data: bytes) -> None:
        """All of it within the window; waits for the code to read. Raises StreamGoneError."""
        view = memoryview(data)
        while view:
            while not (self._credit or self.gone):
                await self._change()
            if self.gone:
                raise StreamGoneError
            piece = view[: min(self._credit, PIECE_BYTES)]
            self._credit -= len(piece)
            self._post(protocol.stream_frame(protocol.STREAM_DATA, self.number, bytes(piece)))
            view = view[len(piece) :]

    def end(self) -> None:
        """Nothing more is written."""
        if not (self._ended or self.gone):
            self._ended = True
            self._post(protocol.stream_frame(protocol.STREAM_END, self.number))

    def close(self, *, reset: bool = False) -> None:
        """The guest delivers what was written and closes it, or breaks it off."""
        by_itself = self._ended and self.heard_end and not reset  # the guest closes what has ended both ways
        if not (self.gone or by_itself):
            self._ended = True
            self._post(protocol.stream_frame(protocol.STREAM_RESET if reset else protocol.STREAM_CLOSE, self.number))

    def take(self, kind: bytes, data: bytes) -> None:
        """A frame of the guest. Raises FrameError."""
        if kind == protocol.STREAM_DATA:
            self._window -= len(data)
            if not data or self._window < 0 or self.heard_end:
                raise FrameError("it sent more over a connection than it may")
            self._buffer += data
        elif kind == protocol.STREAM_WINDOW:
            credit = struct.unpack(">I", data)[0] if len(data) == 4 else 0
            self._credit += credit
            if not credit or self._credit > protocol.WINDOW_BYTES:
                raise FrameError("it gave back more of a window than there is")
        elif self.heard_end and kind == protocol.STREAM_END:
            raise FrameError("it ended a connection twice")
        elif kind == protocol.STREAM_END:
            self.heard_end = True
        else:
            self.gone = True
        self._changed.set()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


class Streams:
    """All streams of one run. `send` writes one message to the guest, whole; `serve` is the life of one stream."""

    def __init__(self, serve: Callable[[CodeStream], Awaitable[None]], most_open: int, most_total: int) -> None:
        self.total = 0
        self._serve = serve
        self._most_open = most_open
        self._most_total = most_total
        self._send: Send | None = None
        self._last = LISTENER
        self._open: dict[int, CodeStream] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._outbox: list[bytes] = []
        self._flushing: asyncio.Task[None] | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<Streams {len(self._open)} open, {self.total} so far{', closed' if self._closed else ''}>"

    def start(self, send: Send) -> None:
        self._send = send

    def take(self, kind: bytes, payload: bytes) -> None:
        """A frame of the guest. Raises FrameError when it breaks the rules."""
        if self._closed:
            return  # the run has been judged already
        number, data = protocol.stream_payload(payload)
        if kind == protocol.STREAM_OPEN:
            self._begin(number)
            return
        stream = self._open.get(number)
        if stream is None:
            raise FrameError(f"it speaks of connection {number}, which is not open")
        stream.take(kind, data)
        if stream.gone:
            del self._open[number]

    async def close(self) -> None:
        """End every stream's task. The guest closes its own half with the run; a message that is under way still goes whole."""
        self._closed = True
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._outbox.clear()
        if self._flushing is not None:
            await asyncio.gather(self._flushing, return_exceptions=True)

    def _begin(self, number: int) -> None:
        if number <= self._last or len(self._open) >= self._most_open or self.total >= self._most_total + self._most_open:
            raise FrameError("it opened a connection that it may not open")
        self._last = number
        self.total += 1
        if self.total == self._most_total:
            self._post(protocol.stream_frame(protocol.STREAM_CLOSE, LISTENER))
        stream = self._open[number] = CodeStream(number, self._post)
        task = asyncio.create_task(self._live(stream), name=f"gleitzeit-network-{number}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _live(self, stream: CodeStream) -> None:
        try:
            await self._serve(stream)
        except StreamGoneError:
            stream.close()  # where the code has only ended its side
        except Exception:
            logger.exception("serving a connection of a sandbox failed; it is broken off")
            stream.close(reset=True)

    def _post(self, message: bytes) -> None:
        if self._closed:
            return
        self._outbox.append(message)
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())

    async def _flush(self) -> None:
        assert self._send is not None
        while self._outbox:
            batch, self._outbox = b"".join(self._outbox), []
            try:
                await self._send(batch)
            except SandboxProtocolError as exc:
                logger.debug("no more network for a guest that has gone: %s", exc)
                self._outbox.clear()
