"""Leaving early: the slot is free at once, the connection closed, and nobody is to blame."""

from __future__ import annotations

import asyncio

import pytest

from gleitzeit_nb.llm.pool import OllamaPoolManager
from tests.llm.conftest import pool_of
from tests.support.fake_ollama import FakeOllama
from tests.support.waiting import until


async def cancelled(task: asyncio.Future[object]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def is_unblamed(pool: OllamaPoolManager) -> bool:
    (view,) = pool.instance_views()
    return (view.total_requests, view.failed_requests, view.breaker, view.state) == (0, 0, "closed", "healthy")


@pytest.mark.parametrize("token_s", [3600.0, 0.005], ids=["before the first token", "between tokens"])
async def test_a_cancel_frees_the_slot_and_closes_the_connection(token_s: float) -> None:
    async with FakeOllama(token_s=token_s, tokens=lambda body: ["x "] * 100_000) as server, pool_of(server, max_concurrent=1) as pool:
        task = asyncio.ensure_future(pool.chat("llama3.2", "hi"))
        await until(lambda: server.in_flight == 1)
        await cancelled(task)
        assert pool.in_flight == 0
        await until(lambda: server.abandoned == 1)
        assert is_unblamed(pool)


async def test_closing_the_stream_is_a_cancel() -> None:
    async with FakeOllama(token_s=0.005, tokens=lambda body: ["x "] * 100_000) as server, pool_of(server, max_concurrent=1) as pool:
        stream = pool.stream("llama3.2", "hi")
        assert (await anext(stream)).text == "x "
        assert pool.in_flight == 1
        await stream.aclose()
        assert pool.in_flight == 0
        await until(lambda: server.abandoned == 1)
        assert is_unblamed(pool)


async def test_a_stream_that_is_read_and_closed_by_different_tasks_ends_well() -> None:
    async with FakeOllama(token_s=0.005, tokens=lambda body: ["x "] * 100_000) as server, pool_of(server, max_concurrent=1) as pool:
        stream = pool.stream("llama3.2", "hi", deadline=60)
        for _ in range(3):
            assert (await asyncio.ensure_future(anext(stream))).text == "x "
        await asyncio.ensure_future(stream.aclose())
        assert pool.in_flight == 0


async def test_a_stream_that_is_dropped_gives_its_slot_back() -> None:
    async with FakeOllama(token_s=0.005, tokens=lambda body: ["x "] * 100_000) as server, pool_of(server, max_concurrent=1) as pool:
        async for chunk in pool.stream("llama3.2", "hi"):
            assert chunk.text
            break
        await until(lambda: pool.in_flight == 0)


async def test_a_cancel_in_the_queue_leaves_it() -> None:
    async with FakeOllama() as server, pool_of(server, max_concurrent=1) as pool:
        server.gate.clear()
        running = asyncio.ensure_future(pool.chat("llama3.2", "running"))
        await until(lambda: server.in_flight == 1)
        waiting = [asyncio.ensure_future(pool.chat("llama3.2", f"n{number}")) for number in range(3)]
        await until(lambda: pool.queue_depth == 3)
        await cancelled(waiting[1])
        assert pool.queue_depth == 2
        server.gate.set()
        await asyncio.gather(running, waiting[0], waiting[2])
    assert [request.body["messages"][0]["content"] for request in server.asked] == ["running", "n0", "n2"]


async def test_a_cancel_at_the_moment_of_the_grant_passes_the_slot_on() -> None:
    async with FakeOllama() as server, pool_of(server, max_concurrent=1) as pool:
        for number in range(20):
            server.gate.clear()
            running = asyncio.ensure_future(pool.chat("llama3.2", "running"))
            await until(lambda: server.in_flight == 1)
            first, second = (asyncio.ensure_future(pool.chat("llama3.2", name)) for name in ("first", "second"))
            await until(lambda: pool.queue_depth == 2)
            running.cancel()
            for _ in range(number % 5):
                await asyncio.sleep(0)
            first.cancel()
            server.gate.set()
            assert (await second).text == "second "
            await asyncio.gather(running, first, return_exceptions=True)
            assert (pool.in_flight, pool.queue_depth) == (0, 0)


async def test_many_cancels_lose_no_slot() -> None:
    async with FakeOllama("a", token_s=0.002) as a, FakeOllama("b", token_s=0.002) as b, pool_of(a, b, max_concurrent=2) as pool:
        tasks = [asyncio.ensure_future(pool.chat("llama3.2", "one two three")) for _ in range(40)]
        for number, task in enumerate(tasks):
            if number % 3 == 0:
                await asyncio.sleep(0.001)
                task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        kept = [result for result in results if not isinstance(result, asyncio.CancelledError)]
        assert len(kept) >= 26
        assert {result.text for result in kept} == {"one two three "}  # type: ignore[union-attr]
        assert (pool.in_flight, pool.queue_depth) == (0, 0)
