"""The HTTP face: routes, answers as JSON or NDJSON, and the watch for clients that leave."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gleitzeit_nb.embedded import inventory
from gleitzeit_nb.embedded.chat import chat
from gleitzeit_nb.embedded.child import STOPPED, ChildFaultError
from gleitzeit_nb.embedded.embed import embed, embeddings
from gleitzeit_nb.embedded.generate import generate
from gleitzeit_nb.embedded.guard import Guard
from gleitzeit_nb.embedded.models import ModelTable
from gleitzeit_nb.embedded.wire import Chunk, Fields, RefusalError, decode, line
from gleitzeit_nb.errors import EmbeddedError

_log = logging.getLogger(__name__)
VERSION = "0.33.0-embedded"  # the Ollama whose source this API was written against
MAX_BODY_BYTES = 64 << 20
_JSON = b"application/json; charset=utf-8"
_NDJSON = b"application/x-ndjson"

Handler = Callable[[ModelTable, Mapping[str, Any]], Awaitable[Chunk | AsyncGenerator[Chunk, None]]]


class GinJSON(JSONResponse):
    """JSON with the content type that Ollama's web framework gives it."""

    media_type = "application/json; charset=utf-8"


def build_app(table: ModelTable, *, loopback: bool = True, token: str | None = None) -> Starlette:
    """The application. Its lifespan runs the table's expiry and ends every child at shutdown."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        expiry = asyncio.create_task(table.run())
        try:
            yield
        finally:
            expiry.cancel()
            await table.close()

    def get(path: str, answer: Callable[[], Response], *, head: bool = True) -> Route:
        async def endpoint(request: Request) -> Response:
            return answer()

        route = Route(path, endpoint, methods=["GET"])
        if not head and route.methods is not None:
            route.methods.discard("HEAD")
        return route

    def post(path: str, handler: Handler, *, streams: bool = True) -> Route:
        return Route(path, PostEndpoint(table, handler, streams=streams), methods=["POST"])

    async def show(_: ModelTable, body: Mapping[str, Any]) -> Chunk:
        return inventory.show(table, body)

    return Starlette(
        routes=[
            get("/", lambda: PlainTextResponse("Ollama is running")),
            get("/api/version", lambda: GinJSON({"version": VERSION})),
            get("/api/status", lambda: GinJSON({"cloud": {"disabled": True, "source": "none"}})),
            get("/api/tags", lambda: GinJSON(inventory.tags(table))),
            get("/api/ps", lambda: GinJSON(inventory.running(table)), head=False),
            post("/api/show", show, streams=False),
            post("/api/chat", chat),
            post("/api/generate", generate),
            post("/api/embed", embed, streams=False),
            post("/api/embeddings", embeddings, streams=False),
            post("/api/pull", inventory.pull),
            Route("/api/delete", _deletion(table), methods=["DELETE"]),
        ],
        middleware=[Middleware(Guard, loopback=loopback, token=token)],
        exception_handlers={HTTPException: _http_error, 500: _unexpected},
        lifespan=lifespan,
    )


def _deletion(table: ModelTable) -> Callable[[Request], Awaitable[Response]]:
    async def delete(request: Request) -> Response:
        body = await _read_body(request.receive)
        try:
            inventory.delete(table, decode(body or b""))
        except RefusalError as refusal:
            return GinJSON({"error": refusal.text}, refusal.status)
        except EmbeddedError as error:
            return GinJSON({"error": str(error)}, 500)
        return Response(status_code=200)

    return delete


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    text = {404: "404 page not found", 405: "405 method not allowed"}.get(status, str(error))
    return PlainTextResponse(text, status)


async def _unexpected(request: Request, error: Exception) -> Response:
    return GinJSON({"error": f"internal error of the embedded instance: {type(error).__name__}"}, 500)


class PostEndpoint:
    """An ASGI endpoint that stops its work as soon as the client is gone, whether or not anything was sent yet."""

    def __init__(self, table: ModelTable, handler: Handler, *, streams: bool) -> None:
        self._table = table
        self._handler = handler
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read_body(receive)
        if body is None:
            return
        work = asyncio.create_task(self._serve(body, send))
        gone = asyncio.create_task(_disconnect(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            if not work.done():
                work.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
        if not work.cancelled() and (error := work.exception()) is not None:
            raise error

    async def _serve(self, body: bytes, send: Send) -> None:
        reply = Reply(send)
        try:
            if len(body) > MAX_BODY_BYTES:
                raise RefusalError(413, f"the request is larger than {MAX_BODY_BYTES >> 20} MiB")
            request = decode(body)
            answer = await self._handler(self._table, request)
            if isinstance(answer, dict):
                await reply.single(answer)
            elif self._streams and not Fields(request, "Request").flag("stream", True):
                await reply.single(await merged(answer))
            else:
                async with aclosing(answer) as chunks:
                    async for chunk in chunks:
                        await reply.chunk(chunk)
                await reply.end()
        except RefusalError as refusal:
            await reply.failure(refusal.status, refusal.text)
        except EmbeddedError as error:
            await reply.failure(500, str(error))
        except ChildFaultError as fault:
            _log.warning("a model's process failed: %s", fault)
            await reply.failure(500, f"an error was encountered while running the model: {fault}" if reply.started else STOPPED)


class Reply:
    """One response: a status before the first byte, an error line after it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def _start(self, status: int, content_type: bytes, length: int | None = None) -> None:
        self.started = True
        headers = [(b"content-type", content_type)]
        if length is not None:
            headers.append((b"content-length", str(length).encode()))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def single(self, value: Chunk, status: int = 200) -> None:
        data = line(value)[:-1]
        await self._start(status, _JSON, len(data))
        await self._send({"type": "http.response.body", "body": data})

    async def chunk(self, value: Chunk) -> None:
        if not self.started:
            await self._start(200, _NDJSON)
        await self._send({"type": "http.response.body", "body": line(value), "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def failure(self, status: int, text: str) -> None:
        if self.started:
            await self.chunk({"error": text})
            await self.end()
        else:
            await self.single({"error": text}, status)


async def merged(answer: AsyncGenerator[Chunk, None]) -> Chunk:
    """The whole stream as the one object of `stream: false`: texts joined, the rest from the last chunk."""
    texts: dict[str, list[str]] = {"content": [], "response": [], "thinking": []}
    logprobs: list[Any] = []
    last: Chunk = {}
    async with aclosing(answer) as chunks:
        async for chunk in chunks:
            last = chunk
            for name, parts in texts.items():
                parts.append(chunk.get(name) or (chunk.get("message") or {}).get(name) or "")
            logprobs.extend(chunk.get("logprobs") or ())
    joined = {name: "".join(parts) for name, parts in texts.items()}
    if "message" in last:
        message = {**last["message"], "content": joined["content"]}
        if joined["thinking"]:
            message["thinking"] = joined["thinking"]
        last = {**last, "message": message}
    elif "response" in last:
        last = {**last, "response": joined["response"]}
        if joined["thinking"]:
            last["thinking"] = joined["thinking"]
    return {**last, "logprobs": logprobs} if logprobs else last


async def _read_body(receive: Receive) -> bytes | None:
    """The whole body, cut a little above the limit; None when the client left before its end."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        if size <= MAX_BODY_BYTES:
            parts.append(part)
            size += len(part)
        if not message.get("more_body", False):
            return b"".join(parts)


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
