"""Instances come, go and rest while requests run; and what the pool says of them."""

from __future__ import annotations

import asyncio

import pytest

from gleitzeit_nb.core.settings import PoolSettings
from gleitzeit_nb.errors import ConfigError, NoInstanceError
from gleitzeit_nb.events import InstanceChanged
from gleitzeit_nb.llm.pool import OllamaPoolManager
from tests.llm.conftest import pool_of
from tests.support.fake_ollama import FakeOllama
from tests.support.waiting import until


async def test_an_added_instance_serves_who_waits() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a, max_concurrent=1) as pool:
        a.gate.clear()
        first = asyncio.ensure_future(pool.chat("llama3.2", "first"))
        await until(lambda: a.in_flight == 1)
        second = asyncio.ensure_future(pool.chat("llama3.2", "second"))
        await until(lambda: pool.queue_depth == 1)
        await pool.add_instance(b.settings())
        assert (await second).instance == "b"
        a.gate.set()
        await first


async def test_an_instance_can_be_added_by_a_dictionary() -> None:
    async with FakeOllama("a") as a, OllamaPoolManager(settings=PoolSettings()) as pool:
        await pool.add_instance({"id": "late", "url": a.url, "max_concurrent": 2, "tags": ["x"]})
        assert (await pool.chat("llama3.2", "hi", tags=["x"])).instance == "late"
        with pytest.raises(ConfigError, match="'late' already"):
            await pool.add_instance({"id": "late", "url": a.url})


async def test_two_instances_of_one_name_are_refused_and_leave_nothing_open() -> None:
    async with FakeOllama("a") as a:
        pool = OllamaPoolManager(settings=PoolSettings(instances=(a.settings(), a.settings())))
        with pytest.raises(ConfigError, match="'a' already"):
            await pool.initialize()
        assert repr(pool) == "<OllamaPoolManager closed>"


async def test_a_removed_instance_finishes_and_then_is_let_go() -> None:
    async with FakeOllama("a", token_s=0.01) as a, FakeOllama("b") as b, pool_of(a, b) as pool:
        a.gate.clear()
        running = asyncio.ensure_future(pool.chat("llama3.2", "one two three", instance="a"))
        await until(lambda: a.in_flight == 1)
        transport = pool._parts.members.named("a").transport  # type: ignore[union-attr]
        await pool.remove_instance("a")
        assert [view.id for view in pool.instance_views()] == ["b"]
        assert pool.in_flight == 1
        a.gate.set()
        assert (await running).instance == "a"
        await until(lambda: "closed" in repr(transport))
        with pytest.raises(NoInstanceError, match="no instance 'a'"):
            await pool.remove_instance("a")


async def test_a_removed_instance_that_is_idle_is_let_go_at_once() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a, b) as pool:
        transport = pool._parts.members.named("a").transport  # type: ignore[union-attr]
        await pool.remove_instance("a")
        await until(lambda: "closed" in repr(transport))


async def test_removing_the_last_hope_ends_the_wait() -> None:
    async with FakeOllama("a") as a, pool_of(a, max_concurrent=1) as pool:
        a.gate.clear()
        running = asyncio.ensure_future(pool.chat("llama3.2", "hi"))
        await until(lambda: a.in_flight == 1)
        waiting = asyncio.ensure_future(pool.chat("llama3.2", "hi"))
        await until(lambda: pool.queue_depth == 1)
        await pool.remove_instance("a")
        with pytest.raises(NoInstanceError):
            await waiting
        a.gate.set()
        await running


async def test_a_draining_instance_gets_nothing_until_it_is_resumed() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a, b) as pool:
        await pool.drain("a")
        assert {(await pool.chat("llama3.2", "hi")).instance for _ in range(5)} == {"b"}
        with pytest.raises(NoInstanceError, match="draining"):
            await pool.chat("llama3.2", "hi", instance="a")
        assert pool.instance_views()[0].draining
        await pool.resume("a")
        assert (await pool.chat("llama3.2", "hi", instance="a")).instance == "a"
        with pytest.raises(NoInstanceError, match="did you mean"):
            await pool.drain("aa")
        changes = [event.change for event in pool.events.log if isinstance(event, InstanceChanged) and event.instance == "a"]
        assert changes == ["added", "healthy", "draining", "resumed"]


