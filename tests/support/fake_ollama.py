"""An Ollama server that answers what it is told to, and fails in all the ways in which real ones do.

Real sockets on loopback, so that what is tested is what runs. The same tests run against the embedded instance, which keeps it honest.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Any

from gleitzeit_nb.core.access import Secret
from gleitzeit_nb.core.instances import InstanceSettings
from tests.support.fake_models import Shelf
from tests.support.http_connection import Connection, Cut, Gone, Request, reset

if TYPE_CHECKING:
    from typing_extensions import Self

ANSWERING = ("/api/chat", "/api/generate", "/api/embed")
VERSION = "0.33.0"
ACCEPT_TURNS = 5  # of the loop, from an accepted socket to the end of a `_serve` that turns it away


class Kind(Enum):
    """What goes wrong."""

    HANG_BEFORE_HEADERS = "hang before headers"
    HANG_BEFORE_TOKEN = "hang before the first token"
    DISCONNECT = "close before headers"
    STALL = "stall"
    CUT = "cut"
    CLOSE = "close in the middle of a chunk"
    SHORT = "less than Content-Length says"
    END_EARLY = "clean end without done"
    ERROR_LINE = "error line"
    BROKEN_LINE = "a line that is not JSON"
    HTML = "HTML with status 200"
    EMPTY = "empty body with status 200"
    STATUS = "a status that is not 200"


@dataclass(frozen=True)
class Fault:
    """`after`: tokens that are sent before it happens. `everywhere`: also to the paths that probes ask."""

    kind: Kind
    after: int = 0
    status: int = 500
    error: str | None = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    everywhere: bool = False


def status(code: int, error: str | None = "", *, everywhere: bool = False, **headers: str) -> Fault:
    """An answer with that status and Ollama's error body (None: an HTML page, as from a proxy)."""
    return Fault(Kind.STATUS, status=code, error=error, headers=headers, everywhere=everywhere)


BUSY = status(503, "server busy, please try again.  maximum pending requests exceeded")
BROKEN = status(500, "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error")


Token = str | Mapping[str, Any]  # a mapping: parts of a message, such as {"thinking": …} or {"tool_calls": […]}
Tokens = Callable[[Mapping[str, Any]], Iterable[Token]]


def echo(body: Mapping[str, Any]) -> list[str]:
    """The last thing that the user said, word by word."""
    messages = body.get("messages")
    text = messages[-1]["content"] if messages else body.get("prompt", "")
    return [f"{word} " for word in str(text).split()] or [" "]


