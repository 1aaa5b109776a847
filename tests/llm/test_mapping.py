"""Many requests over one pool: as completed, bounded, behind those who wait, and nothing lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.core.admission import AdmissionSettings
from gleitzeit_nb.core.requests import LLMRequest, Reply, Route, Usage
from gleitzeit_nb.errors import (
    ConfigError,
    DeadlineExceededError,
    EngineClosedError,
    ModelNotFoundError,
    StreamInterruptedError,
    WrongLoopError,
)
from gleitzeit_nb.events import QueueFull
from gleitzeit_nb.llm.mapping import BACKGROUND, Asks, MapItem, Mapper, Wish, room_for
from gleitzeit_nb.llm.pool import OllamaPoolManager
from tests.llm.conftest import pool_of
from tests.support.fake_ollama import FakeOllama, Fault, Kind
from tests.support.waiting import until


def reply(text: str) -> Reply:
    return Reply(text, "m", "i", Usage(), Route(0.0, (), (), "least_loaded"), 0.0)


async def echo(request: LLMRequest) -> Reply:
    await asyncio.sleep(0)
    return reply(request.messages[-1]["content"])


def mapper(answer: Any = echo, room: int = 4, wish: Wish | None = None) -> Mapper:
    common = wish or Wish.of("llm/chat", "", {})
    return Mapper(make=lambda index, ask: common.request(f"r{index}", ask), answer=answer, room=lambda: room)


async def collected(mapping: AsyncIterator[MapItem]) -> list[MapItem]:
    return [item async for item in mapping]


# -- what comes back ----------------------------------------------------------------------------------------------------------


async def test_every_request_gets_its_item_with_its_index_and_itself() -> None:
    prompts = [f"number {index}" for index in range(20)]
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a, b) as pool:
        items = await collected(pool.map(prompts, model="llama3.2"))
    assert sorted(item.index for item in items) == list(range(20))
    for item in items:
        assert item.ok
        assert item.request == prompts[item.index] == item.result().text.strip()
    assert {item.result().instance for item in items} == {"a", "b"}


async def test_they_come_as_they_are_completed() -> None:
    gates = {"slow": asyncio.Event(), "fast": asyncio.Event()}

    async def answer(request: LLMRequest) -> Reply:
        await gates[request.messages[-1]["content"]].wait()
        return await echo(request)

    gates["fast"].set()
    mapping = mapper(answer).items(["slow", "fast"])
    assert (await anext(mapping)).index == 1
    gates["slow"].set()
    assert (await anext(mapping)).index == 0
    assert await collected(mapping) == []


async def test_an_error_is_of_its_item_and_the_others_go_on() -> None:
    async with FakeOllama("a") as server, pool_of(server) as pool:
        server.faults = [Fault(Kind.CUT, after=1)]
        items = {
            item.index: item
            async for item in pool.map(
                ["one two", {"model": "none", "prompt": "x"}, {"prompt": "x", "stratgy": "auto"}, 7, "three"],  # type: ignore[list-item]
                max_concurrent=1,
                model="llama3.2",
            )
        }
    assert isinstance(items[0].error, StreamInterruptedError)
    assert items[0].error.partial == "one "
    assert isinstance(items[1].error, ModelNotFoundError)
    assert "did you mean 'strategy'" in str(items[2].error)
    assert "not int" in str(items[3].error)
    assert items[4].result().text == "three "
    assert [items[index].ok for index in range(5)] == [False, False, False, False, True]
    with pytest.raises(StreamInterruptedError):
        items[0].result()


async def test_requests_may_be_texts_dialogues_dictionaries_and_whole_values() -> None:
    asks = [
        "a text",
        [{"role": "system", "content": "be brief"}, {"role": "user", "content": "a dialogue"}],
        {"prompt": "a dictionary", "temperature": 0},
        {"method": "llm/generate", "prompt": "another method", "system": "s"},
        LLMRequest("mine", "chat", "llama3.2", ({"role": "user", "content": "a value"},)),
        {"method": "llm/embed", "input": ["x", "y"]},
    ]
    async with FakeOllama("a") as server, pool_of(server) as pool:
        items = {item.index: item.result() async for item in pool.map(asks, model="llama3.2", options={"seed": 7})}
        bodies = {request.path: request.body for request in server.asked}
    assert [items[index].text.strip() for index in range(5)] == ["a text", "a dialogue", "a dictionary", "another method", "a value"]
    assert len(items[5].embeddings) == 2
    assert bodies["/api/generate"]["system"] == "s"
    assert bodies["/api/generate"]["options"] == {"seed": 7}


async def test_requests_may_come_from_an_asynchronous_source() -> None:
    async def source() -> AsyncIterator[str]:
        for word in ("a", "b", "c"):
            await asyncio.sleep(0.001)
            yield word

    assert sorted(item.result().text for item in await collected(mapper().items(source()))) == ["a", "b", "c"]


async def test_no_requests_are_no_items() -> None:
    assert await collected(mapper().items([])) == []


# -- how much at once ---------------------------------------------------------------------------------------------------------


async def test_an_endless_source_is_taken_from_only_as_fast_as_the_caller_takes() -> None:
    given_out = 0

    def endless() -> Iterator[str]:
        nonlocal given_out
        while True:
            given_out += 1
            yield "x"

    mapping = mapper(room=4).items(endless())
    for taken in range(1, 60):
        await anext(mapping)
        await asyncio.sleep(0)
        assert given_out <= taken + 2 * 4
    await mapping.aclose()


@pytest.mark.parametrize("limit", [1, 3])
async def test_max_concurrent_is_kept(limit: int) -> None:
    async with FakeOllama("a", token_s=0.003) as server, pool_of(server, max_concurrent=8) as pool:
        items = await collected(pool.map(["one two"] * 12, limit, model="llama3.2"))
        assert server.most_in_flight == limit
    assert len(items) == 12


async def test_by_default_every_slot_is_used_and_no_more() -> None:
    async with FakeOllama("a", token_s=0.003) as a, FakeOllama("b", token_s=0.003) as b, pool_of(a, b, max_concurrent=3) as pool:
        await collected(pool.map(["one two three"] * 30, model="llama3.2"))
        assert (a.most_in_flight, b.most_in_flight) == (3, 3)


@given(slots=st.integers(0, 500), max_queue=st.integers(1, 5000), wanted=st.none() | st.integers(1, 5000))
def test_a_map_never_fills_the_queue_and_never_leaves_a_slot_idle(slots: int, max_queue: int, wanted: int | None) -> None:
    room = room_for(slots, max_queue, wanted)
    assert 1 <= room <= max(1, slots) + max(1, max_queue // 2)
    if wanted is None:
        assert room > slots
    else:
        assert room <= wanted


class Deepest:
    """How many waited at most, and how often the queue was full, while a pool was at work."""

    def __init__(self, pool: OllamaPoolManager) -> None:
        self.waiting = self.full = 0
        queue = pool._open().parts.dispatcher.queue
        enter = queue.enter

        def watched(*args: Any, **keywords: Any) -> Any:
            waiter = enter(*args, **keywords)
            asyncio.get_running_loop().call_soon(lambda: setattr(self, "waiting", max(self.waiting, len(queue))))
            return waiter

        queue.enter = watched  # type: ignore[method-assign]
        pool.events.subscribe(lambda event: setattr(self, "full", self.full + isinstance(event, QueueFull)))


@pytest.mark.parametrize("limit", [None, 50])
async def test_a_map_puts_no_more_into_a_small_queue_than_fits_though_few_can_take_its_requests(limit: int | None) -> None:
    """The pool has eleven slots, of which one can be had."""
    async with FakeOllama("a", token_s=0.001) as a, FakeOllama("b") as b:
        async with pool_of(a, b, max_concurrent=1, admission=AdmissionSettings(max_queue=4)) as pool:
            await pool.add_instance(FakeOllama("c", ["phi"]).settings(max_concurrent=9, url="http://127.0.0.1:9"))
            deepest = Deepest(pool)
            items = await collected(pool.map([f"{index}" for index in range(50)], limit, model="llama3.2", instance="a"))
            receipts = pool.receipts()
    assert sorted(item.result().text for item in items) == sorted(f"{index} " for index in range(50))
    assert [each.outcome for each in receipts] == ["ok"] * 50
    assert (deepest.waiting, deepest.full) == (2, 0), "half of the queue is for others"
    assert a.most_in_flight == 1


async def test_a_queue_that_others_have_filled_is_waited_for_without_a_failure() -> None:
    async with FakeOllama("a") as server, pool_of(server, max_concurrent=1, admission=AdmissionSettings(max_queue=4)) as pool:
        server.gate.clear()
        people = [asyncio.create_task(pool.chat("llama3.2", f"person {number}")) for number in range(5)]
        await until(lambda: pool.queue_depth == 4)
        mapping = pool.map(["x"] * 10, 10, model="llama3.2")
        first = asyncio.ensure_future(anext(mapping))
        await until(lambda: "waiting for room in the queue" in [view.state for view in pool.run_views()])
        assert pool.queue_depth == 4
        people.pop().cancel()
        await until(lambda: [view.state for view in pool.run_views() if view.label == "map [0]"] == ["queued 4th"])
        server.gate.set()
        await asyncio.gather(*people)
        assert [(await first).ok] + [item.ok for item in await collected(mapping)] == [True] * 10
        assert [each.outcome for each in pool.receipts(failed=True)] == ["cancelled"]
        said = [request.body["messages"][-1]["content"] for request in server.asked]
    assert said[:4] == [f"person {number}" for number in range(4)]


async def test_waiting_for_room_ends_with_the_deadline_with_a_cancel_and_with_the_pool() -> None:
    async with FakeOllama("a") as server, pool_of(server, max_concurrent=1, admission=AdmissionSettings(max_queue=2)) as pool:
        server.gate.clear()
        people = [asyncio.create_task(pool.chat("llama3.2", "person")) for _ in range(3)]
        await until(lambda: pool.queue_depth == 2)
        late = await collected(pool.map(["x"], model="llama3.2", deadline=0.05))
        assert isinstance(late[0].error, DeadlineExceededError)
        given_up = pool.map(["x"] * 3, 3, model="llama3.2")
        taking = asyncio.ensure_future(anext(given_up))
        await until(lambda: len(pool.run_views()) == 5, 20)
        taking.cancel()
        await asyncio.wait([taking])
        await until(lambda: len(pool.run_views()) == 3)
        left = asyncio.ensure_future(anext(pool.map(["x"], model="llama3.2")))
        await until(lambda: len(pool.run_views()) == 4)
        await pool.close()
        with pytest.raises(EngineClosedError, match="waited for room"):
            await left
        await asyncio.gather(*people, return_exceptions=True)
        server.gate.set()


async def test_somebody_who_waits_goes_before_a_map() -> None:
    async with FakeOllama("a", token_s=0.01) as server, pool_of(server, max_concurrent=1) as pool:
        mapping = pool.map([f"item {index}" for index in range(20)], 5, model="llama3.2")
        first = asyncio.ensure_future(anext(mapping))
        await until(lambda: pool.queue_depth == 4)
        await pool.chat("llama3.2", "now")
        said = [request.body["messages"][-1]["content"] for request in server.asked]
        assert said.index("now") <= 2
        await first
        await mapping.aclose()


def test_the_priority_of_a_map_can_be_given_to_all_and_to_one() -> None:
    assert Wish.of("llm/chat", "", {}).request("r", "x").priority == BACKGROUND
    wish = Wish.of("llm/chat", "m", {"priority": 2})
    assert wish.request("r", "x").priority == 2
    assert wish.request("r", {"prompt": "x", "priority": -1, "model": "n"}).priority == -1
    assert wish.request("r", {"prompt": "x", "model": "n"}).model == "n"


async def test_a_queue_that_is_smaller_than_the_map_loses_nothing() -> None:
    async with FakeOllama("a") as server, pool_of(server, max_concurrent=1, admission=AdmissionSettings(max_queue=2)) as pool:
        items = await collected(pool.map(["x"] * 40, 40, model="llama3.2"))
    assert [item.ok for item in items] == [True] * 40


# -- ends ---------------------------------------------------------------------------------------------------------------------


async def test_leaving_early_cancels_what_runs() -> None:
    async with FakeOllama("a", token_s=3600.0) as server, pool_of(server, max_concurrent=3) as pool:
        mapping = pool.map(["x"] * 9, model="llama3.2")
        waiting = asyncio.ensure_future(anext(mapping))
        await until(lambda: server.in_flight == 3)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (pool.in_flight, pool.queue_depth) == (0, 0)
        await until(lambda: server.abandoned == 3)


async def test_what_the_source_raises_comes_after_the_answers_to_what_it_gave() -> None:
    def source() -> Iterator[str]:
        yield "a"
        raise OSError("the disk is gone")

    mapping = mapper().items(source())
    assert (await anext(mapping)).result().text == "a"
    with pytest.raises(OSError, match="the disk is gone"):
        await anext(mapping)


async def test_closing_the_pool_ends_the_map() -> None:
    async with FakeOllama("a", token_s=3600.0) as server, pool_of(server) as pool:
        mapping = pool.map(["x"] * 9, model="llama3.2")
        waiting = asyncio.ensure_future(anext(mapping))
        await until(lambda: server.in_flight == 4)
        await pool.close()
        with pytest.raises(EngineClosedError):
            await waiting


async def test_a_fault_of_ours_is_not_an_item() -> None:
    async def answer(request: LLMRequest) -> Reply:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        await collected(mapper(answer).items(["a", "b"]))


@pytest.mark.parametrize("asks", ["one text", {"prompt": "x"}, b"x"])
async def test_one_request_is_not_many(asks: Asks) -> None:
    with pytest.raises(TypeError, match="many requests"):
        await anext(mapper().items(asks))


async def test_what_is_wrong_for_all_is_told_at_once() -> None:
    async with FakeOllama("a") as server, pool_of(server) as pool:
        with pytest.raises(TypeError, match="did you mean 'tags'"):
            pool.map(["x"], tag="gpu")  # type: ignore[call-arg]
        with pytest.raises(ValueError, match="did you mean 'llm/chat'"):
            pool.map(["x"], method="llm/chatt")
        with pytest.raises(ValueError, match="at least 1"):
            pool.map(["x"], 0)
        with pytest.raises(ConfigError, match="there is no load balancing strategy"):
            pool.map(["x"], strategy="none")
        assert server.asked == []


async def test_a_pool_that_is_not_open_says_so() -> None:
    with pytest.raises(EngineClosedError):
        await anext(OllamaPoolManager([]).map(["x"]))


async def test_a_map_on_another_loop_says_so() -> None:
    async with FakeOllama("a") as server, pool_of(server) as pool:

        def elsewhere() -> None:
            async def first() -> MapItem:
                return await anext(pool.map(["x"]))

            asyncio.run(first())

        with pytest.raises(WrongLoopError):
            await asyncio.to_thread(elsewhere)
