"""Who may answer: constraints of requests and of the pool, over real sockets."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from gleitzeit_nb.config import instance_settings
from gleitzeit_nb.core.settings import PoolSettings
from gleitzeit_nb.embedded import EmbeddedInstance
from gleitzeit_nb.errors import AllInstancesFailedError, NoInstanceError, RequestRejectedError
from gleitzeit_nb.llm.pool import OllamaPoolManager
from tests.llm.conftest import pool_of
from tests.support.fake_ollama import BROKEN, FakeOllama, Fault, Kind, status
from tests.support.model import MODEL, embedded, model_cache

__all__ = ["embedded", "model_cache"]

L = "llama3.2:latest"
PICTURE = [{"role": "user", "content": "hi", "images": ["aGk="]}]


def shows(server: FakeOllama) -> int:
    return sum(request.path == "/api/show" for request in server.requests)


async def test_pictures_go_where_the_model_sees() -> None:
    async with FakeOllama("blind") as blind, FakeOllama("seeing") as seeing, pool_of(blind, seeing) as pool:
        blind.shelf.capabilities[L] = ["completion"]
        seeing.shelf.capabilities[L] = ["completion", "vision"]
        assert {(await pool.chat("llama3.2", PICTURE)).instance for _ in range(6)} == {"seeing"}
        assert (shows(blind), shows(seeing)) == (1, 1)
        assert (await pool.chat("llama3.2", "hi", instance="blind")).instance == "blind"


async def test_nobody_is_asked_what_it_can_before_somebody_needs_to_know() -> None:
    async with FakeOllama() as server, pool_of(server) as pool:
        await asyncio.gather(*(pool.chat("llama3.2", "hi") for _ in range(3)))
        assert shows(server) == 0
        await asyncio.gather(*(pool.chat("llama3.2", "hi", think=True) for _ in range(5)))
        assert shows(server) == 1


async def test_a_model_that_is_fetched_anew_is_asked_anew() -> None:
    async with FakeOllama() as server, pool_of(server) as pool:
        server.shelf.capabilities[L] = ["completion"]
        with pytest.raises(NoInstanceError, match=r"(?s)asked for tools.*has not the ability: tools"):
            await pool.chat("llama3.2", "hi", tools=[{}])
        server.shelf.capabilities[L] = ["completion", "tools"]
        server.shelf.digests[L] = "f" * 64
        _ = [progress async for progress in pool.pull("llama3.2")]
        assert (await pool.chat("llama3.2", "hi", tools=[{}])).text == "hi "
        assert shows(server) == 2


async def test_a_refusal_teaches_and_another_instance_is_asked() -> None:
    async with FakeOllama("old") as old, FakeOllama("new") as new, pool_of(old, new) as pool:
        old.fault = status(400, '"llama3.2" does not support thinking')
        replies = [await pool.chat("llama3.2", "hi", think=True, instance_preference="old") for _ in range(3)]
        assert [reply.instance for reply in replies] == ["new"] * 3
        assert [reply.route.retries for reply in replies] == [1, 0, 0]
        assert pool.instance_views()[0].failed_requests == 0


async def test_a_refusal_of_everybody_is_the_requests_own() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a, b) as pool:
        a.fault = b.fault = status(400, '"llama3.2" does not support thinking')
        with pytest.raises(RequestRejectedError, match=r"does not support thinking.*Ask a model that can") as caught:
            await pool.chat("llama3.2", "hi", think=True)
    assert caught.value.status == 400


async def test_a_server_that_does_not_tell_what_it_can_may_be_tried() -> None:
    async with FakeOllama() as server, pool_of(server) as pool:
        server.shelf.silent = True
        assert (await pool.chat("llama3.2", PICTURE)).text == "hi "
        assert (await pool.chat("llama3.2", PICTURE)).text == "hi "
        assert shows(server) == 1


async def test_a_server_that_hangs_at_the_question_holds_nobody_up_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gleitzeit_nb.llm.showings.WAIT_S", 0.1)
    async with FakeOllama() as server, pool_of(server) as pool:
        server.fault = Fault(Kind.HANG_BEFORE_HEADERS, everywhere=True)
        asking = asyncio.ensure_future(pool.chat("llama3.2", "hi", think=True))
        await asyncio.sleep(0.3)
        server.fault = None
        asking.cancel()
        assert (await pool.chat("llama3.2", "hi", think=True)).text == "hi "


async def test_a_minimum_context_loads_with_it_and_is_refused_where_that_cannot_be() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a, b) as pool:
        b.shelf.trained[L] = 4096
        reply = await pool.chat("llama3.2", "hi", min_context=16384)
        assert (reply.instance, a.loaded[L]["num_ctx"]) == ("a", 16384)
        with pytest.raises(NoInstanceError, match=r"(?s)asked for a context of 99999.*smaller context.*force-ctx.*fewer than 99999"):
            await pool.chat("llama3.2", "hi", min_context=99999)
        reply = await pool.chat("llama3.2", "hi", min_context=99999, force_ctx=True)
        assert (reply.instance, a.loaded[L]["num_ctx"], a.loads) == ("a", 99999, 2)


async def test_a_larger_context_goes_where_it_is_loaded() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b:
        a.loaded[L], b.loaded[L] = {"num_ctx": 4096}, {"num_ctx": 32768}
        async with pool_of(a, b) as pool:
            replies = [await pool.chat("llama3.2", "hi", options={"num_ctx": 16384}) for _ in range(5)]
        assert {reply.instance for reply in replies} == {"b"}
        assert [reply.notices for reply in replies] == [()] * 5
        assert (a.loads, b.loads) == (0, 0)


async def test_the_pools_tags_bind_failover_and_fallback() -> None:
    names = [L, "phi:3b"]
    async with FakeOllama("in", names) as inside, FakeOllama("out", names) as outside:
        instances = (inside.settings(tags=("cleared",)), outside.settings())
        async with OllamaPoolManager(settings=PoolSettings(instances=instances, require_tags=("cleared",))) as pool:
            assert Counter([(await pool.chat("llama3.2", "hi")).instance for _ in range(5)]) == {"in": 5}
            assert await pool.get_instance(model="llama3.2") == inside.url
            assert dict(pool.explain("llama3.2"))["out"] == "no tag cleared, which the pool requires of everybody"
            inside.fault = BROKEN
            with pytest.raises(AllInstancesFailedError, match="which the pool requires of everybody"):
                await pool.chat("llama3.2", "hi", fallback_model="phi:3b")
            with pytest.raises(NoInstanceError):
                await pool.chat("llama3.2", "hi", instance="out")
    assert outside.asked == []


async def test_the_pools_tags_can_change_while_it_is_open() -> None:
    async with FakeOllama() as server, pool_of(server) as pool:
        await pool.reconfigure(replace(pool.settings, require_tags=("cleared",)))
        with pytest.raises(NoInstanceError, match="which the pool requires"):
            await pool.chat("llama3.2", "hi")
        await pool.reconfigure(replace(pool.settings, require_tags=()))
        assert (await pool.chat("llama3.2", "hi")).text == "hi "


async def test_fallback_goes_down_the_chain_and_keeps_the_constraints() -> None:
    async with FakeOllama("a", ["phi:3b"]) as a, FakeOllama("b", ["phi:3b", "qwen:1b"]) as b:
        instances = (a.settings(), b.settings(tags=("gpu",)))
        async with OllamaPoolManager(settings=PoolSettings(instances=instances)) as pool:
            reply = await pool.chat("llama3.2", "hi", fallback_model=["qwen:1b", "phi:3b"], tags=["gpu"])
            assert (reply.model, reply.instance) == ("qwen:1b", "b")


async def test_private_requests_reach_only_this_machine() -> None:
    async with FakeOllama() as server, pool_of(server) as pool:
        assert (await pool.chat("llama3.2", "hi", private=True)).instance == "fake"
        await pool.add_instance({"id": "far", "url": "http://192.0.2.1:9", "models": ["phi:3b"]})
        with pytest.raises(NoInstanceError, match=r"(?s)an instance on this machine.*far +not on this machine"):
            await pool.chat("phi:3b", "hi", private=True)


@pytest.mark.model
async def test_the_embedded_model_tells_what_it_can(embedded: EmbeddedInstance) -> None:
    settings = PoolSettings(instances=(instance_settings(embedded.instance),))
    short: dict[str, Any] = {"num_predict": 4, "seed": 1}
    async with OllamaPoolManager(settings=settings) as pool:
        with pytest.raises(NoInstanceError, match="has not the ability: vision"):
            await pool.chat(MODEL, PICTURE)
        with pytest.raises(NoInstanceError, match="has not the ability: thinking"):
            await pool.chat(MODEL, "Hi", think=True)
        with pytest.raises(NoInstanceError, match=r"fewer than 99999 tokens|smaller context than 99999"):
            await pool.chat(MODEL, "Hi", min_context=99999)
        assert (await pool.chat(MODEL, "Hi", min_context=512, options=short)).text
