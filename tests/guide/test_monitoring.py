"""The guide's monitoring: the status, a console view, Prometheus gauges. Rewrites: constants (see `rewrites`).

The console view loops for ever with pauses of five seconds: it is cancelled after its first round.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from gleitzeit_nb import OllamaPoolManager
from tests.guide.rewrites import rewritten
from tests.support.examples import run
from tests.support.fake_ollama import FakeOllama

STATUS_OF_THREE = """
{
    "total_instances": 3,
    "healthy_instances": 2,
    "degraded_instances": 1,
    "unhealthy_instances": 0,
    "instances": {
        "gpu-1": {
            "url": "http://gpu1:11434",
            "state": "healthy",
            "active_requests": 2,
            "total_requests": 150,
            "avg_response_time": 1.234,
            "error_rate": 2.5,
            "availability": 97.5,
            "models_loaded": ["llama3.2:70b", "mixtral"],
            "circuit_breaker_open": false
        },
    }
}
"""

CONSOLE = """
async def monitor_pool(pool_manager):
    while True:
        status = await pool_manager.get_pool_status()

        print("\\n=== The pool ===")
        print(f"All: {status['total_instances']}")
        print(f"Well: {status['healthy_instances']}")

        for instance_id, info in status['instances'].items():
            print(f"\\n{instance_id}:")
            print(f"  {info['state']}, {info['active_requests']} at once")
            print(f"  {info['avg_response_time']:.2f}s on average, {info['error_rate']:.1f}% failed")

        await asyncio.sleep(5)
"""

PROMETHEUS = """
from prometheus_client import Gauge, Counter

instance_health = Gauge('ollama_instance_health', 'One while it is well', ['instance_id'])
active_requests = Gauge('ollama_active_requests', 'Requests at once', ['instance_id'])
total_requests = Counter('ollama_total_requests', 'Requests so far', ['instance_id'])
response_time = Gauge('ollama_response_time', 'Seconds, on average', ['instance_id'])

async def export_metrics(pool_manager):
    status = await pool_manager.get_pool_status()

    for instance_id, info in status['instances'].items():
        instance_health.labels(instance_id).set(1 if info['state'] == 'healthy' else 0)
        active_requests.labels(instance_id).set(info['active_requests'])
        total_requests.labels(instance_id).inc(info['total_requests'])
        response_time.labels(instance_id).set(info['avg_response_time'])
"""


@contextlib.asynccontextmanager
async def pool_manager() -> AsyncIterator[OllamaPoolManager]:
    """One instance that has answered and answers, one that does not answer."""
    async with FakeOllama("up", token_s=0.02, load_s=0.05) as up, FakeOllama("down") as down:
        await down.die()
        async with OllamaPoolManager([{"id": each.id, "url": each.url, "max_concurrent": 2} for each in (up, down)]) as pool:
            await pool.chat("llama3.2", "x")
            stream = pool.stream("llama3.2", "word " * 500)
            await anext(stream)
            yield pool
            await stream.aclose()


async def test_the_status_has_every_key_of_the_guide_with_its_type() -> None:
    guide = (await run("status = " + rewritten(STATUS_OF_THREE).strip()))["status"]
    theirs = guide["instances"]["gpu-1"]
    async with pool_manager() as pool:
        status = await pool.get_pool_status()
    assert {key: type(value) for key, value in status.items() if key in guide} == {key: type(value) for key, value in guide.items()}
    ours = status["instances"]["up"]
    assert {key: type(value) for key, value in ours.items() if key in theirs} == {key: type(value) for key, value in theirs.items()}
    assert (status["total_instances"], status["healthy_instances"], status["unhealthy_instances"]) == (2, 1, 1)
    assert (ours["active_requests"], ours["total_requests"], ours["models_loaded"]) == (1, 1, ["llama3.2"])
    assert 0 < ours["avg_response_time"] < 5
    assert 0.05 <= ours["model_load_times"]["llama3.2"] < 5
    assert (ours["error_rate"], ours["availability"]) == (0.0, 100.0)


async def test_the_console_view_prints_a_round(capsys: pytest.CaptureFixture[str]) -> None:
    async with pool_manager() as pool:
        names = await run(CONSOLE, {"__name__": "guide", "asyncio": asyncio})
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(names["monitor_pool"](pool), 0.3)
    printed = capsys.readouterr().out
    assert "All: 2\nWell: 1" in printed
    assert "up:\n  healthy, 1 at once" in printed
    assert "down:\n  unhealthy, 0 at once\n  0.00s on average" in printed


async def test_prometheus_is_told_what_the_status_says() -> None:
    client = pytest.importorskip("prometheus_client")
    names = await run(PROMETHEUS, {"__name__": "guide"})
    try:
        async with pool_manager() as pool:
            await names["export_metrics"](pool)
        text = client.generate_latest().decode()
    finally:
        for gauge in ("instance_health", "active_requests", "total_requests", "response_time"):
            client.REGISTRY.unregister(names[gauge])
    assert 'ollama_instance_health{instance_id="up"} 1.0' in text
    assert 'ollama_instance_health{instance_id="down"} 0.0' in text
    assert 'ollama_active_requests{instance_id="up"} 1.0' in text
    assert 'ollama_total_requests_total{instance_id="up"} 1.0' in text
    assert 'ollama_response_time{instance_id="down"} 0.0' in text
