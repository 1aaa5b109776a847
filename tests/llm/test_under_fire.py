"""Everything at once, for a few seconds: whatever goes wrong, every request ends in a known way and nothing is left behind."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter

from gleitzeit_nb.core.breaker import BreakerSettings
from gleitzeit_nb.core.requests import Reply
from gleitzeit_nb.errors import PoolError, StreamInterruptedError
from tests.llm.conftest import HASTY, pool_of
from tests.support.fake_ollama import BROKEN, BUSY, FakeOllama, Fault, Kind
from tests.support.waiting import until

FAULTS = [
    *([None] * 12),
    BUSY,
    BROKEN,
    Fault(Kind.DISCONNECT),
    Fault(Kind.HTML),
    Fault(Kind.EMPTY),
    Fault(Kind.CUT),
    Fault(Kind.CUT, after=1),
    Fault(Kind.STALL, after=1),
    Fault(Kind.HANG_BEFORE_HEADERS),
    Fault(Kind.ERROR_LINE, after=2),
    Fault(Kind.END_EARLY, after=1),
    Fault(Kind.BROKEN_LINE, after=1),
]


async def test_a_storm_of_faults_cancels_and_deaths_leaves_nothing_behind() -> None:
    rng = random.Random(42)
    servers = [FakeOllama(name, token_s=0.001) for name in "abc"]
    for server in servers:
        await server.listen()
    tasks_before = len(asyncio.all_tasks())
    breaker = BreakerSettings(first_ejection_s=0.05, recovery_timeout_s=0.2)
    async with pool_of(*servers, max_concurrent=3, timeouts=HASTY, breaker=breaker) as pool:
        tasks = []
        for number in range(150):
            for server in servers:
                server.fault = rng.choice(FAULTS)
            if number % 40 == 20:
                victim = rng.choice(servers)
                await victim.die()
                await asyncio.sleep(0.02)
                await victim.listen()
            tasks.append(asyncio.ensure_future(pool.chat("llama3.2", f"n{number} two three", deadline=20)))
            if rng.random() < 0.2:
                rng.choice(tasks).cancel()
            await asyncio.sleep(rng.random() * 0.01)
        for server in servers:
            server.fault = None
        results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
        kinds = Counter(type(result) for result in results)
        assert kinds[Reply] > 60
        for number, result in enumerate(results):
            if isinstance(result, Reply):
                assert result.text == f"n{number} two three "
            elif isinstance(result, StreamInterruptedError):
                assert f"n{number} two three ".startswith(result.partial)
            else:
                assert isinstance(result, PoolError | asyncio.CancelledError), result
        assert (pool.in_flight, pool.queue_depth, pool.run_views()) == (0, 0, ())
        give_up = time.monotonic() + 30
        while any(view.breaker != "closed" for view in pool.instance_views()):  # only a request that goes there finds out
            assert time.monotonic() < give_up, "no breaker closed although every server answers"
            replies = await asyncio.gather(*(pool.chat("llama3.2", "after the storm") for _ in range(9)))  # as many as there are slots
            assert {reply.text for reply in replies} == {"after the storm "}
    for server in servers:
        await server.die()
    await until(lambda: len(asyncio.all_tasks()) <= tasks_before)
