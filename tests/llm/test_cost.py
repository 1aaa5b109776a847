"""What a call must not cost."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter

from tests.llm.conftest import pool_of
from tests.support.fake_ollama import FakeOllama


async def test_a_request_leaves_nothing_of_the_pools_to_the_garbage_collector() -> None:
    """What refers to itself is found only by a collection, which looks at everything that a notebook holds."""
    async with FakeOllama() as server, pool_of(server) as pool:

        async def ask() -> None:
            await asyncio.gather(*(pool.chat("llama3.2", "hi") for _ in range(6)))  # two of them wait
            async for _ in pool.stream("llama3.2", "hi"):
                pass

        await ask()
        gc.collect()
        gc.disable()
        try:
            await ask()
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            left = Counter(type(each).__name__ for each in gc.garbage if type(each).__module__.startswith("gleitzeit_nb"))
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert not left
