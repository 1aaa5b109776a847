"""The default strategy over real HTTP servers."""

from __future__ import annotations

import asyncio

from tests.llm.conftest import pool_of
from tests.support.fake_ollama import FakeOllama
from tests.support.waiting import until

MODELS = ("one:latest", "two:latest")


async def test_models_stay_where_they_were_loaded() -> None:
    async with FakeOllama("a", MODELS, load_s=0.2) as a, FakeOllama("b", MODELS, load_s=0.2) as b:
        a.shelf.memory_models = b.shelf.memory_models = 1
        async with pool_of(a, b, strategy="auto", max_concurrent=1) as pool:
            for number in range(12):
                await pool.chat(MODELS[number % 2], "hi")
            assert a.loads + b.loads == 2


async def test_a_request_waits_for_the_instance_that_has_the_model_and_says_so() -> None:
    async with FakeOllama("a", load_s=0.3) as a, FakeOllama("b", load_s=0.3) as b:
        async with pool_of(a, b, strategy="auto", max_concurrent=1) as pool:
            first = await pool.chat("llama3.2", "hi")
            server, other = (a, b) if first.instance == "a" else (b, a)
            server.gate.clear()
            running = asyncio.ensure_future(pool.chat("llama3.2", "hi"))
            await until(lambda: server.in_flight == 1)
            assert dict(pool.explain("llama3.2"))[other.id] == f"cold, waits for warm {server.id}"
            waiting = asyncio.ensure_future(pool.chat("llama3.2", "hi"))
            await until(lambda: pool.queue_depth == 1)
            server.gate.set()
            assert {(await each).instance for each in (running, waiting)} == {server.id}
            assert other.loads == 0


async def test_a_wait_that_takes_too_long_is_given_up() -> None:
    async with FakeOllama("a", load_s=0.3) as a, FakeOllama("b", load_s=0.3) as b:
        async with pool_of(a, b, strategy="auto", max_concurrent=1) as pool:
            first = await pool.chat("llama3.2", "hi")
            server, other = (a, b) if first.instance == "a" else (b, a)
            server.gate.clear()
            running = asyncio.ensure_future(pool.chat("llama3.2", "hi"))
            await until(lambda: server.in_flight == 1)
            assert (await asyncio.wait_for(pool.chat("llama3.2", "hi"), 10)).instance == other.id
            server.gate.set()
            await running


async def test_a_conversation_goes_on_where_it_began() -> None:
    def slowly(body: object) -> list[str]:
        return ["word "] * 5

    async with FakeOllama("a", token_s=0.03, tokens=slowly) as a, FakeOllama("b", token_s=0.03, tokens=slowly) as b:
        async with pool_of(a, b, strategy="auto") as pool:
            for server in (a, b, a, b):
                await pool.chat("llama3.2", "hi", instance=server.id)
            for chat in range(4):
                said = [{"role": "user", "content": f"chat {chat}"}]
                answered = set()
                for _ in range(4):
                    reply = await pool.chat("llama3.2", said)
                    answered.add(reply.instance)
                    said += [{"role": "assistant", "content": reply.text}, {"role": "user", "content": "go on"}]
                assert len(answered) == 1


async def test_a_death_loses_nothing() -> None:
    async with FakeOllama("a", token_s=0.005) as a, FakeOllama("b", token_s=0.005) as b, FakeOllama("c", token_s=0.005) as c:
        async with pool_of(a, b, c, strategy="auto", max_concurrent=2) as pool:
            tasks = [asyncio.ensure_future(pool.chat("llama3.2", "one two")) for _ in range(60)]
            await until(lambda: sum(map(asyncio.Future.done, tasks)) > 10)
            await b.die()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            lost = [each for each in results if isinstance(each, BaseException)]
            assert [each for each in lost if "broke off" not in str(each)] == []
            assert len(lost) <= 2  # what b was in the middle of
