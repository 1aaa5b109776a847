"""One load per model, however the cells differ; on the fake, which reloads as Ollama does, and on the embedded model."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from gleitzeit_nb.config import instance_settings
from gleitzeit_nb.core.keep_alive import FOREVER, KeepAlive
from gleitzeit_nb.core.settings import PoolSettings
from gleitzeit_nb.embedded import EmbeddedInstance
from gleitzeit_nb.llm.pool import OllamaPoolManager
from tests.llm.conftest import HASTY, pool_of
from tests.support.fake_ollama import FakeOllama
from tests.support.model import MODEL, embedded, model_cache
from tests.support.waiting import until

__all__ = ["embedded", "model_cache"]


def context_known(pool: OllamaPoolManager, model: str = "llama3.2:latest") -> bool:
    (instance,) = pool._instances
    entry = instance.loaded.get(model)
    return entry is not None and entry.context_length is not None


async def test_cells_with_other_runner_options_cause_one_load() -> None:
    async with FakeOllama() as server, pool_of(server) as pool:
        await pool.chat("llama3.2", "hi", options={"num_ctx": 8192, "num_thread": 2})
        for options in ({}, {"num_ctx": 2048}, {"num_ctx": 16384}, {"num_thread": 4}, {"temperature": 0.0}, {"num_gpu": 1}):
            await pool.chat("llama3.2", "hi", options=options)
        await pool.generate("llama3.2", "hi")
    assert server.loads == 1
    assert {request.body["options"]["num_ctx"] for request in server.asked} == {8192}


async def test_what_somebody_else_loaded_is_used_as_it_is() -> None:
    async with FakeOllama() as server:
        server.loaded["llama3.2:latest"] = {"num_ctx": 32768}
        async with pool_of(server) as pool:
            for options in ({}, {"num_ctx": 16384}, {"num_ctx": 65536}):
                await pool.chat("llama3.2", "hi", options=options)
    assert server.loads == 0


async def test_a_servers_own_context_is_learned_soon_after_the_load() -> None:
    async with FakeOllama() as server, pool_of(server) as pool:
        await pool.chat("llama3.2", "hi")
        await until(lambda: context_known(pool))
        reply = await pool.chat("llama3.2", "hi", options={"num_ctx": 65536})
    assert server.loads == 1
    assert len(reply.notices) == 1


async def test_what_is_kept_back_is_told_and_can_be_forced(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "gleitzeit_nb.pool")
    async with FakeOllama(load_s=0.05) as server, pool_of(server) as pool:
        await pool.chat("llama3.2", "hi", options={"num_ctx": 4096})
        kept = await pool.chat("llama3.2", "hi", options={"num_ctx": 8192})
        forced = await pool.chat("llama3.2", "hi", options={"num_ctx": 8192}, force_ctx=True)
        after = await pool.chat("llama3.2", "hi")
    (notice,) = kept.notices
    assert "num_ctx=8192 was not sent: llama3.2 is loaded on fake with 4096" in notice
    assert "(some 0.1 s)" in notice
    assert "--force-ctx" in notice
    assert notice[:80] in caplog.text
    assert (forced.notices, after.notices) == ((), ())
    assert server.loads == 2
    assert [request.body["options"]["num_ctx"] for request in server.asked] == [4096, 4096, 8192, 8192]


async def test_a_forced_load_gets_the_time_of_a_load() -> None:
    async with FakeOllama(load_s=0.6) as server:
        server.loaded["llama3.2:latest"] = {"num_ctx": 4096}
        async with pool_of(server, timeouts=replace(HASTY, first_token_cold_s=20.0)) as pool:
            reply = await pool.chat("llama3.2", "hi", options={"num_ctx": 8192}, force_ctx=True)
    assert reply.route.retries == 0


async def test_one_time_for_each_model_is_sent_to_everybody() -> None:
    times = KeepAlive(600.0, {"phi:3b": FOREVER})
    async with FakeOllama(models=["llama3.2:latest", "phi:3b"]) as server, pool_of(server, keep_alive=times) as pool:
        await pool.chat("llama3.2", "hi")
        await pool.generate("phi:3b", "hi")
        await pool.chat("llama3.2", "hi", keep_alive="1h")
    assert [request.body["keep_alive"] for request in server.asked] == [600, -1, 3600]


async def test_a_request_cannot_unload_the_model_under_others() -> None:
    async with FakeOllama() as server, pool_of(server) as pool:
        for none in (0, "0s"):
            with pytest.raises(ValueError, match=r"keep_alive should not be 0.*unload\(\)"):
                await pool.chat("llama3.2", "hi", keep_alive=none)
    assert server.asked == []


@pytest.mark.model
async def test_the_embedded_model_is_not_loaded_anew(embedded: EmbeddedInstance) -> None:
    settings = PoolSettings(instances=(instance_settings(embedded.instance),))
    short: dict[str, Any] = {"num_predict": 4, "seed": 1}
    async with OllamaPoolManager(settings=settings) as pool:
        first = await pool.chat(MODEL, "Hi", options=short)
        await until(lambda: context_known(pool, MODEL))
        (row,) = (await pool.ps()).rows
        assert row.context_length is not None
        replies = [await pool.chat(MODEL, "Hi", options={**short, "num_ctx": context}) for context in (512, row.context_length, 8192)]
        assert [len(reply.notices) for reply in (first, *replies)] == [0, 0, 0, 1]
        assert max(reply.usage.load_s or 0.0 for reply in replies) < 0.1
        (after,) = (await pool.ps()).rows
        assert after.context_length == row.context_length


async def test_the_context_of_a_loaded_model_is_known() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a, b) as pool:
        assert pool.context_of("llama3.2") is None
        await pool.chat("llama3.2", "hi", instance="a", options={"num_ctx": 8192})
        await pool.chat("llama3.2", "hi", instance="b", options={"num_ctx": 2048})
        assert [pool.context_of("Llama3.2", name) for name in ("a", "b", "c", "")] == [8192, 2048, 2048, 2048]
        assert pool.context_of("phi") is None
