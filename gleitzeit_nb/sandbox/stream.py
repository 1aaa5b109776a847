"""A container's attached socket on the event loop: reading, writing, and taking Docker's two streams apart."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import Any

from gleitzeit_nb.errors import SandboxProtocolError, SandboxUnavailableError

READ_BYTES = 1 << 16
STDOUT, STDERR = 1, 2
KEPT_STDERR_BYTES = 4096


class Demultiplexer:
    """Docker's framing of a container without a terminal: 8 bytes of header (stream, 0, 0, 0, length), then the payload.

    Source: the Docker Engine API, "Attach to a container". Payloads pass through as they come; none is buffered whole.
    """

    def __init__(self) -> None:
        self._header = bytearray()
        self._stream = STDOUT
        self._left = 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """What `data` holds of (stdout, stderr). Raises SandboxProtocolError for a header that Docker does not send."""
        out: dict[int, bytearray] = {STDOUT: bytearray(), STDERR: bytearray()}
        view = memoryview(data)
        while view:
            if self._left:
                out[self._stream] += view[: self._left]
                taken = min(self._left, len(view))
                self._left -= taken
                view = view[taken:]
                continue
            missing = 8 - len(self._header)
            self._header += view[:missing]
            view = view[missing:]
            if len(self._header) == 8:
                self._start()
        return bytes(out[STDOUT]), bytes(out[STDERR])

    def _start(self) -> None:
        stream, padding = self._header[0], self._header[1:4]
        if stream not in (STDOUT, STDERR) or any(padding):
            raise SandboxProtocolError("the Docker daemon sent a stream that is not multiplexed as its API says")
        self._stream = stream
        self._left = int.from_bytes(self._header[4:], "big")
        self._header.clear()


class AttachedSocket:
    """Non-blocking, for one reader and one writer at a time. `take_over` makes it from what the SDK returned."""

    def __init__(self, connection: socket.socket, owner: Any = None) -> None:
        self._socket = connection
        self._owner = owner  # a TLS socket dies with the SDK's response
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None  # once somebody waits
        self._waiting: set[asyncio.Future[None]] = set()
        connection.setblocking(False)

    @classmethod
    def take_over(cls, attached: Any) -> AttachedSocket:
        """`attached`: the result of the SDK's attach_socket. Raises SandboxUnavailableError for a transport without a socket."""
        raw = getattr(attached, "_sock", attached)
        if isinstance(raw, ssl.SSLSocket):
            return cls(raw, attached)
        if not isinstance(raw, socket.socket):
            raise SandboxUnavailableError(
                "The Docker daemon is reached through a transport that gives no socket (ssh, or a Windows pipe). "
                "Name a unix socket or a tcp address in DOCKER_HOST; over ssh, forward the daemon's socket with ssh -L."
            )
        own = raw.dup()
        # The whole response, not only the file on top of its socket: urllib3 would find that closed and complain at its own end.
        getattr(attached, "_response", attached).close()
        return cls(own)

    async def read(self) -> bytes:
        """Some bytes; b"" at the end."""
        while not self._closed:
            try:
                return self._socket.recv(READ_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError):
                await self._ready(writing=False)
            except OSError:
                return b""
        return b""

    async def write(self, data: bytes) -> None:
        """Everything, or SandboxProtocolError."""
        view = memoryview(data)
        while view:
            if self._closed:
                raise SandboxProtocolError("the container has gone")
            try:
                view = view[self._socket.send(view) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                await self._ready(writing=True)
            except OSError as exc:
                raise SandboxProtocolError(f"the container has gone ({exc})") from exc

    def close(self) -> None:
        """The guest sees the end of its input; whoever waits here sees the end of its output."""
        if self._closed:
            return
        self._closed = True
        if self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        if self._owner is not None:  # it holds a file on top of the socket, which is open as long as that is
            getattr(self._owner, "_response", self._owner).close()

    async def _ready(self, writing: bool) -> None:
        loop = self._loop = asyncio.get_running_loop()
        fd = self._socket.fileno()  # asyncio would make a text of the socket each time, to say that it does not know it
        waiting: asyncio.Future[None] = loop.create_future()
        self._waiting.add(waiting)
        (loop.add_writer if writing else loop.add_reader)(fd, _wake, waiting)
        try:
            await waiting
        finally:
            self._waiting.discard(waiting)
            if not self._closed:
                (loop.remove_writer if writing else loop.remove_reader)(fd)


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
