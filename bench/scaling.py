"""What more instances bring, and what a crowd does to servers that turn away whom they cannot queue."""

from __future__ import annotations

import asyncio
import itertools
import statistics
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx

from bench.calls import PROMPT, body_for
from bench.fast_server import Kind, fast_servers
from bench.promises import Promise, at_most
from gleitzeit_nb.errors import GleitzeitError
from gleitzeit_nb.llm.pool import OllamaPoolManager

MODEL = "t8"
STEADY = Kind(service_s=0.2, slots=4)
WINDOW_S = 2.0
PAIRS = 5
SMALL = Kind(service_s=0.02, slots=2, pending=2)
CROWD = 200


async def scaling_promises() -> AsyncIterator[Promise]:
    with fast_servers(STEADY, STEADY, STEADY) as urls:
        async for promise in steady_promises(urls):
            yield promise
    with fast_servers(SMALL, SMALL, SMALL) as urls:
        async for promise in crowd_promises(urls):
            yield promise


def instances(urls: Sequence[str], kind: Kind) -> list[dict[str, Any]]:
    return [{"id": f"s{number}", "url": url, "max_concurrent": kind.slots} for number, url in enumerate(urls)]


async def ask_at_once(pool: OllamaPoolManager, calls: int) -> list[object]:
    return list(await asyncio.gather(*(pool.chat(MODEL, PROMPT) for _ in range(calls)), return_exceptions=True))


async def steady_promises(urls: Sequence[str]) -> AsyncIterator[Promise]:
    """In turn: one instance alone, and all three. Work is what slots were busy with, so that longer answers count for more."""
    alone: list[float] = []
    together: list[float] = []
    async with OllamaPoolManager(instances(urls[:1], STEADY)) as one, OllamaPoolManager(instances(urls, STEADY)) as three:
        for _ in range(PAIRS):
            alone.append(await work_per_s(one, urls[:1]))
            together.append(await work_per_s(three, urls))
    mine, others = statistics.median(together), statistics.median(alone)
    answers = f"answers of {STEADY.service_s:g} s, {STEADY.slots} slots each, medians of {PAIRS} times {WINDOW_S:g} s"
    yield Promise("calls/s, 1 → 3 instances", mine / others, 2.95, f"one instance; {answers}", at_least=True)
    shares = ", ".join(f"{each / (3 * STEADY.slots):.3f}" for each in together)
    yield Promise("share of slots × rate, 3 instances", mine / (3 * STEADY.slots), 0.97, f"{shares}; {answers}", at_least=True)


async def work_per_s(pool: OllamaPoolManager, urls: Sequence[str]) -> float:
    """Seconds of work per second, while there is always somebody who waits."""
    asking = [asyncio.ensure_future(ask_for_ever(pool)) for _ in range(2 * STEADY.slots * len(urls))]
    loop = asyncio.get_running_loop()
    try:
        async with httpx.AsyncClient() as client:
            await asyncio.sleep(2 * STEADY.service_s)
            before, begin = await total(client, urls, "worked_s"), loop.time()
            await asyncio.sleep(WINDOW_S)
            return (await total(client, urls, "worked_s") - before) / (loop.time() - begin)
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


async def ask_for_ever(pool: OllamaPoolManager) -> None:
    while True:
        await pool.chat(MODEL, PROMPT)


async def crowd_promises(urls: Sequence[str]) -> AsyncIterator[Promise]:
    async with httpx.AsyncClient(timeout=30) as client:
        bare = await turned_away_bare(client, urls)
        before = await total(client, urls, "busy")
        async with OllamaPoolManager(instances(urls, SMALL)) as pool:
            results = await ask_at_once(pool, CROWD)
        lost = sum(isinstance(result, GleitzeitError) for result in results)
        busy = await total(client, urls, "busy") - before
    where = f"of {CROWD} calls at once on 3 servers with {SMALL.slots} slots and a queue of {SMALL.pending}"
    yield at_most("a crowd: calls lost", lost, 0, where)
    yield at_most("a crowd: answered 503 by a server", busy, 0, f"{where}; {bare} with bare httpx, in turn")


async def total(client: httpx.AsyncClient, urls: Sequence[str], what: str) -> float:
    return sum([float((await client.get(f"{url}/stats")).json()[what]) for url in urls])


async def turned_away_bare(client: httpx.AsyncClient, urls: Sequence[str]) -> int:
    posts = [
        client.post(f"{url}/api/chat", json=body_for(MODEL, False)) for url, _ in zip(itertools.cycle(urls), range(CROWD), strict=False)
    ]
    return sum(answer.status_code == 503 for answer in await asyncio.gather(*posts))
