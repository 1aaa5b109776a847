"""The guest's half of a run's network: a listener on its own loopback, and each connection to it as one stream of frames.

Travels to the guest with its source: standard library only, Python 3.8. It is driven by process 1's poll loop and blocks on nothing; it
passes bytes on unread, and what they ask for is decided on the host's side. A stream may have WINDOW_BYTES on the way in each direction;
the receiver gives back what it has delivered. Every stream ends with one CLOSE from here, after which its number is never used again.
"""

from __future__ import annotations

import fcntl
import os
import select
import sys

from gleitzeit_nb.sandbox import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket  # at run time only once a run has a network: it is large, and every worker would carry it
    from typing import Any

READ_BYTES = 16 << 10
BACKLOG = 64
SIOCGIFFLAGS, IFF_UP = 0x8913, 1
IFREQ_BYTES = 32  # struct ifreq (netdevice(7)): a name of 16 bytes, then, in the answer, the flags
SHUT_WR = 1
LISTENER = 0  # as the number of a stream
CREDIT_BYTES = protocol.WINDOW_BYTES // 4  # less is not worth a frame
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
EXCEPTIONS = ("NO_PROXY", "no_proxy")


class Tunnels:
    """The streams of one run. `first`: the number of its first stream; `most`: how many may be open at once; `port`: where to listen.

    The port is a wish: the next run of a session keeps the one that its programs know, unless one of them has taken it.
    """

    def __init__(self, first: int, most: int, port: int = 0) -> None:
        import socket

        self.next = first
        self.most = most
        self.streams: dict[int, Stream] = {}  # by number
        self.by_fd: dict[int, Stream] = {}
        self.listener: socket.socket | None = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        answer = fcntl.ioctl(self.listener, SIOCGIFFLAGS, b"lo".ljust(IFREQ_BYTES, b"\0"))
        if not int.from_bytes(answer[16:18], sys.byteorder) & IFF_UP:
            self.close()
            raise OSError("the sandbox has no loopback interface that is up")
        self.listener.setblocking(False)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self.listener.bind(("127.0.0.1", port))
        except OSError:
            self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(BACKLOG)
        self.port = self.listener.getsockname()[1]

    def interest(self, may_read: bool) -> dict[int, int]:
        """What to poll for. What waits for nothing is left out: poll() would report its hang-up again and again."""
        wanted = {}
        if may_read and self.listener is not None and len(self.streams) < self.most:
            wanted[self.listener.fileno()] = select.POLLIN
        for fd, stream in self.by_fd.items():
            events = stream.interest(may_read)
            if events:
                wanted[fd] = events
        return wanted

    def serve(self, fd: int) -> bytes:
        """`fd` has news. Returns frames for the host."""
        if self.listener is not None and fd == self.listener.fileno():
            return self.accept()
        stream = self.by_fd.get(fd)
        return b"" if stream is None else self.after(stream, stream.serve())

    def accept(self) -> bytes:
        assert self.listener is not None
        try:
            connection, _ = self.listener.accept()
        except OSError:
            return b""  # it left again before its turn
        connection.setblocking(False)
        stream = Stream(self.next, connection)
        self.next += 1
        self.streams[stream.number] = self.by_fd[connection.fileno()] = stream
        return protocol.stream_frame(protocol.STREAM_OPEN, stream.number)

    def take(self, kind: bytes, payload: bytes) -> bytes:
        """A frame of the host. What speaks of a stream that has ended comes too late and means nothing."""
        number, data = protocol.stream_payload(payload)
        if number == LISTENER:
            if kind == protocol.STREAM_CLOSE and self.listener is not None:
                self.listener.close()
                self.listener = None
            return b""
        stream = self.streams.get(number)
        return b"" if stream is None else self.after(stream, stream.take(kind, data))

    def after(self, stream: Stream, frames: bytes) -> bytes:
        if not stream.over:
            return frames
        del self.streams[stream.number], self.by_fd[stream.socket.fileno()]
        stream.socket.close()
        return frames + protocol.stream_frame(protocol.STREAM_CLOSE, stream.number)

    def close(self) -> None:
        """At the end of the run: without a word to the host, which closes its own half."""
        if self.listener is not None:
            self.listener.close()
            self.listener = None
        for stream in self.streams.values():
            stream.socket.close()
        self.streams.clear()
        self.by_fd.clear()


