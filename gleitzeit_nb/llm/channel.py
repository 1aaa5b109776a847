"""One instance's HTTP, down at httpx's seam: requests go straight to a transport.

`httpx.AsyncClient` adds redirects, cookies, authentication flows and merged addresses to that. The pool wants none of these, and they
cost as much time as all of its own work: an address is parsed once per path here, and headers once per instance.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

from gleitzeit_nb.llm.foreign import forget_frames

if TYPE_CHECKING:
    import httpx

USER_AGENT = "gleitzeit-nb"


class Channel:
    """Answers are not redirected, not kept, and read by whoever opened them. Belongs to the event loop that uses it first."""

    def __init__(self, base: str, transport: httpx.AsyncBaseTransport, headers: Mapping[str, str]) -> None:
        import httpx

        self._transport = transport
        own = httpx.Headers({"User-Agent": USER_AGENT})
        own.update(headers)

        def address(path: str) -> httpx.URL:
            url = httpx.URL(base + path)
            own.setdefault("Host", url.netloc.decode("ascii"))
            return url

        def request(method: str, url: httpx.URL, content: bytes | None, limits: Mapping[str, float | None]) -> httpx.Request:
            """Given a stream, httpx adds no headers of its own: looking which are missing costs as much as all else that it does."""
            body = httpx.ByteStream(content or b"")
            made = httpx.Request(method, url, headers=own, stream=body, extensions={"timeout": limits})
            if content is not None:
                made.headers["Content-Length"] = str(len(content))
            made.read()
            return made

        self._address = address
        self._request = request  # the headers stay in there: an attribute is shown by tools that print the locals of a traceback
        self._urls: dict[str, httpx.URL] = {}

    async def open(self, method: str, path: str, content: bytes | None, connect_s: float) -> httpx.Response:
        """The head of the answer. Only connecting is limited: httpx knows one limit for both the first token and the next ones."""
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = self._address(path)
        limits = {"connect": connect_s, "pool": connect_s, "read": None, "write": None}
        request = self._request(method, url, content, limits)
        try:
            return await self._transport.handle_async_request(request)
        except BaseException as exc:  # noqa: BLE001 - a cancel as well, and each is raised again
            forget_frames(exc)
            raise exc.with_traceback(None) from exc.__cause__

    async def aclose(self) -> None:
        await self._transport.aclose()


def body_of(response: httpx.Response) -> AsyncIterator[bytes]:
    """The body as it comes. We ask for it unpacked; a proxy that packs it all the same is understood."""
    packed = "content-encoding" in response.headers
    return response.aiter_bytes().__aiter__() if packed else _raw(response).__aiter__()


def _raw(response: httpx.Response) -> httpx.AsyncByteStream:
    import httpx

    assert isinstance(response.stream, httpx.AsyncByteStream)
    return response.stream
