"""A forward proxy for tests: tunnels and plain requests, noting what it was asked, and asking for a password if told to."""

from __future__ import annotations

import asyncio
import base64
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from typing_extensions import Self


class FakeProxy:
    """`async with FakeProxy() as proxy:` listens at `proxy.url`. `heads`: the head of each request that it saw, as text."""

    def __init__(self, pair: str | None = None) -> None:
        self.pair = pair
        self.heads: list[str] = []
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._pass_on(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client's choice, or the end of the test
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await self._head(reader)
        if not self._admits(head):
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        method, target, _ = head.split(" ", 2)
        tunnel = method == "CONNECT"
        parts = urlsplit(f"//{target}" if tunnel else target)
        there, back = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            if tunnel:
                writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
                await asyncio.gather(_copy(reader, back), _copy(there, writer))
            else:
                await asyncio.gather(self._requests(head, reader, back), _copy(there, writer))
        finally:
            back.close()

    async def _requests(self, head: str, reader: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        """One after the other, as they come over one connection; none of them tells the server what was meant for the proxy."""
        while True:
            start, *rows = head.removesuffix("\r\n\r\n").split("\r\n")
            method, target, _ = start.split(" ", 2)
            kept = [row for row in rows if not row.lower().startswith("proxy-")]
            back.write("\r\n".join([f"{method} {urlsplit(target).path} HTTP/1.1", *kept, "", ""]).encode("latin-1"))
            sizes = [int(row.partition(":")[2]) for row in rows if row.lower().startswith("content-length:")]
            back.write(await reader.readexactly(sum(sizes)))
            await back.drain()
            head = await self._head(reader)

    async def _head(self, reader: asyncio.StreamReader) -> str:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.heads.append(head)
        return head

    def _admits(self, head: str) -> bool:
        if self.pair is None:
            return True
        expected = f"proxy-authorization: Basic {base64.b64encode(self.pair.encode()).decode()}"
        return expected.lower() in head.lower()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(65536):
        target.write(data)
        await target.drain()
    target.close()
