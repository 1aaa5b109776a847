"""What a call through the pool costs, with admission, pick, lease, verification and receipt, against clients that do none of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import httpx

from bench.fast_server import TOKEN, Kind, fast_servers
from bench.paired import Work, compare
from bench.promises import Promise
from gleitzeit_nb.llm.pool import OllamaPoolManager

ANSWER = "t8"  # eight tokens
LONG = "t64"
PROMPT = "one two three four five six seven eight"
IN_FLIGHT = 32
CALLS = 10  # per worker, in one measurement of the rate
BARE = "bare httpx.AsyncClient"


def body_for(model: str, stream: bool) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": PROMPT}], "stream": stream}


async def call_promises() -> AsyncIterator[Promise]:
    with fast_servers(Kind()) as (url,):
        instance = {"id": "one", "url": url, "max_concurrent": IN_FLIGHT}
        async with httpx.AsyncClient() as client, aiohttp.ClientSession() as session, OllamaPoolManager([instance]) as pool:
            bench = Calls(pool, client, session, f"{url}/api/chat")
            for promise in (bench.one_call, bench.cpu, bench.stream, bench.rate_over_httpx, bench.rate_over_aiohttp):
                yield await promise()


class Calls:
    """One pool and two bare clients on one server.

    In the rows for one call, bare httpx asks for the answer whole, which is less work for it. The pool always has it streamed, and in
    the rows for rates the bare clients do that too: the same bytes for all, of which each line is decoded.
    """

    def __init__(self, pool: OllamaPoolManager, client: httpx.AsyncClient, session: aiohttp.ClientSession, url: str) -> None:
        self._pool = pool
        self._client = client
        self._session = session
        self._url = url

    async def one_call(self) -> Promise:
        return await compare("one call, p50", self._ours, self._httpx, against=BARE, limit=0.85, pairs=600, warm_up=100)

    async def cpu(self) -> Promise:
        ours, control = cpu_of(self._ours), cpu_of(self._httpx)
        return await compare("one call, CPU of the client", ours, control, against=f"{BARE}, 20 calls each", limit=0.75, pairs=40)

    async def stream(self) -> Promise:
        return await compare(
            "64-token stream", self._our_stream, self._httpx_stream, against=f"{BARE}, aiter_lines", limit=0.70, pairs=200, warm_up=20
        )

    async def rate_over_httpx(self) -> Promise:
        return await self._rate(self._httpx_lines, BARE, 3.0)

    async def rate_over_aiohttp(self) -> Promise:
        return await self._rate(self._aiohttp_lines, "bare aiohttp", 0.25)

    async def _rate(self, control: Callable[[], Awaitable[None]], against: str, limit: float) -> Promise:
        name = f"calls/s, {IN_FLIGHT} in flight, over {against.rpartition(' ')[2]}"
        return await compare(
            name, crowd(self._ours), crowd(control), against=f"{against}, {IN_FLIGHT * CALLS} calls each", limit=limit, pairs=9, rate=True
        )

    async def _ours(self) -> None:
        reply = await self._pool.chat(ANSWER, PROMPT)
        assert reply.text == TOKEN * 8

    async def _httpx(self) -> None:
        answer = (await self._client.post(self._url, json=body_for(ANSWER, False))).json()
        assert answer["message"]["content"] == TOKEN * 8

    async def _httpx_lines(self) -> None:
        answer = await self._client.post(self._url, json=body_for(ANSWER, True))
        assert text_of(answer.content) == TOKEN * 8

    async def _aiohttp_lines(self) -> None:
        async with self._session.post(self._url, json=body_for(ANSWER, True)) as response:
            assert text_of(await response.read()) == TOKEN * 8

    async def _our_stream(self) -> None:
        pieces = [chunk.text async for chunk in self._pool.stream(LONG, PROMPT) if chunk.reply is None]
        assert len(pieces) == 64

    async def _httpx_stream(self) -> None:
        pieces: list[str] = []
        async with self._client.stream("POST", self._url, json=body_for(LONG, True)) as response:
            async for line in response.aiter_lines():
                entry: Mapping[str, Any] = json.loads(line)
                if not entry["done"]:
                    pieces.append(entry["message"]["content"])
        assert len(pieces) == 64


def text_of(body: bytes) -> str:
    return "".join(json.loads(line)["message"]["content"] for line in body.splitlines())


def cpu_of(work: Callable[[], Awaitable[None]], times: int = 20) -> Work:
    """The processor's time (s) that `times` calls take of this process."""

    async def measured() -> float:
        begin = time.process_time()
        for _ in range(times):
            await work()
        return time.process_time() - begin

    return measured


def crowd(work: Callable[[], Awaitable[None]]) -> Work:
    """Always `IN_FLIGHT` calls at once until all are done."""

    async def worker() -> None:
        for _ in range(CALLS):
            await work()

    async def all_of_them() -> None:
        await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))

    return all_of_them
