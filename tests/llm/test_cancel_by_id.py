"""Cancelling a request by its id, from outside: whoever waits for it hears so at once, and nobody is to blame."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gleitzeit_nb.core.settings import PoolSettings
from gleitzeit_nb.errors import RequestCancelledError
from gleitzeit_nb.llm.pool import OllamaPoolManager
from tests.llm.conftest import pool_of
from tests.support.fake_ollama import FakeOllama
from tests.support.waiting import until

PANEL = "from the side panel"


def only_run(pool: OllamaPoolManager) -> str:
    [run] = pool.run_views()
    return run.id


async def test_a_request_whose_answer_has_begun_keeps_its_part() -> None:
    async with FakeOllama(token_s=0.005, tokens=lambda body: ["x "] * 100_000) as server, pool_of(server, max_concurrent=1) as pool:
        task = asyncio.ensure_future(pool.chat("llama3.2", "hi"))
        await until(lambda: pool.run_views() and pool.run_views()[0].tokens > 3)
        assert pool.cancel(only_run(pool), PANEL)
        with pytest.raises(RequestCancelledError, match=r"cancelled from the side panel \(after \d+ tokens from ") as caught:
            await task
        assert caught.value.partial.startswith("x x x ")
        assert (pool.in_flight, pool.run_views()) == (0, ())
        await until(lambda: server.abandoned == 1)
        [view] = pool.instance_views()
        assert (view.total_requests, view.failed_requests, view.breaker, view.state) == (0, 0, "closed", "healthy")
        [receipt] = pool.receipts()
        assert (receipt.outcome, receipt.error) == ("cancelled", "RequestCancelledError")


@pytest.mark.parametrize("deadline", [None, 60.0])
async def test_a_request_that_waits_for_its_first_token_ends_at_once(deadline: float | None) -> None:
    async with FakeOllama(token_s=3600.0) as server, pool_of(server, max_concurrent=1) as pool:
        task = asyncio.ensure_future(pool.chat("llama3.2", "hi", deadline=deadline))
        await until(lambda: server.in_flight == 1)
        assert pool.cancel(only_run(pool), PANEL)
        with pytest.raises(RequestCancelledError, match="had not answered yet") as caught:
            await task
        assert caught.value.partial == ""
        assert pool.in_flight == 0


async def test_a_request_in_the_queue_leaves_it_and_the_others_go_on() -> None:
    async with FakeOllama(token_s=0.005, tokens=lambda body: ["x "] * 60) as server, pool_of(server, max_concurrent=1) as pool:
        first, second, third = (asyncio.ensure_future(pool.chat("llama3.2", "hi")) for _ in range(3))
        await until(lambda: pool.queue_depth == 2)
        assert pool.cancel(pool.run_views()[1].id, PANEL)
        with pytest.raises(RequestCancelledError, match="it had no slot yet"):
            await second
        assert pool.queue_depth == 1
        replies = await asyncio.gather(first, third)
        assert [reply.text.split() for reply in replies] == [["x"] * 60] * 2


async def test_a_stream_that_nobody_reads_just_now_ends_when_it_is_read_again() -> None:
    async with FakeOllama(token_s=0.005, tokens=lambda body: ["x "] * 100_000) as server, pool_of(server, max_concurrent=1) as pool:
        stream = pool.stream("llama3.2", "hi")
        await anext(stream)
        assert pool.cancel(only_run(pool), PANEL)
        assert pool.run_views()[0].state == "being cancelled"
        assert not pool.run_views()[0].cancellable
        with pytest.raises(RequestCancelledError):
            await anext(stream)
        assert pool.in_flight == 0


async def test_a_request_outside_a_full_queue_is_cancelled_too() -> None:
    async with FakeOllama(token_s=3600.0) as server, pool_of(server, max_concurrent=1) as pool:
        items = pool.map(["a", "b", "c", "d"], max_concurrent=4, model="llama3.2")
        first = asyncio.ensure_future(anext(items))
        await until(lambda: len(pool.run_views()) == 4)
        last = pool.run_views()[-1]
        assert pool.cancel(last.id, PANEL)
        item = await first
        assert isinstance(item.error, RequestCancelledError)
        await items.aclose()


async def test_an_id_that_does_not_go_on_is_told_as_unknown() -> None:
    async with FakeOllama() as server, pool_of(server) as pool:
        reply = await pool.chat("llama3.2", "hi")
        assert reply.text
        assert not pool.cancel("r1", PANEL)
        assert not pool.cancel("", PANEL)


async def test_cancelling_twice_and_an_outside_cancel_in_the_same_step_end_the_request_once() -> None:
    async with FakeOllama(token_s=3600.0) as server, pool_of(server, max_concurrent=1) as pool:
        task = asyncio.ensure_future(pool.chat("llama3.2", "hi"))
        await until(lambda: server.in_flight == 1)
        name = only_run(pool)
        assert pool.cancel(name, PANEL)
        assert pool.cancel(name, PANEL)
        task.cancel()
        with pytest.raises((asyncio.CancelledError, RequestCancelledError)):
            await task
        assert (pool.in_flight, pool.run_views()) == (0, ())


async def test_a_cancel_is_not_written_into_a_recording(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    async with FakeOllama(token_s=3600.0) as server:
        settings = PoolSettings(instances=(server.settings(),), record=str(path))
        async with OllamaPoolManager(settings=settings) as pool:
            task = asyncio.ensure_future(pool.chat("llama3.2", "hi"))
            await until(lambda: server.in_flight == 1)
            pool.cancel(only_run(pool), PANEL)
            with pytest.raises(RequestCancelledError):
                await task
    assert path.read_text().strip() == ""
