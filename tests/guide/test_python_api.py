"""The guide's Python API: client, pool manager, a folder of files. Rewrites: import path, hosts, placeholders (see `rewrites`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.guide.rewrites import rewritten
from tests.support.examples import run
from tests.support.fake_ollama import FakeOllama

CLIENT = """
from gleitzeit import GleitzeitClient

async def main():
    async with GleitzeitClient(
        ollama_config={
            "instances": [
                {"id": "local", "url": "http://localhost:11434"},
                {"id": "remote", "url": "http://remote:11434"},
            ],
            "load_balancing": {"strategy": "least_loaded", "failover": True},
        }
    ) as client:
        response = await client.chat("Why is the sky blue?", model="llama3.2")
    return response

response = await main()
"""

POOL = """
from gleitzeit.orchestration.ollama_pool import OllamaPoolManager

pool = OllamaPoolManager(
    instances=[...],
    health_check_interval=30,
    circuit_breaker_config={"failure_threshold": 5, "recovery_timeout": 60},
)
await pool.initialize()
url = await pool.get_instance(
    model="llama3.2:70b",
    strategy="model_affinity",
    tags=["gpu"],
    require_healthy=True,
)
"""

OUTCOME_GOOD = "await pool.record_success(url, response_time=1.5)"
OUTCOME_BAD = "await pool.record_failure(url, exception)"

STATUS = """
status = await pool.get_pool_status()
line = f"Healthy instances: {status['healthy_instances']}/{status['total_instances']}"
"""

FOLDER = """
from gleitzeit import GleitzeitClient

async def batch_analysis():
    async with GleitzeitClient(ollama_config={...}) as client:
        results = await client.batch_process(
            directory="documents",
            pattern="*.txt",
            method="llm/chat",
            prompt="Say in one line what this is about",
            max_concurrent=10,
        )
    return results

results = await batch_analysis()
"""


async def test_the_client_answers_and_survives_the_death_of_one_server() -> None:
    async with FakeOllama() as local, FakeOllama() as remote:
        for alive in ({"local", "remote"}, {"remote"}):
            names = await run(rewritten(CLIENT, [local.url, remote.url]))
            assert names["response"].text == "Why is the sky blue? "
            assert names["response"].instance in alive
            await local.die()


async def opened(big: FakeOllama, small: FakeOllama) -> dict[str, Any]:
    instances = f"[{{'id': 'big', 'url': {big.url!r}, 'tags': ['gpu']}}, {{'id': 'small', 'url': {small.url!r}}}]"
    return await run(rewritten(POOL, placeholders={"[...]": instances}))


async def test_the_pool_advises_a_url_and_is_told_what_became_of_it() -> None:
    async with FakeOllama(models=["llama3.2:70b"]) as big, FakeOllama() as small:
        names = await opened(big, small)
        pool = names["pool"]
        assert names["url"] == big.url
        await run(OUTCOME_GOOD, names)
        await run(STATUS, names)
        assert names["line"] == "Healthy instances: 2/2"
        entry = names["status"]["instances"]["big"]
        assert (entry["total_requests"], entry["avg_response_time"], entry["error_rate"], entry["availability"]) == (1, 1.5, 0.0, 100.0)

        names["exception"] = ConnectionRefusedError("nobody listens there")
        await run(OUTCOME_BAD, names)
        await run(STATUS, names)
        entry = names["status"]["instances"]["big"]
        assert (entry["total_requests"], entry["error_rate"], entry["circuit_breaker_open"]) == (2, 50.0, True)
        await pool.close()


async def test_every_file_of_the_folder_is_asked_about_over_all_instances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "documents").mkdir()
    for number in range(8):
        (tmp_path / "documents" / f"{number}.txt").write_text(f"text {number}")
    async with FakeOllama(token_s=0.02) as a, FakeOllama(token_s=0.02) as b:
        for server in (a, b):  # where only one has the model loaded, waiting for it is sooner than loading it again
            server.loaded["llama3.2:latest"] = True
        config = f"{{'instances': [{{'id': 'a', 'url': {a.url!r}}}, {{'id': 'b', 'url': {b.url!r}}}]}}"
        names = await run(rewritten(FOLDER, placeholders={"{...}": config}))
        assert len(a.asked) + len(b.asked) == 8
        assert min(len(a.asked), len(b.asked)) >= 2
    texts = [result.reply.text for result in names["results"]]
    assert texts == [f"Say in one line what this is about text {number} " for number in range(8)]
