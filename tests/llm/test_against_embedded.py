"""The same tests on the fake and on a real model behind the same API: what keeps the fake honest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from gleitzeit_nb.config import instance_settings
from gleitzeit_nb.core.faults import Cause
from gleitzeit_nb.core.instances import InstanceSettings
from gleitzeit_nb.core.settings import PoolSettings
from gleitzeit_nb.embedded import EmbeddedInstance
from gleitzeit_nb.errors import ModelNotFoundError, RequestRejectedError
from gleitzeit_nb.llm.faults import InstanceFault
from gleitzeit_nb.llm.ollama import OllamaTransport
from gleitzeit_nb.llm.pool import OllamaPoolManager
from tests.support.fake_ollama import FakeOllama
from tests.support.model import MODEL, embedded, model_cache
from tests.support.waiting import until

__all__ = ["embedded", "model_cache"]

LONG = {"num_predict": 2000, "seed": 1, "temperature": 0.0}
SHORT = {"num_predict": 8, "seed": 1, "temperature": 0.0}


@dataclass
class Server:
    settings: InstanceSettings
    pool: OllamaPoolManager
    transport: OllamaTransport

    async def read(self, path: str, body: dict[str, Any]) -> list[Any]:
        return [line async for lines in self.transport.stream(path, body, connect_s=5, first_s=120, between_s=60) for line in lines]

    async def refusal(self, path: str, body: dict[str, Any]) -> InstanceFault:
        with pytest.raises(InstanceFault) as caught:
            await self.read(path, body)
        return caught.value


def words(body: Any) -> list[str]:
    return ["word "] * min(int(body.get("options", {}).get("num_predict", 5)), 2000)


@pytest.fixture(params=["fake", pytest.param("embedded", marks=pytest.mark.model)])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    fake = FakeOllama(models=[MODEL], tokens=words, token_s=0.002, embeds=False)
    await fake.listen()
    if request.param == "fake":
        settings = fake.settings(max_concurrent=2)
    else:
        real: EmbeddedInstance = request.getfixturevalue("embedded")
        settings = instance_settings({**real.instance, "max_concurrent": 2})
    transport = OllamaTransport(settings)
    async with OllamaPoolManager(settings=PoolSettings(instances=(settings,))) as pool:
        yield Server(settings, pool, transport)
    await transport.aclose()
    await fake.die()


async def test_an_answer_streams_and_ends_with_its_counts(server: Server) -> None:
    chunks = [chunk async for chunk in server.pool.stream(MODEL, "Name three colors.", options=SHORT)]
    reply = chunks[-1].reply
    assert reply is not None
    assert len(chunks) > 2
    assert reply.text == "".join(chunk.text for chunk in chunks[:-1])
    assert reply.usage.completion_tokens
    assert reply.usage.prompt_tokens
    assert reply.usage.total_s
    assert reply.done_reason in ("stop", "length")


async def test_lines_have_the_documented_keys(server: Server) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "stream": True, "options": SHORT}
    *pieces, last = await server.read("/api/chat", body)
    assert all({"model", "created_at", "message", "done"} <= set(line) and line["done"] is False for line in pieces)
    assert all(set(line["message"]) >= {"role", "content"} for line in pieces)
    assert last["done"] is True
    assert {"done_reason", "total_duration", "eval_count", "eval_duration", "prompt_eval_count"} <= set(last)


async def test_each_token_comes_with_its_log_probability(server: Server) -> None:
    reply = await server.pool.chat(MODEL, "Name three colors.", options=SHORT, logprobs=2)
    assert len(reply.logprobs) >= 3
    assert all({"token", "logprob"} <= set(each) and each["logprob"] <= 0 for each in reply.logprobs)
    assert {len(each["top_logprobs"]) for each in reply.logprobs} == {2}
    assert (await server.pool.chat(MODEL, "Name three colors.", options=SHORT)).logprobs == ()


async def test_a_text_is_completed_without_the_models_template(server: Server) -> None:
    reply = await server.pool.generate(MODEL, "Once upon a", raw=True, options=SHORT)
    assert reply.text


@pytest.mark.model
async def test_a_real_model_obeys_a_type(embedded: EmbeddedInstance) -> None:
    class City(BaseModel):
        name: str
        people: int

    settings = PoolSettings(instances=(instance_settings(embedded.instance),))
    async with OllamaPoolManager(settings=settings) as pool:
        reply = await pool.chat(MODEL, "Name a city and its people.", schema=City, options={**SHORT, "num_predict": 64})
    assert isinstance(reply.parsed, City)


async def test_a_prompt_is_completed(server: Server) -> None:
    reply = await server.pool.generate(MODEL, "Once", options=SHORT)
    assert reply.text


async def test_a_model_for_text_refuses_to_embed(server: Server) -> None:
    with pytest.raises(RequestRejectedError, match="does not support embeddings"):
        await server.pool.embed(MODEL, ["a", "b"])
    assert server.pool.instance_views()[0].state == "healthy"


async def test_what_is_there_and_what_is_loaded(server: Server) -> None:
    await server.pool.chat(MODEL, "Hi", options=SHORT)
    (model,) = (await server.pool.models()).rows
    (loaded,) = (await server.pool.ps()).rows
    assert (model.name, model.instance) == (MODEL, server.settings.id)
    assert model.size_bytes
    assert len(model.digest) == 64
    assert (loaded.name, loaded.gpu_share) == (MODEL, 0.0)
    assert loaded.context_length
    assert loaded.expires_at


async def test_probes_find_it_healthy(server: Server) -> None:
    (view,) = server.pool.instance_views()
    assert (view.state, view.reason, view.models) == ("healthy", "", (MODEL,))


async def test_a_model_that_is_not_there(server: Server) -> None:
    for path, body in (("/api/chat", {"messages": [{"role": "user", "content": "Hi"}]}), ("/api/embed", {"input": "a"})):
        assert (await server.refusal(path, {"model": "nobody:1b", **body})).cause is Cause.MODEL_MISSING
    with pytest.raises(ModelNotFoundError, match=r"smollm2:135m"):
        await server.pool.chat("smollm2", "Hi")


async def test_a_path_that_is_not_there(server: Server) -> None:
    assert (await server.refusal("/api/nothing", {})).cause is Cause.BAD_BODY


async def test_a_cancel_frees_the_slot_and_the_next_is_answered(server: Server) -> None:
    stream = server.pool.stream(MODEL, "Tell a very long story.", options=LONG)
    assert (await anext(stream)).text
    await stream.aclose()
    assert server.pool.in_flight == 0
    assert (await asyncio.wait_for(server.pool.chat(MODEL, "Hi", options=SHORT), 60)).text


async def test_more_requests_than_slots_are_all_answered(server: Server) -> None:
    replies = await asyncio.gather(*(server.pool.chat(MODEL, f"Say {number}", options=SHORT) for number in range(6)))
    assert all(reply.text for reply in replies)
    assert server.pool.instance_views()[0].total_requests == 6


# -- what only the real one can show ----------------------------------------------------------------------------------------------


@pytest.mark.model
async def test_a_killed_instance_is_replaced_by_the_other(model_cache: Any, embedded: EmbeddedInstance) -> None:
    with EmbeddedInstance.launch("doomed", cache_dir=model_cache) as doomed:
        settings = PoolSettings(instances=(instance_settings(doomed.instance), instance_settings(embedded.instance)))
        async with OllamaPoolManager(settings=settings) as pool:
            assert (await pool.chat(MODEL, "Hi", instance_preference="doomed", options=SHORT)).instance == "doomed"
            doomed.kill()
            reply = await pool.chat(MODEL, "Hi", instance_preference="doomed", options=SHORT)
            assert (reply.instance, reply.route.retries) == (embedded.id, 1)
            assert [view.source for view in pool.failover_views()] == ["doomed"]
            await until(lambda: pool.instance_views()[0].state == "unhealthy")


@pytest.mark.model
async def test_wrong_options_are_the_callers_fault(embedded: EmbeddedInstance) -> None:
    settings = PoolSettings(instances=(instance_settings(embedded.instance),))
    async with OllamaPoolManager(settings=settings) as pool:
        with pytest.raises(RequestRejectedError, match="num_predict"):
            await pool.chat(MODEL, "Hi", options={"num_predict": "many"})
        assert pool.instance_views()[0].state == "healthy"


async def test_a_map_answers_all_beside_another_request(server: Server) -> None:
    mapping = server.pool.map([f"Say {number}." for number in range(8)], model=MODEL, options=SHORT)
    items = [await anext(mapping)]
    reply = await server.pool.chat(MODEL, "Say hello.", options=SHORT)
    items += [item async for item in mapping]
    assert reply.text
    assert sorted(item.index for item in items) == list(range(8))
    assert all(item.result().text and item.result().usage.completion_tokens for item in items)
