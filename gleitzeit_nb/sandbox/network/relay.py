"""Bytes between the code and a server, both ways, until either side, a limit or silence ends it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from gleitzeit_nb.core.network import NetworkLimits
from gleitzeit_nb.core.plain import size_words
from gleitzeit_nb.sandbox.network.gateway import Connection
from gleitzeit_nb.sandbox.network.head import END, MOST_RESPONSE, Asked, BadHeadError, answer, response_head
from gleitzeit_nb.sandbox.network.log import Access
from gleitzeit_nb.sandbox.network.streams import CodeStream, StreamGoneError

READ_BYTES = 32 << 10
CONNECTED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@dataclass(eq=False)
class Budget:
    """What is left of a run's bytes, for all its connections."""

    left: int


class _CutError(Exception):
    """A limit ends the connection; the text says which."""


class Relay:
    """One connection. `cut`: which limit ended it, "" when none did. `broken`: the code shall see that it did not end well."""

    def __init__(self, stream: CodeStream, server: Connection, access: Access, budget: Budget, limits: NetworkLimits) -> None:
        self.cut = ""
        self.broken = False
        self._stream = stream
        self._reader, self._writer = server
        self._access = access
        self._budget = budget
        self._limits = limits
        self._left = limits.connection_bytes
        self._moved = time.monotonic()

    def __repr__(self) -> str:
        return f"<Relay {self._access.host}:{self._access.port} {self._left} bytes left>"

    async def run(self, asked: Asked, rest: bytes) -> None:
        up = asyncio.create_task(self._tunnel_up(rest) if asked.tunnel else self._request_up(asked, rest))
        down = asyncio.create_task(self._tunnel_down() if asked.tunnel else self._response_down())
        try:
            await self._watch({up, down}, down if not asked.tunnel else None)
        except StreamGoneError:
            self.broken = True
        except _CutError as exc:
            self.cut, self.broken = str(exc), True
        except OSError:
            self.broken = True  # the server broke it off
        finally:
            up.cancel()
            down.cancel()
            await asyncio.gather(up, down, return_exceptions=True)

    async def _watch(self, tasks: set[asyncio.Task[None]], last: asyncio.Task[None] | None) -> None:
        """Until all have ended, or `last` has, or one fails, or nothing moved for too long."""
        while tasks and not (last is not None and last.done()):
            idle_s = self._limits.idle_timeout_s - (time.monotonic() - self._moved)
            if idle_s <= 0:
                raise _CutError(f"nothing moved for {self._limits.idle_timeout_s:g} s")
            done, tasks = await asyncio.wait(tasks, timeout=idle_s, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()

    # -- to the server ------------------------------------------------------------------------------------------------------

    async def _tunnel_up(self, data: bytes) -> None:
        await self._to_server(data)
        while data := await self._stream.read():
            await self._to_server(data)
        self._writer.write_eof()

    async def _request_up(self, asked: Asked, data: bytes) -> None:
        """The head, exactly the body, and nothing else: one request is what was judged."""
        await self._to_server(asked.head)
        left = asked.body_bytes
        while True:
            await self._to_server(data[:left])
            if len(data) > left:
                raise _CutError("a second request came over one connection")
            left -= len(data)
            data = await self._stream.read()
            if not data:
                break
        if left:
            raise StreamGoneError  # it left in the middle of its request
        self._writer.write_eof()

    async def _to_server(self, data: bytes) -> None:
        passed = self._passed(len(data))
        self._access.bytes_sent += passed
        self._writer.write(data[:passed])
        await self._writer.drain()
        self._require(passed == len(data))

    # -- to the code --------------------------------------------------------------------------------------------------------

    async def _tunnel_down(self) -> None:
        await self._stream.write(CONNECTED)
        await self._rest_down()

    async def _response_down(self) -> None:
        """The head anew, since this connection serves one request whatever the server says; then everything as it comes."""
        data, status = b"", 100
        while status < 200:
            try:
                head, data = await self._response_head(data)
                status, head = response_head(head)
            except BadHeadError as exc:
                await self._stream.write(answer(502, f"The answer cannot be passed on: {exc}", f"{exc}.\n"))
                break
            await self._to_code(head)
        else:
            await self._to_code(data)
            await self._rest_down()
        self._stream.end()

    async def _response_head(self, data: bytes) -> tuple[bytes, bytes]:
        while END not in data[:MOST_RESPONSE]:
            piece = await self._reader.read(READ_BYTES)
            if not piece or len(data) >= MOST_RESPONSE:
                raise BadHeadError("the server sent no whole head")
            data += piece
        head, _, rest = data.partition(END)
        return head + END, rest

    async def _rest_down(self) -> None:
        while data := await self._reader.read(READ_BYTES):
            await self._to_code(data)
        self._stream.end()

    async def _to_code(self, data: bytes) -> None:
        passed = self._passed(len(data))
        self._access.bytes_received += passed
        await self._stream.write(data[:passed])
        self._require(passed == len(data))

    # -- limits -------------------------------------------------------------------------------------------------------------

    def _passed(self, count: int) -> int:
        """How many of so many bytes may still pass; they are taken off."""
        self._moved = time.monotonic()
        passed = min(count, self._left, self._budget.left)
        self._left -= passed
        self._budget.left -= passed
        return passed

    def _require(self, whole: bool) -> None:
        if not whole and self._left <= 0:
            raise _CutError(f"the connection has moved its {size_words(self._limits.connection_bytes)}")
        if not whole:
            raise _CutError(f"the run has moved its {size_words(self._limits.run_bytes)}")