async def test_models_and_loaded_models_are_listed_over_all_instances() -> None:
    async with FakeOllama("a", models=["x:1b"], on_gpu=True) as a, FakeOllama("b", models=["y:2b"]) as b, FakeOllama("c") as c:
        async with pool_of(a, b, c) as pool:
            await pool.chat("x:1b", "hi")
            await c.die()
            models, loaded = await pool.models(), await pool.ps()
    assert [(row.instance, row.name, row.warm, row.parameters) for row in models.rows] == [
        ("a", "x:1b", True, "3.2B"),
        ("b", "y:2b", False, "3.2B"),
    ]
    assert [name for name, _ in models.unreachable] == ["c"]
    assert [(row.instance, row.name, row.gpu_share, row.context_length) for row in loaded.rows] == [("a", "x:1b", 1.0, 4096)]


async def test_the_status_has_the_guides_keys() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b:
        await b.die()
        async with pool_of(a, b) as pool:
            await pool.chat("llama3.2", "hi")
            status = await pool.get_pool_status()
    assert (status["total_instances"], status["healthy_instances"], status["degraded_instances"], status["unhealthy_instances"]) == (
        2,
        1,
        0,
        1,
    )
    info = status["instances"]["a"]
    assert (info["url"], info["state"], info["active_requests"], info["total_requests"]) == (a.url, "healthy", 0, 1)
    assert (info["error_rate"], info["availability"], info["circuit_breaker_open"]) == (0.0, 100.0, False)
    assert info["avg_response_time"] > 0
    assert info["models_loaded"] == ["llama3.2"]
    assert status["instances"]["b"]["avg_response_time"] == 0.0
    assert (status["queue_depth"], status["in_flight"]) == (0, 0)


# -- advice -----------------------------------------------------------------------------------------------------------------------


async def test_advice_holds_no_slot_and_busy_ones_will_do() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a, b, max_concurrent=1) as pool:
        assert await pool.get_instance(model="llama3.2") in (a.url, b.url)
        assert pool.in_flight == 0
        a.gate.clear()
        running = asyncio.ensure_future(pool.chat("llama3.2", "hi", instance="a"))
        await until(lambda: a.in_flight == 1)
        assert await pool.get_instance(model="llama3.2") == b.url
        await pool.drain("b")
        assert await pool.get_instance(model="llama3.2") == a.url
        assert await pool.get_instance() == a.url
        with pytest.raises(NoInstanceError, match="no tag gpu"):
            await pool.get_instance(model="llama3.2", tags=["gpu"])
        a.gate.set()
        await running


async def test_advice_by_turns() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a, b) as pool:
        urls = [await pool.get_instance(model="llama3.2", strategy="round_robin") for _ in range(4)]
    assert set(urls[:2]) == {a.url, b.url}
    assert urls[:2] == urls[2:]


async def test_an_unhealthy_instance_is_advised_only_when_that_is_allowed() -> None:
    async with FakeOllama("a") as a:
        await a.die()
        async with pool_of(a) as pool:
            with pytest.raises(NoInstanceError, match="unhealthy: refused"):
                await pool.get_instance()
            assert await pool.get_instance(require_healthy=False) == a.url


async def test_what_callers_record_feeds_statistics_and_breaker() -> None:
    async with FakeOllama("a") as a, pool_of(a) as pool:
        url = await pool.get_instance(model="llama3.2")
        await pool.record_success(url + "/", response_time=1.5)
        assert pool.instance_views()[0].latency_s == 1.5
        await pool.record_failure(url, ValueError("no idea"))
        assert (pool.instance_views()[0].total_requests, pool.instance_views()[0].breaker) == (2, "closed")
        await pool.record_failure(url, ConnectionRefusedError(111, "refused"))
        (view,) = pool.instance_views()
        assert (view.breaker, view.state, view.failed_requests) == ("open", "unhealthy", 2)
        with pytest.raises(NoInstanceError):
            await pool.record_success("http://elsewhere:1")


async def test_a_success_that_nobody_timed_counts_without_a_time() -> None:
    async with FakeOllama("a") as a, pool_of(a) as pool:
        await pool.record_success(a.url, response_time=3.0)
        await pool.record_success(a.url)
        status = (await pool.get_pool_status())["instances"]["a"]
        assert (status["total_requests"], status["avg_response_time"]) == (2, 3.0)