class FakeOllama:
    """`async with FakeOllama() as server:` listens; `server.faults` is used up request by request, `server.fault` stays."""

    def __init__(
        self,
        id: str = "fake",  # noqa: A002 - an instance's own word
        models: Iterable[str] = ("llama3.2:latest",),
        *,
        tokens: Tokens = echo,
        token_s: float = 0.0,
        load_s: float = 0.0,
        on_gpu: bool = False,
        embeds: bool = True,
        api_key: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.id = id
        self.shelf = Shelf(list(models), on_gpu)
        self.tokens = tokens
        self.token_s = token_s
        self.load_s = load_s
        self.embeds = embeds
        self.api_key = api_key
        self.done_reason = "stop"
        self.tls = tls
        self.fault: Fault | None = None
        self.faults: list[Fault | None] = []
        self.slots: asyncio.Semaphore | None = None  # what it answers at once; others wait inside, as in Ollama
        self.gate = asyncio.Event()
        self.gate.set()
        self.requests: list[Request] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.abandoned = 0  # answers whose client went away
        self.connections = 0  # accepted so far
        self.port = 0
        self._server: asyncio.Server | None = None
        self._alive = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        await self.die()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def models(self) -> list[str]:
        return self.shelf.models

    @models.setter
    def models(self, names: list[str]) -> None:
        self.shelf.models = names

    @property
    def loaded(self) -> dict[str, Any]:
        """By name, the options that each model was loaded with."""
        return self.shelf.loaded

    @property
    def loads(self) -> int:
        return self.shelf.loads

    @property
    def asked(self) -> list[Request]:
        """The requests for answers, without the probes."""
        return [request for request in self.requests if request.path in ANSWERING]

    def settings(self, **changes: Any) -> InstanceSettings:
        """How a pool would be told of it."""
        key = Secret(self.api_key) if self.api_key else None
        return InstanceSettings(**{"id": self.id, "url": self.url, "max_concurrent": 4, "api_key": key, **changes})

    async def listen(self) -> None:
        """Listen; after `die`, at the same port again."""
        self._alive = True
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def die(self) -> None:
        """As a killed process: the port refuses, and every connection is reset."""
        self._alive = False
        for _ in range(ACCEPT_TURNS):  # what is accepted and not yet served stays open for ever when the server closes now (3.10)
            await asyncio.sleep(0)
        if self._server is not None:
            self._server.close()
            self._server = None
        writers = tuple(self._writers)
        for writer in writers:
            reset(writer)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)  # sockets close a turn after transports
        self.loaded.clear()

    # -- HTTP -----------------------------------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._alive:
            reset(writer)
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self.connections += 1
        connection = Connection(reader, writer)
        try:
            while (request := await connection.request()) is not None:
                self.requests.append(request)
                await self._answer(request, connection)
        except (Gone, Cut, ConnectionError, asyncio.IncompleteReadError):
            pass  # the client's choice, or what the fault is
        except asyncio.CancelledError:
            pass  # `die`
        finally:
            connection.end()
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _answer(self, request: Request, connection: Connection) -> None:
        answering = request.path in ANSWERING
        fault = self._next_fault(answering)
        if fault is not None and await self._fail_at_once(fault, connection):
            return
        if self.api_key is not None and request.headers.get("authorization") != f"Bearer {self.api_key}":
            await connection.send_json(401, {"error": "unauthorized"})
        elif answering:
            await self._counted(request, connection, fault)
        else:
            await self._inform(request, connection)

    def _next_fault(self, answering: bool) -> Fault | None:
        if answering and self.faults:
            return self.faults.pop(0)
        return self.fault if self.fault is not None and (answering or self.fault.everywhere) else None

    async def _fail_at_once(self, fault: Fault, connection: Connection) -> bool:
        """True: the fault came before any header of an answer, so this was all."""
        if fault.kind is Kind.HANG_BEFORE_HEADERS:
            await self._forever(connection)
        elif fault.kind is Kind.DISCONNECT:
            raise Gone
        elif fault.kind is Kind.HTML:
            await connection.send(200, b"<!DOCTYPE html><html><body>Welcome</body></html>", "text/html")
        elif fault.kind is Kind.EMPTY:
            await connection.send(200, b"", "application/x-ndjson")
        elif fault.kind is Kind.STATUS:
            body = b"<html>proxy error</html>" if fault.error is None else json.dumps({"error": fault.error}).encode()
            await connection.send(fault.status, body, "application/json", fault.headers)
        else:
            return False
        return True

    async def _forever(self, connection: Connection) -> None:
        try:
            await connection.pause(None)
        except Gone:
            self.abandoned += 1
            raise

    async def _inform(self, request: Request, connection: Connection) -> None:
        if request.path == "/api/version":
            await connection.send_json(200, {"version": VERSION})
        elif request.path == "/api/tags":
            await connection.send_json(200, {"models": [self.shelf.entry(name) for name in self.models]})
        elif request.path == "/api/ps":
            await connection.send_json(200, {"models": [self.shelf.memory(name) for name in self.loaded]})
        elif request.path == "/":
            await connection.send(200, b"Ollama is running", "text/plain")
        elif not await self.shelf.manage(request, connection):
            await connection.send(404, b"404 page not found", "text/plain")

    # -- answers --------------------------------------------------------------------------------------------------------------

    async def _counted(self, request: Request, connection: Connection, fault: Fault | None) -> None:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await self._generate(request, connection, fault)
        except (Gone, ConnectionError):
            self.abandoned += 1
            raise
        finally:
            self.in_flight -= 1

    async def _generate(self, request: Request, connection: Connection, fault: Fault | None) -> None:
        name = self.shelf.named(str(request.body.get("model", "")))
        if name is None:
            await connection.send_json(404, {"error": f"model '{request.body.get('model')}' not found"})
            return
        content = request.body.get("messages") or request.body.get("prompt") or request.body.get("input")
        if not content and request.body.get("keep_alive") == 0:
            self.shelf.unload(name)
            await self._bare(request.path, name, "unload", connection)
            return
        if fault is None or fault.kind is not Kind.HANG_BEFORE_TOKEN:
            await self.shelf.load(name, request.body, connection, self.load_s)
            await connection.until(self.gate)
        if not content and request.path != "/api/embed":
            await self._bare(request.path, name, "load", connection)
            return
        if request.path == "/api/embed":
            await self._embed(request, connection)
            return
        if request.body.get("stream") is False:
            text = "".join(token for token in self.tokens(request.body) if isinstance(token, str))
            await connection.send_json(200, self._line(request.path, name, text, done=True) | {"done_reason": "stop"})
            return
        if fault is not None and fault.kind is Kind.SHORT:
            await self._too_short(name, request, connection, fault.after)
        await connection.start(200, "application/x-ndjson")
        await self._stream(name, request, connection, fault)

    async def _bare(self, path: str, name: str, reason: str, connection: Connection) -> None:
        """A request without content only loads or unloads; one object, also when streaming."""
        await connection.send_json(200, self._line(path, name, "", done=True) | {"done_reason": reason})

    async def _too_short(self, name: str, request: Request, connection: Connection, tokens: int) -> None:
        """Some lines under a Content-Length that promises more, and then the end of the connection."""
        lines = [self._line(request.path, name, token, done=False) for token in list(self.tokens(request.body))[:tokens]]
        body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        await connection.send(200, body, "application/x-ndjson", {"Content-Length": str(len(body) + 100)})
        raise Gone

    async def _stream(self, name: str, request: Request, connection: Connection, fault: Fault | None) -> None:
        arrived_at = time.monotonic()
        async with self.slots or contextlib.nullcontext():
            await self._say(name, request, connection, fault, time.monotonic() - arrived_at)

    async def _say(self, name: str, request: Request, connection: Connection, fault: Fault | None, waited_s: float) -> None:
        tokens = list(self.tokens(request.body))
        for count, token in enumerate(tokens):
            if fault is not None and fault.after == count and await self._fail_inside(fault, connection):
                return
            await connection.pause(self.token_s)
            await connection.line(self._line(request.path, name, token, done=False) | self._logprobs(request.body, token))
        if fault is not None and fault.after >= len(tokens) and await self._fail_inside(fault, connection):
            return
        end = {
            "done_reason": self.done_reason,
            "total_duration": 5_000_000 + int(waited_s * 1e9),
            "load_duration": 1_000_000,
            "prompt_eval_count": 7,
        }
        end |= {"prompt_eval_duration": 1_000_000, "eval_count": len(tokens), "eval_duration": 2_000_000}
        await connection.line(self._line(request.path, name, "", done=True) | end)
        await connection.finish()

    async def _fail_inside(self, fault: Fault, connection: Connection) -> bool:
        """True: the answer has ended by it."""
        if fault.kind in (Kind.STALL, Kind.HANG_BEFORE_TOKEN):
            await connection.pause(None)
        elif fault.kind is Kind.CUT:
            connection.cut()
            raise Cut
        elif fault.kind is Kind.CLOSE:
            await connection.break_chunk()
            raise Gone
        elif fault.kind is Kind.ERROR_LINE:
            await connection.line({"error": "an error was encountered while running the model: CUDA error"})
            await connection.finish()
        elif fault.kind is Kind.BROKEN_LINE:
            await connection.chunk(b"this is not JSON\n")
            await connection.finish()
        elif fault.kind is Kind.END_EARLY:
            await connection.finish()
        else:
            return False
        return True

    def _logprobs(self, body: Mapping[str, Any], token: Token) -> dict[str, Any]:
        if not body.get("logprobs"):
            return {}
        others = [{"token": f"other {number}", "logprob": -2.0} for number in range(body.get("top_logprobs", 0))]
        return {"logprobs": [{"token": token, "logprob": -0.5, **({"top_logprobs": others} if others else {})}]}

    def _line(self, path: str, name: str, token: Token, *, done: bool) -> dict[str, Any]:
        parts = {"content": token} if isinstance(token, str) else {"content": "", **token}
        said = {"message": {"role": "assistant", **parts}} if path == "/api/chat" else {"response": parts.pop("content"), **parts}
        return {"model": name, "created_at": "2026-01-05T10:00:00.000000001Z", **said, "done": done}

    async def _embed(self, request: Request, connection: Connection) -> None:
        if not self.embeds:
            await connection.send_json(501, {"error": "This server does not support embeddings. Start it with `--embeddings`"})
            return
        inputs = request.body.get("input", [])
        texts = [inputs] if isinstance(inputs, str) else inputs
        vectors = [[byte / 255 for byte in hashlib.sha256(text.encode()).digest()[:4]] for text in texts]
        await connection.send_json(200, {"model": request.body["model"], "embeddings": vectors, "prompt_eval_count": len(texts)})
