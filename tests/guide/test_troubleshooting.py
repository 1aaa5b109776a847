"""The guide's troubleshooting, its debug log, and its tuning. Rewrites: all four (see `rewrites`)."""

from __future__ import annotations

import asyncio
import logging
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from gleitzeit_nb import GleitzeitClient, OllamaPoolManager
from gleitzeit_nb.core.settings import PoolSettings
from tests.guide.rewrites import rewritten, with_hosts
from tests.support.examples import run
from tests.support.fake_ollama import FakeOllama

PROBES = """
curl http://localhost:11434/api/tags
curl http://localhost:11435/api/tags
"""

UNEVEN = """
status = await pool.get_pool_status()
for instance_id, info in status['instances'].items():
    print(f"{instance_id}: {info['active_requests']} at once, open: {info['circuit_breaker_open']}")

params["load_balancing_strategy"] = "round_robin"
"""

FAIL_FAST = """
pool = OllamaPoolManager(
    instances=[...],
    circuit_breaker_config={
        "failure_threshold": 3,
        "recovery_timeout": 30
    }
)
"""

DEBUG_LOG = """
import logging

logging.basicConfig(level=logging.DEBUG)
logging.getLogger("gleitzeit.orchestration").setLevel(logging.DEBUG)
"""

THROUGHPUT = """
config = {
    "instances": [...],
    "load_balancing": {
        "strategy": "least_loaded",
        "health_check_interval": 60,
    }
}
"""

LATENCY = """
config = {
    "instances": [...],
    "load_balancing": {
        "strategy": "latency_based",
        "health_check_interval": 10,
    }
}
"""

RELIABILITY = """
config = {
    "instances": [...],
    "load_balancing": {
        "strategy": "least_loaded",
        "failover": true,
        "retry_attempts": 5,
        "circuit_breaker": {
            "failure_threshold": 2,
            "recovery_timeout": 120
        }
    }
}
"""


def instances_of(*servers: FakeOllama) -> dict[str, str]:
    return {"[...]": repr([{"id": server.id, "url": server.url} for server in servers])}


async def test_each_server_can_be_looked_at_by_hand() -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("no curl on this machine")
    async with FakeOllama() as a, FakeOllama() as b:
        for line in with_hosts(PROBES, [a.url, b.url]).split("\n")[1:-1]:
            command = [curl, "-s", *line.split()[1:]]
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=30, check=True)
            assert '"llama3.2:latest"' in done.stdout


async def test_the_status_shows_who_is_left_alone_and_turns_are_taken_by_request(capsys: pytest.CaptureFixture[str]) -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b, OllamaPoolManager([{"id": s.id, "url": s.url} for s in (a, b)]) as pool:
        names = await run(UNEVEN, {"__name__": "guide", "pool": pool, "params": {}})
        replies = [await pool.chat("llama3.2", "x", **names["params"]) for _ in range(4)]
    assert capsys.readouterr().out == "a: 0 at once, open: False\nb: 0 at once, open: False\n"
    assert [reply.instance for reply in replies[:2]] == [reply.instance for reply in replies[2:]]
    assert {reply.instance for reply in replies} == {"a", "b"}


async def test_a_breaker_can_be_told_to_open_sooner() -> None:
    async with FakeOllama("a") as a:
        names = await run(rewritten(FAIL_FAST, placeholders=instances_of(a)), {"OllamaPoolManager": OllamaPoolManager})
        async with names["pool"] as pool:
            assert (pool.settings.breaker.failure_threshold, pool.settings.breaker.recovery_timeout_s) == (3, 30.0)
            for _ in range(3):
                await pool.record_failure(a.url, TimeoutError())
            assert (await pool.get_pool_status())["instances"]["a"]["circuit_breaker_open"]


@pytest.fixture
def logging_restored() -> Iterator[None]:
    ours = logging.getLogger("gleitzeit_nb")
    before = ours.level
    yield
    ours.setLevel(before)


async def test_the_debug_log_tells_of_picks_states_breakers_and_failovers(logging_restored: None, caplog: pytest.LogCaptureFixture) -> None:
    await run(rewritten(DEBUG_LOG))
    async with FakeOllama("a") as a, FakeOllama("b") as b:
        pool = OllamaPoolManager([{"id": s.id, "url": s.url} for s in (a, b)], {"strategy": "round_robin"})
        async with pool:
            await a.die()
            for _ in range(2):
                await pool.chat("llama3.2", "a secret prompt")
    said = caplog.text
    for event in ("goes to b", "instance a: healthy", "breaker of a: closed -> open", "moves from a to b"):
        assert event in said
    assert "secret prompt" not in said


async def settings_of(source: str) -> PoolSettings:
    async with FakeOllama("a") as a:
        config = (await run(rewritten(source, placeholders=instances_of(a))))["config"]
        async with GleitzeitClient(ollama_config=config) as client:
            assert (await client.chat("x")).instance == "a"
            return client.pool.settings


async def test_tuning_for_throughput() -> None:
    balancing = (await settings_of(THROUGHPUT)).balancing
    assert (balancing.strategy, balancing.health_check_interval_s) == ("least_loaded", 60.0)


async def test_tuning_for_latency() -> None:
    balancing = (await settings_of(LATENCY)).balancing
    assert (balancing.strategy, balancing.health_check_interval_s) == ("latency_based", 10.0)


async def test_tuning_for_reliability() -> None:
    settings = await settings_of(RELIABILITY)
    assert (settings.balancing.failover, settings.balancing.retry_attempts) == (True, 5)
    assert (settings.breaker.failure_threshold, settings.breaker.recovery_timeout_s) == (2, 120.0)
