"""What keeping models loaded is worth: the same work with the pool and by hand, on the embedded model and on a server that queues."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from statistics import median
from typing import Any

from bench.promises import Promise, at_most
from gleitzeit_nb.config import instance_settings
from gleitzeit_nb.core.settings import PoolSettings
from gleitzeit_nb.embedded import DEFAULT_MODEL, EmbeddedInstance, is_ready
from gleitzeit_nb.llm.ollama import OllamaTransport
from gleitzeit_nb.llm.pool import OllamaPoolManager
from tests.support.fake_ollama import FakeOllama

CELLS = 12
CONTEXTS = (2048, 4096, 1024)  # as three notebooks may ask
SHORT: dict[str, Any] = {"num_predict": 4, "seed": 1, "temperature": 0}
MESSAGES = [{"role": "user", "content": "Name a color."}]


async def load_promises() -> AsyncIterator[Promise]:
    if is_ready():
        async for promise in _contexts():
            yield promise
    yield await _adaptive()


async def _contexts() -> AsyncIterator[Promise]:
    """Cells that differ only in num_ctx. By hand each change loads the model anew; the pool keeps the largest that came first."""
    options = [{**SHORT, "num_ctx": CONTEXTS[number % len(CONTEXTS)]} for number in range(CELLS)]
    with await asyncio.to_thread(EmbeddedInstance.launch, "bench") as server:
        settings = instance_settings(server.instance)
        by_hand_s, hand_loads = await _by_hand(OllamaTransport(settings), options)
        async with OllamaPoolManager(settings=PoolSettings(instances=(settings,))) as pool:
            await pool.unload(DEFAULT_MODEL)
            await asyncio.sleep(1)
            (warmed,) = await pool.warm(DEFAULT_MODEL)
            began, loads = time.perf_counter(), 0
            for each in options:
                reply = await pool.chat(DEFAULT_MODEL, MESSAGES, options=each)
                loads += (reply.usage.load_s or 0.0) > 0.1
            pooled_s = time.perf_counter() - began
    seen = f"{hand_loads} loads by hand; one load {warmed.elapsed_s:.2f} s"
    yield at_most(f"{CELLS} cells of three contexts: loads", loads, 0, seen)
    yield Promise("their time / by hand", pooled_s / by_hand_s, 0.8, f"{pooled_s:.2f} s and {by_hand_s:.2f} s")


async def _by_hand(transport: OllamaTransport, options: list[dict[str, Any]]) -> tuple[float, int]:
    began, loads = time.perf_counter(), 0
    for each in options:
        body = {"model": DEFAULT_MODEL, "messages": MESSAGES, "stream": False, "options": each}
        answer = await transport.post("/api/chat", body, timeout_s=300)
        loads += answer.get("load_duration", 0) > 1e8
    await transport.aclose()
    return time.perf_counter() - began, loads


async def _adaptive() -> Promise:
    """A server with two slots that was configured with sixteen: how long requests wait where nobody can reorder or cancel them."""
    fixed, adaptive = [await _waits(adaptive=adaptive) for adaptive in (False, True)]
    seen = f"median {adaptive[0]:.3f} s and {fixed[0]:.3f} s inside the server; time of all {adaptive[1] / fixed[1]:.2f}×"
    return Promise("wait at 2 slots, adaptive / fixed 16", adaptive[0] / fixed[0], 0.5, seen)


async def _waits(*, adaptive: bool) -> tuple[float, float]:
    """(median seconds inside the server's own queue, seconds for all), of the second half: after it has settled."""
    async with FakeOllama(token_s=0.01) as server:
        server.slots = asyncio.Semaphore(2)
        settings = PoolSettings(instances=(server.settings(max_concurrent=16, adaptive=adaptive),))
        async with OllamaPoolManager(settings=settings) as pool:
            await pool.chat("llama3.2", "hi")
            began = time.perf_counter()
            replies = await asyncio.gather(*(pool.chat("llama3.2", "one two three four five six") for _ in range(160)))
            whole_s = time.perf_counter() - began
    return median(reply.usage.waited_s or 0.0 for reply in replies[80:]), whole_s
