"""The guide's health: states, the breaker's way, failover. Rewrites: import path (see `rewrites`).

The enumeration stands in the guide as a definition; here it is imported and compared with it.
"""

from __future__ import annotations

import asyncio
from enum import Enum

from gleitzeit_nb import InstanceState, OllamaPoolManager
from gleitzeit_nb.events import BreakerMoved, Failover, InstanceChanged
from tests.support.examples import run
from tests.support.fake_ollama import FakeOllama
from tests.support.waiting import until

STATES = """
class InstanceState(Enum):
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"
"""


async def test_the_states_are_the_guides() -> None:
    theirs = (await run(STATES, {"__name__": "guide", "Enum": Enum}))["InstanceState"]
    assert {each.name: each.value for each in InstanceState} == {each.name: each.value for each in theirs}


async def test_a_request_moves_on_and_the_breaker_goes_from_closed_over_open_and_half_open_to_closed() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b:
        pool = OllamaPoolManager(
            [{"id": each.id, "url": each.url} for each in (a, b)],
            load_balancing={"strategy": "round_robin", "circuit_breaker": {"recovery_timeout": 1, "first_ejection": 0.05}},
        )
        async with pool:
            await a.die()
            replies = [await pool.chat("llama3.2", "x") for _ in range(3)]
            assert {reply.instance for reply in replies} == {"b"}
            status = await pool.get_pool_status()
            assert status["instances"]["a"]["circuit_breaker_open"] or status["instances"]["a"]["state"] == "unhealthy"
            (failover, *_) = status["failovers"]
            assert (failover["from"], failover["to"], failover["model"]) == ("a", "b", "llama3.2")
            await a.listen()

            for _ in range(500):
                if (await pool.chat("llama3.2", "x")).instance == "a":
                    break
                await asyncio.sleep(0.02)
            moves = [(event.before, event.after) for event in pool.events.log if isinstance(event, BreakerMoved)]
            assert moves[0] == ("closed", "open")
            assert ("open", "half_open") in moves
            assert moves[-1] == ("half_open", "closed")
            assert any((event.source, event.target) == ("a", "b") for event in pool.events.log if isinstance(event, Failover))
            await until(lambda: any(isinstance(event, InstanceChanged) and event.instance == "a" for event in pool.events.log))
