"""The wire: HTTP to one Ollama server, its lines decoded, its failures named.

An answer is read line by line under three limits: connecting, the first line, and between lines. What the lines *say* is read in
`llm.answers`; whether an answer is complete is decided there too.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from gleitzeit_nb.core.faults import Cause
from gleitzeit_nb.core.instances import InstanceSettings
from gleitzeit_nb.llm.channel import Channel, body_of
from gleitzeit_nb.llm.connection import headers_of, scrubber_of, transport_of
from gleitzeit_nb.llm.faults import InstanceFault, error_text, fault_of_exception, fault_of_status
from gleitzeit_nb.llm.foreign import forget_frames
from gleitzeit_nb.llm.limits import Limit, Limits

if TYPE_CHECKING:
    import httpx

__all__ = ["InstanceFault", "OllamaTransport", "open_transport"]

MAX_LINE_BYTES = 64 << 20
MAX_ERROR_BYTES = 64 << 10
DRAIN_S = 0.25  # after the last line only the end of the body is missing; without it the connection cannot be used again


_scan = json.JSONDecoder().raw_decode  # json.loads looks at every line for another encoding than UTF-8, and twice for space


def open_transport(instance: InstanceSettings) -> OllamaTransport:
    """The TransportFactory that the pool uses unless it is given another."""
    return OllamaTransport(instance)


class OllamaTransport:
    """A `Transport` over httpx, on aiohttp where that is installed. Belongs to the event loop that uses it first."""

    def __init__(self, settings: InstanceSettings, *, prefer_aiohttp: bool = True) -> None:
        self._base = settings.url.rstrip("/")
        self._proxied = settings.proxy is not None
        self._scrubber = scrubber_of(settings)
        self._channel = Channel(self._base, transport_of(settings, prefer_aiohttp=prefer_aiohttp), headers_of(settings))
        self._closed = False

    def __repr__(self) -> str:
        return f"<OllamaTransport {self._base}{' closed' if self._closed else ''}>"

    async def get(self, path: str, *, timeout_s: float) -> Mapping[str, Any]:
        """GET `path`; the decoded JSON object of a 200."""
        return self._decoded(await self._fetch("GET", path, None, timeout_s))

    async def post(self, path: str, body: Mapping[str, Any], *, timeout_s: float) -> Mapping[str, Any]:
        """POST `body` to `path`, such as `/api/show`; the decoded JSON object of a 200."""
        return self._decoded(await self._fetch("POST", path, _encoded(body), timeout_s))

    async def delete(self, path: str, body: Mapping[str, Any], *, timeout_s: float) -> None:
        """DELETE with `body`, such as `/api/delete`; a 200 says nothing more."""
        await self._fetch("DELETE", path, _encoded(body), timeout_s)

    async def _fetch(self, method: str, path: str, content: bytes | None, timeout_s: float) -> bytes:
        answering = False
        try:
            with Limit(timeout_s):
                response = await self._send(method, path, content, timeout_s)
                try:
                    answering = True
                    await self._check(response, path)
                    return await _read_at_most(response, MAX_LINE_BYTES)
                finally:
                    await response.aclose()
        except Exception as exc:
            self._raise_fault(exc, answering=answering)
            raise

    async def stream(
        self, path: str, body: Mapping[str, Any], *, connect_s: float, first_s: float, between_s: float
    ) -> AsyncIterator[list[Mapping[str, Any]]]:
        """POST `body`; the decoded JSON objects of its NDJSON lines, as many at a time as have come. Closing it closes the connection.

        `first_s` counts until the first line is whole. Ends after a line that says `done`, or when the body does. What came before
        a fault is given out before the fault is raised.
        """
        content = _encoded(body)
        response: httpx.Response | None = None
        begun = False
        lines, limits = LineSplitter(), Limits()
        try:
            with limits.of(first_s):
                response = await self._send("POST", path, content, connect_s)
                await self._check(response, path)
                chunks = body_of(response)
                whole = await _first_lines(chunks, lines)
            begun = True
            while whole is not None:
                decoded, fault = self._decoded_until_fault(whole)
                if decoded:
                    yield decoded
                    if decoded[-1].get("done") is True:
                        await _drain(chunks, limits)
                        return
                if fault is not None:
                    raise fault
                with limits.of(between_s):
                    whole = await _next_lines(chunks, lines)
            if lines.rest:
                yield [self._decoded(lines.rest, whole=False)]
        except Exception as exc:
            self._raise_fault(exc, answering=begun)
            raise
        finally:
            limits.close()
            if response is not None:
                await response.aclose()

    async def aclose(self) -> None:
        self._closed = True
        await self._channel.aclose()

    async def _send(self, method: str, path: str, content: bytes | None, connect_s: float) -> httpx.Response:
        if self._closed:
            raise InstanceFault(Cause.DISCONNECTED, "the connection was given up here")
        return await self._channel.open(method, path, content, connect_s)

    def _raise_fault(self, exc: Exception, *, answering: bool) -> None:
        """Raise the fault that a foreign error means. One of our own is left alone: it is no fault of the instance."""
        fault = None if isinstance(exc, InstanceFault) else fault_of_exception(exc, answering=answering, proxied=self._proxied)
        if fault is not None:
            forget_frames(exc)
            raise fault from exc

    async def _check(self, response: httpx.Response, path: str) -> None:
        """Raise unless the status is 200."""
        if response.status_code == 200:
            return
        body = await _read_at_most(response, MAX_ERROR_BYTES)
        error = error_text(body, self._scrubber.clean)
        raise fault_of_status(response.status_code, error, path=path, retry_after=response.headers.get("retry-after"))

    def _decoded_until_fault(self, lines: list[bytes]) -> tuple[list[Mapping[str, Any]], InstanceFault | None]:
        """The lines up to one that is `done`, or up to one that is at fault, which ends them."""
        decoded: list[Mapping[str, Any]] = []
        try:
            for line in lines:
                decoded.append(self._decoded(line))
                if decoded[-1].get("done") is True:
                    break
        except InstanceFault as fault:
            return decoded, fault
        return decoded, None

    def _decoded(self, line: bytes, *, whole: bool = True) -> Mapping[str, Any]:
        """One line as an object. `whole`: its end was seen, so a broken one is not a cut one."""
        try:
            text = line.decode().strip()
            decoded, end = _scan(text)
            if end != len(text):
                raise ValueError("more than one value in a line")
        except (ValueError, RecursionError) as exc:
            if not line.strip():
                raise InstanceFault(Cause.BAD_BODY, "an empty body") from None
            if not whole and line.lstrip()[:1] == b"{":
                raise InstanceFault(Cause.TRUNCATED, "in the middle of a line") from exc
            raise InstanceFault(Cause.BAD_BODY, _kind_of(line)) from exc
        if not isinstance(decoded, dict):
            raise InstanceFault(Cause.BAD_BODY, "JSON that is no object")
        if "error" in decoded:
            raise InstanceFault(Cause.ERROR_LINE, error_text(line, self._scrubber.clean) or "without a text")
        return decoded


def _kind_of(body: bytes) -> str:
    start = body.lstrip()[:16].lower()
    return "an HTML page" if start.startswith((b"<!doctype", b"<html", b"<")) else "a line that is not JSON"


def _encoded(body: Mapping[str, Any]) -> bytes:
    """Raises TypeError for what is no JSON: the caller's mistake."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


