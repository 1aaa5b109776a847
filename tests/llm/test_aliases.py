"""Aliases on real pools: who answers, what the reply and the errors say."""

from __future__ import annotations

import asyncio

import pytest

from gleitzeit_nb.core.aliases import aliases_of
from gleitzeit_nb.core.requests import build_request
from gleitzeit_nb.errors import ModelNotFoundError
from gleitzeit_nb.llm.aliases import without_aliases
from tests.llm.conftest import pool_of
from tests.support.fake_ollama import FakeOllama
from tests.support.waiting import until

ALIASES = aliases_of({"fast": ["llama3.2:3b", "smollm2:135m"], "big": {"a": "llama3.3:70b-fp16", "b": "llama3.3:70b-q4"}})


async def test_the_first_model_that_somebody_has_answers() -> None:
    async with FakeOllama("a", ["smollm2:135m"]) as a, pool_of(a, aliases=ALIASES) as pool:
        reply = await pool.chat("fast", "hi")
        assert (reply.model, reply.alias) == ("smollm2:135m", "fast")
        assert reply.receipt is not None
        assert (reply.receipt.model, reply.receipt.alias) == ("smollm2:135m", "fast")
        async with FakeOllama("b", ["llama3.2:3b"]) as b:
            await pool.add_instance(b.settings())
            assert (await pool.chat("fast", "hi")).model == "llama3.2:3b"
            assert (await pool.chat("smollm2:135m", "hi")).alias == ""
            assert [row[0] for row in pool.explain("fast")] == ["a", "b"]
            assert await pool.get_instance("fast") == b.url
            assert [each.model for each in await pool.warm("fast")] == ["llama3.2:3b"]
            await b.die()


async def test_each_instance_is_asked_by_its_own_spelling() -> None:
    async with FakeOllama("a", ["llama3.3:70b-fp16"]) as a, FakeOllama("b", ["llama3.3:70b-q4"]) as b:
        async with pool_of(a, b, aliases=ALIASES, max_concurrent=1) as pool:
            a.gate.clear()
            b.gate.clear()
            asking = [asyncio.ensure_future(pool.chat("big", "hi")) for _ in range(2)]
            await until(lambda: a.in_flight + b.in_flight == 2)
            assert (a.in_flight, b.in_flight) == (1, 1)
            a.gate.set()
            b.gate.set()
            assert {(reply.instance, reply.model) for reply in await asyncio.gather(*asking)} == {
                ("a", "llama3.3:70b-fp16"),
                ("b", "llama3.3:70b-q4"),
            }
            await a.die()
            assert (await pool.chat("big", "hi")).instance == "b"


async def test_the_spelling_of_an_instance_that_takes_nothing_is_not_the_first() -> None:
    async with (
        FakeOllama("a", ["llama3.3:70b-fp16"]) as a,
        FakeOllama("b", ["llama3.3:70b-q4"]) as b,
        pool_of(a, b, aliases=ALIASES) as pool,
    ):
        await pool.drain("a")
        asked = {without_aliases(pool._open().parts, build_request("r", "chat", "big", messages="hi")).model for _ in range(20)}
        assert asked == {"llama3.3:70b-q4"}
        await pool.remove_instance("b")
        await pool.resume("a")
        assert (await pool.chat("big", "hi")).model == "llama3.3:70b-fp16"


async def test_an_alias_may_be_the_default_model() -> None:
    async with FakeOllama("a", ["smollm2:135m", "phi"]) as a, pool_of(a, aliases=ALIASES, default_model="fast") as pool:
        assert (await pool.chat("", "hi")).alias == "fast"


async def test_a_misspelt_alias_is_suggested() -> None:
    async with FakeOllama("a", ["phi"]) as a, pool_of(a, aliases=ALIASES) as pool:
        with pytest.raises(ModelNotFoundError, match="did you mean fast"):
            await pool.chat("fasst", "hi")