class Stream:
    """One connection of the code. `sent` and `heard` the end: nothing more goes to the host, or comes from there."""

    def __init__(self, number: int, connection: socket.socket) -> None:
        self.number = number
        self.socket = connection
        self.pending = bytearray()  # from the host, for the code
        self.delivered = 0  # of it, and not yet told to the host
        self.credit = protocol.WINDOW_BYTES  # what the host still takes
        self.sent_end = self.heard_end = self.closing = self.over = False

    def interest(self, may_read: bool) -> int:
        reads = may_read and self.credit and not (self.sent_end or self.closing)
        return (select.POLLIN if reads else 0) | (select.POLLOUT if self.pending else 0)

    def serve(self) -> bytes:
        try:
            frames = self.write() if self.pending else b""
            return frames + self.read()
        except OSError:
            self.over = True  # the code has reset it
            return b""

    def read(self) -> bytes:
        if self.sent_end or self.closing or not self.credit:
            return b""
        try:
            data = self.socket.recv(min(READ_BYTES, self.credit))
        except BlockingIOError:
            return b""
        self.credit -= len(data)
        if data:
            return protocol.stream_frame(protocol.STREAM_DATA, self.number, data)
        self.sent_end = True
        self.settle()
        return protocol.stream_frame(protocol.STREAM_END, self.number)

    def write(self) -> bytes:
        try:
            while self.pending:
                count = self.socket.send(self.pending)
                del self.pending[:count]
                self.delivered += count
        except BlockingIOError:
            pass  # the code does not read: poll() tells when it does
        self.settle()
        if self.delivered < CREDIT_BYTES or self.over:
            return b""
        delivered, self.delivered = self.delivered, 0
        return protocol.stream_frame(protocol.STREAM_WINDOW, self.number, delivered.to_bytes(4, "big"))

    def take(self, kind: bytes, data: bytes) -> bytes:
        try:
            if kind == protocol.STREAM_DATA:
                self.pending += data
                return self.write()
            if kind == protocol.STREAM_WINDOW:
                self.credit += int.from_bytes(data, "big")
            elif kind == protocol.STREAM_END:
                self.heard_end = True
            elif kind == protocol.STREAM_CLOSE:
                self.closing = True
            elif kind == protocol.STREAM_RESET:
                import socket
                import struct

                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.over = True
            self.settle()
        except OSError:
            self.over = True
        return b""

    def settle(self) -> None:
        """Pass an end on, once everything before it has been delivered."""
        if self.pending or self.over:
            return
        if self.closing or (self.heard_end and self.sent_end):
            self.over = True
        elif self.heard_end:
            self.socket.shutdown(SHUT_WR)


def begin(settings: Any, first: int, port: int = 0) -> Tunnels | None:
    """The network that a run's header asks for; None for none. Raises OSError where there is no loopback."""
    return None if settings is None else Tunnels(first, settings["connections"], port)


class Announced:
    """In the code's process, which has the environment to itself: where programs look for a proxy."""

    def __init__(self) -> None:
        self.before: dict[str, str | None] = {}

    def __call__(self, port: int | None) -> None:
        """For a run with a network, or for one without, which finds everything as it was."""
        for name, value in self.before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self.before = {}
        if port is not None:
            self.before = {name: os.environ.get(name) for name in PROXIES + EXCEPTIONS}
            os.environ.update({**dict.fromkeys(PROXIES, f"http://127.0.0.1:{port}"), **dict.fromkeys(EXCEPTIONS, "")})