class LineSplitter:
    """Bytes in, whole lines out. Knows nothing of where the bytes come from."""

    __slots__ = ("_parts", "_size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes, without their ends; blank ones are left out."""
        head, *others = chunk.split(b"\n")
        self._parts.append(head)
        self._size += len(head)
        if self._size > MAX_LINE_BYTES:
            raise InstanceFault(Cause.BAD_BODY, f"a line of more than {MAX_LINE_BYTES >> 20} MiB")
        if not others:
            return []
        lines = [b"".join(self._parts), *others[:-1]]
        self._parts, self._size = [others[-1]], len(others[-1])
        return [line for line in lines if line and not line.isspace()]

    @property
    def rest(self) -> bytes:
        """What stands after the last line's end; empty when that is only space."""
        rest = b"".join(self._parts)
        return b"" if rest.isspace() else rest


async def _next_lines(chunks: AsyncIterator[bytes], lines: LineSplitter) -> list[bytes] | None:
    """Some whole lines, perhaps none yet; None at the end of the body."""
    chunk = await anext(chunks, None)
    return None if chunk is None else lines.feed(chunk)


async def _first_lines(chunks: AsyncIterator[bytes], lines: LineSplitter) -> list[bytes] | None:
    """At least one whole line; None for a body without any line's end. A body of nothing is a fault."""
    found: list[bytes] | None = []
    while found == []:
        found = await _next_lines(chunks, lines)
    if found is None and not lines.rest:
        raise InstanceFault(Cause.BAD_BODY, "an empty body")
    return found


async def _drain(chunks: AsyncIterator[bytes], limits: Limits) -> None:
    """Read to the end of the body, if it is there. The answer is complete: what fails now costs only the connection."""
    import httpx

    with contextlib.suppress(httpx.HTTPError, OSError, TimeoutError):
        with limits.of(DRAIN_S):
            async for _ in chunks:
                pass


async def _read_at_most(response: httpx.Response, most: int) -> bytes:
    found = bytearray()
    async for chunk in body_of(response):
        found += chunk
        if len(found) > most:
            break
    return bytes(found[:most])
