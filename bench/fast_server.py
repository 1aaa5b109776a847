"""Ollama servers that cost next to nothing, in a process of their own, so that what is measured is the client. They end with stdin.

The model's name says how long an answer is: `t8` has eight tokens, each written by itself. With a service time an answer takes that
long, on one of so many slots; beyond so many waiting requests a server says 503, as Ollama does when its queue is full.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from bench.prompt_cache import Place, PromptCache

ROOT = Path(__file__).resolve().parent.parent
MODELS = ("t1", "t8", "t64")
TOKEN = "word "


@dataclass(frozen=True)
class Kind:
    """How one server answers. `service_s`: the mean, from which answers differ by up to a quarter; 0: at once, without slots.

    `read_s`: for each character of a prompt that it does not remember.
    """

    service_s: float = 0.0
    slots: int = 1
    pending: int = 512
    read_s: float = 0.0


@dataclass
class Server:
    """One port. Counts what it did, for `/stats`."""

    kind: Kind
    running: int = 0
    waiting: deque[Connection] = field(default_factory=deque)
    answered: int = 0
    busy: int = 0
    worked_s: float = 0.0  # of all slots, until `counted_at`
    counted_at: float = 0.0
    rng: random.Random = field(default_factory=lambda: random.Random(1))
    prompts: PromptCache = field(init=False)

    def __post_init__(self) -> None:
        self.prompts = PromptCache(self.kind.slots)

    def serve(self, connection: Connection) -> None:
        if not self.kind.service_s:
            self.answered += 1
            connection.reply()
        elif self.running < self.kind.slots:
            self._begin(connection)
        elif len(self.waiting) < self.kind.pending:
            self.waiting.append(connection)
        else:
            self.busy += 1
            connection.send(503, b'{"error":"server busy, please try again.  maximum pending requests exceeded"}')

    def _begin(self, connection: Connection) -> None:
        self._count(1)
        place, unread = self.prompts.begin(connection.prompt)
        service_s = self.kind.service_s * self.rng.uniform(0.75, 1.25) + self.kind.read_s * unread
        asyncio.get_running_loop().call_later(service_s, self._end, connection, place)

    def _end(self, connection: Connection, place: Place) -> None:
        self._count(-1)
        self.answered += 1
        self.prompts.end(place, connection.prompt + TOKEN * connection.tokens)
        connection.reply()
        while self.waiting and self.running < self.kind.slots:
            following = self.waiting.popleft()
            if not following.transport.is_closing():
                self._begin(following)

    def _count(self, change: int) -> None:
        now = asyncio.get_running_loop().time()
        self.worked_s += self.running * (now - self.counted_at)
        self.counted_at = now
        self.running += change

    def information(self, path: str) -> dict[str, object]:
        if path == "/api/tags":
            return {"models": [{"name": name, "digest": "0" * 64, "size": 1} for name in MODELS]}
        if path == "/api/ps":
            return {"models": [{"name": name, "digest": "0" * 64, "size": 1, "size_vram": 1, "context_length": 4096} for name in MODELS]}
        self._count(0)
        counted = {"answered": self.answered, "busy": self.busy, "worked_s": self.worked_s}
        return {"version": "0.33.0", **counted, "read": self.prompts.read, "reused": self.prompts.reused}


class Connection(asyncio.Protocol):
    """One client, one request at a time."""

    transport: asyncio.Transport

    def __init__(self, server: Server) -> None:
        self._server = server
        self._received = b""
        self._model = "t1"
        self._streams = True
        self.prompt = ""

    @property
    def tokens(self) -> int:
        """Of its answer."""
        return int(self._model[1:])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        low = head.lower()
        at = low.find(b"content-length:")
        length = int(low[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(body) < length:
            return
        self._received = body[length:]
        path = head.split(b" ", 2)[1].decode()
        if length:
            asked = json.loads(body[:length])
            self._model, self._streams = asked["model"], asked.get("stream", True)
            self.prompt = "".join([message["content"] for message in asked["messages"]])
            self._server.serve(self)
        else:
            self.send(200, json.dumps(self._server.information(path)).encode())

    def reply(self) -> None:
        if self.transport.is_closing():
            return
        if self._streams:
            for piece in streamed(self._model, self.tokens):
                if self.transport.is_closing():  # a client that has just gone shows only when the piece before cannot be written
                    return
                self.transport.write(piece)
        else:
            self.send(200, whole(self._model, self.tokens))

    def send(self, status: int, body: bytes) -> None:
        if not self.transport.is_closing():
            head = f"HTTP/1.1 {status} Status\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {len(body)}\r\n\r\n"
            self.transport.write(head.encode() + body)


def line(model: str, text: str, **rest: object) -> bytes:
    created = "2026-01-05T10:00:00.000000001Z"
    entry = {"model": model, "created_at": created, "message": {"role": "assistant", "content": text}, "done": bool(rest), **rest}
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"


def last(tokens: int) -> dict[str, object]:
    durations = {"total_duration": 5_000_000, "load_duration": 1_000_000, "prompt_eval_duration": 1_000_000, "eval_duration": 2_000_000}
    return {"done_reason": "stop", "prompt_eval_count": 7, "eval_count": tokens, **durations}


@lru_cache
def whole(model: str, tokens: int) -> bytes:
    return line(model, TOKEN * tokens, **last(tokens))


@lru_cache
def streamed(model: str, tokens: int) -> tuple[bytes, ...]:
    """Ollama writes one chunk per line; each is given to the kernel by itself, the last with the end of the body."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
    lines = [*([line(model, TOKEN)] * tokens), line(model, "", **last(tokens))]
    chunks = [f"{len(each):x}\r\n".encode() + each + b"\r\n" for each in lines]
    return head + chunks[0], *chunks[1:-1], chunks[-1] + b"0\r\n\r\n"


async def serve(kinds: Sequence[Kind]) -> None:
    loop = asyncio.get_running_loop()
    for kind in kinds:
        server = Server(kind)
        listener = await loop.create_server(lambda server=server: Connection(server), "127.0.0.1", 0)  # type: ignore[misc]
        print(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.to_thread(sys.stdin.read)


@contextmanager
def fast_servers(*kinds: Kind) -> Iterator[list[str]]:
    """The URLs of servers of these kinds, all in one other process."""
    given = [f"{kind.service_s}:{kind.slots}:{kind.pending}:{kind.read_s}" for kind in kinds]
    command = [sys.executable, "-m", "bench.fast_server", *given]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield [process.stdout.readline().strip() for _ in kinds]
        finally:
            process.stdin.close()
            process.wait()


def kind_of(text: str) -> Kind:
    service_s, slots, pending, read_s = text.split(":")
    return Kind(float(service_s), int(slots), int(pending), float(read_s))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kinds", nargs="+", type=kind_of, metavar="SERVICE_S:SLOTS:PENDING:READ_S")
    asyncio.run(serve(parser.parse_args().kinds))
