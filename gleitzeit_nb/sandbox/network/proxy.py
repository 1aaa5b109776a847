"""One connection of the code: what it asks, whether it may, and the answer when it may not."""

from __future__ import annotations

import asyncio
import contextlib

from gleitzeit_nb.core.allowlist import bracketed
from gleitzeit_nb.core.network import NetworkPolicy
from gleitzeit_nb.core.plain import size_words
from gleitzeit_nb.sandbox.network.gateway import Gateway, Pins, RefusedError, UnreachedError
from gleitzeit_nb.sandbox.network.head import END, MOST_REQUEST, Asked, BadHeadError, answer, parse_request
from gleitzeit_nb.sandbox.network.log import NetworkLog
from gleitzeit_nb.sandbox.network.relay import Budget, Relay
from gleitzeit_nb.sandbox.network.streams import CodeStream, StreamGoneError

HEAD_S = 10.0  # for a whole request head, however slowly it trickles
LINGER_S = 2.0  # for the code to read an answer before its connection is closed
LINGER_BYTES = 1 << 20
UNREADABLE = "unreadable requests"


class Proxy:
    """Serves the streams of one run."""

    def __init__(self, policy: NetworkPolicy, gateway: Gateway, log: NetworkLog) -> None:
        self._policy = policy
        self._gateway = gateway
        self._log = log
        self._pins = Pins()
        self._connections_left = policy.limits.connections_total
        self._head_s = min(HEAD_S, policy.limits.idle_timeout_s)
        self._budget = Budget(policy.limits.run_bytes)

    def __repr__(self) -> str:
        return f"<Proxy {self._budget.left} bytes and {self._connections_left} connections left>"

    async def serve(self, stream: CodeStream) -> None:
        try:
            head, rest = await asyncio.wait_for(_head(stream), self._head_s)
            asked = parse_request(head)
        except asyncio.TimeoutError:
            self._log.turned_away(UNREADABLE, 0, "refused", "it came too slowly")
            await _turn_away(stream, 408, "The request came too slowly", f"Its head must be there within {self._head_s:g} s.")
        except BadHeadError as exc:
            self._log.turned_away(UNREADABLE, 0, "refused", str(exc))
            await _turn_away(stream, 400, f"The proxy of the sandbox cannot read this: {exc}", "")
        else:
            await self._serve(stream, asked, rest)

    async def _serve(self, stream: CodeStream, asked: Asked, rest: bytes) -> None:
        host, port = asked.host, asked.port
        place = f"{bracketed(host)}:{port}"
        try:
            self._check_budget()
            self._gateway.judge(host, port, self._policy)
            server = await self._gateway.connect(host, port, self._policy, self._pins)
        except RefusedError as exc:
            self._log.turned_away(host, port, "refused", exc.reason)
            await _turn_away(stream, 403, f"The sandbox may not reach {place}: {exc.reason}", exc.remedy)
            return
        except UnreachedError as exc:
            self._log.turned_away(host, port, "failed", str(exc))
            await _turn_away(stream, 502, f"The sandbox could not reach {place}: {exc}", "It is allowed, and could not be had.")
            return
        access = self._log.allowed(host, port)
        relay = Relay(stream, server, access, self._budget, self._policy.limits)
        try:
            await relay.run(asked, rest)
        finally:
            server[1].transport.abort()
            self._log.ended(access, relay.cut)
        await _part(stream, reset=relay.broken)

    def _check_budget(self) -> None:
        limits, raise_it = self._policy.limits, "network_limits in your own configuration says how much that is."
        if self._connections_left <= 0:
            raise RefusedError(f"the run has made its {limits.connections_total} connections", raise_it)
        self._connections_left -= 1
        if self._budget.left <= 0:
            raise RefusedError(f"the run has moved its {size_words(limits.run_bytes)}", raise_it)


async def _turn_away(stream: CodeStream, status: int, reason: str, text: str) -> None:
    await stream.write(answer(status, reason, f"{reason}.\n{text}\n" if text else f"{reason}.\n"))
    await _part(stream, reset=False)


async def _part(stream: CodeStream, *, reset: bool) -> None:
    """Let the code read what it was sent: closing at once, with its own bytes unread, would break it off."""
    if not reset:
        stream.end()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(_discard(stream), LINGER_S)
    stream.close(reset=reset)


async def _discard(stream: CodeStream) -> None:
    left = LINGER_BYTES
    while left > 0 and (data := await stream.read()):
        left -= len(data)


async def _head(stream: CodeStream) -> tuple[bytes, bytes]:
    """(the head with the empty line at its end, what came behind it). Raises BadHeadError."""
    data = b""
    while END not in data[:MOST_REQUEST]:
        piece = await stream.read()
        if not piece and not data:
            raise StreamGoneError  # a connection that asked nothing
        if not piece or len(data) >= MOST_REQUEST:
            raise BadHeadError(f"its head has no end within {MOST_REQUEST} bytes")
        data += piece
    head, _, rest = data.partition(END)
    return head + END, rest
