"""The server's end of an HTTP connection, as small as the tests' fake servers need it, and able to fail on purpose."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Request:
    """What somebody asked."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]


class Gone(Exception):  # noqa: N818 - an event, not an error
    """The client closed the connection."""


class Cut(Exception):  # noqa: N818 - an event, not an error
    """We have reset the connection, as told."""


class Connection:
    """One client: requests in, answers out; and always an ear for its going away."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._ahead: asyncio.Task[bytes] | None = None  # a read that also hears the client go

    async def request(self) -> Request | None:
        first = await self._listen()
        self._ahead = None
        if not first:
            return None
        head = first + await self._reader.readuntil(b"\r\n\r\n")
        start, *rows = head.decode("latin-1").split("\r\n")[:-2]
        method, path, _ = start.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (row.partition(":") for row in rows)}
        body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        return Request(method, path, headers, json.loads(body) if body else {})

    def _listen(self) -> asyncio.Task[bytes]:
        if self._ahead is None:
            self._ahead = asyncio.ensure_future(self._reader.read(1))
        return self._ahead

    async def pause(self, seconds: float | None) -> None:
        """Wait (None: for ever), unless the client goes."""
        if seconds == 0:
            return
        await self._or_gone(asyncio.ensure_future(asyncio.sleep(3600 if seconds is None else seconds)))

    async def until(self, event: asyncio.Event) -> None:
        if not event.is_set():
            await self._or_gone(asyncio.ensure_future(event.wait()))

    async def _or_gone(self, waiting: asyncio.Future[Any]) -> None:
        heard = self._listen()
        try:
            await asyncio.wait({heard, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if heard.done() and (heard.exception() is not None or not heard.result()):
            raise Gone

    async def send_json(self, code: int, body: Mapping[str, Any]) -> None:
        await self.send(code, json.dumps(body).encode(), "application/json; charset=utf-8")

    async def send(self, code: int, body: bytes, kind: str, headers: Mapping[str, str] | None = None) -> None:
        self._head(code, kind, {"Content-Length": str(len(body)), **(headers or {})})
        self._writer.write(body)
        await self._writer.drain()

    async def start(self, code: int, kind: str) -> None:
        self._head(code, kind, {"Transfer-Encoding": "chunked"})
        await self._writer.drain()

    def _head(self, code: int, kind: str, headers: Mapping[str, str]) -> None:
        rows = [
            f"HTTP/1.1 {code} Status",
            f"Content-Type: {kind}",
            *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
        ]
        self._writer.write(("\r\n".join(rows) + "\r\n\r\n").encode())

    async def line(self, body: Mapping[str, Any]) -> None:
        await self.chunk(json.dumps(body).encode() + b"\n")

    async def chunk(self, data: bytes) -> None:
        self._writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        await self._writer.drain()

    async def finish(self) -> None:
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()

    async def break_chunk(self) -> None:
        """The beginning of a chunk; what closes the connection now does so in its middle."""
        self._writer.write(b'40\r\n{"model": "')
        await self._writer.drain()

    def cut(self) -> None:
        reset(self._writer)

    def end(self) -> None:
        if self._ahead is not None:
            self._ahead.cancel()
        self._writer.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with an RST, as the kernel does for a killed process."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:  # a client that was killed may have ended it already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
