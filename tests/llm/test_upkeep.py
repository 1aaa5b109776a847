"""Loading, fetching, unloading and deleting models: on fakes, and the same on the embedded model."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gleitzeit_nb.config import instance_settings
from gleitzeit_nb.core.settings import PoolSettings
from gleitzeit_nb.core.upkeep import PullProgress, Where
from gleitzeit_nb.embedded import EmbeddedInstance, weights
from gleitzeit_nb.errors import ModelNotFoundError, NoInstanceError, UpkeepError
from gleitzeit_nb.llm.pool import OllamaPoolManager
from tests.llm.conftest import pool_of
from tests.support.fake_ollama import BROKEN, FakeOllama, status
from tests.support.model import MODEL, model_cache
from tests.support.waiting import until

__all__ = ["model_cache"]

L = "llama3.2:latest"


@pytest.fixture(params=["fake", pytest.param("embedded", marks=pytest.mark.model)])
async def alone(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OllamaPoolManager]:
    """A pool of one server that a test may do anything to; the embedded one has a cache of its own."""
    if request.param == "fake":
        async with FakeOllama(models=[MODEL]) as fake, pool_of(fake) as pool:
            yield pool
        return
    real = weights.fetch(MODEL, cache_dir=request.getfixturevalue("model_cache"))
    cached = weights.cached_path(weights.known_model(MODEL), tmp_path)
    cached.parent.mkdir(parents=True)
    cached.symlink_to(real)
    with EmbeddedInstance.launch("own", cache_dir=tmp_path) as instance:
        async with OllamaPoolManager(settings=PoolSettings(instances=(instance_settings(instance.instance),))) as pool:
            yield pool


async def test_a_model_is_loaded_fetched_unloaded_and_deleted(alone: OllamaPoolManager) -> None:
    (warmed,) = await alone.warm(MODEL)
    assert (warmed.model, warmed.was_warm) == (MODEL, False)
    (row,) = (await alone.ps()).rows
    assert row.name == MODEL
    (again,) = await alone.warm(MODEL)
    assert again.was_warm
    told = [progress async for progress in alone.pull(MODEL)]
    assert (told[-1].done, told[-1].error, told[-1].status, told[-1].share) == (True, "", "success", 1.0)
    assert await alone.unload(MODEL) == (warmed.instance,)
    for _ in range(100):
        if not (await alone.ps()).rows:
            break
        await asyncio.sleep(0.05)
    assert (await alone.ps()).rows == ()
    (holding,) = await alone.upkeep.holders(MODEL, Where())
    assert (holding.name, len(holding.digest)) == (MODEL, 64)
    assert await alone.delete(MODEL) == (warmed.instance,)
    assert (await alone.models()).rows == ()
    with pytest.raises(ModelNotFoundError, match="no instance of the pool has the model"):
        await alone.delete(MODEL)


async def test_a_model_that_nobody_offers_cannot_be_fetched(alone: OllamaPoolManager) -> None:
    with pytest.raises(UpkeepError, match=r"(?s)nobody:1b was fetched by 0 of 1 instances.*file does not exist") as caught:
        _ = [progress async for progress in alone.pull("nobody:1b")]
    assert len(caught.value.failures) == 1


async def test_who_wants_the_same_model_waits_for_the_one_load() -> None:
    async with FakeOllama(load_s=0.2) as server, pool_of(server) as pool:
        results = await asyncio.gather(*(pool.warm("llama3.2", everywhere=True) for _ in range(5)), pool.warm("llama3.2"))
        assert len(server.asked) == server.loads == 1
        assert {one.elapsed_s for each in results for one in each} == {results[0][0].elapsed_s}
        assert repr(pool.upkeep) == "<Upkeep 0 loading>"


async def test_a_load_that_nobody_waits_for_any_more_is_given_up() -> None:
    async with FakeOllama(load_s=60) as server, pool_of(server) as pool:
        asking = [asyncio.ensure_future(pool.warm("llama3.2")) for _ in range(2)]
        await until(lambda: server.in_flight)
        asking[0].cancel()
        await asyncio.sleep(0.05)
        assert server.in_flight == 1
        asking[1].cancel()
        await until(lambda: server.abandoned == 1)
        assert pool.in_flight == 0


async def test_places_are_one_instance_those_with_tags_or_all() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b, FakeOllama("c", models=["phi:3b"]) as c:
        instances = (a.settings(tags=("gpu",)), b.settings(), c.settings(tags=("gpu",)))
        async with OllamaPoolManager(settings=PoolSettings(instances=instances)) as pool:
            assert [each.instance for each in await pool.warm("llama3.2", tags="gpu")] == ["a"]
            assert [each.instance for each in await pool.warm("llama3.2", everywhere=True)] == ["a", "b"]
            assert (await pool.warm("llama3.2", instance="b"))[0].instance == "b"
            with pytest.raises(NoInstanceError, match="did you mean"):
                await pool.warm("llama3.2", instance="bb")
            with pytest.raises(NoInstanceError, match="there is no instance with the tags tpu; there are the tags: gpu"):
                await pool.warm("llama3.2", tags=["tpu"])
            with pytest.raises(ValueError, match="one of the three"):
                await pool.warm("llama3.2", instance="a", everywhere=True)
            with pytest.raises(ModelNotFoundError):
                await pool.warm("phi:3b", instance="a")
            with pytest.raises(NoInstanceError, match=r"say which instance shall fetch new: .* a, b, c"):
                _ = [each async for each in pool.pull("new")]
            assert await pool.unload("llama3.2", instance="b") == ("b",)
            assert await pool.unload("llama3.2") == ("a",)
            assert await pool.unload("llama3.2") == ()
            assert await pool.delete("llama3.2", tags="gpu") == ("a",)
            assert (a.models, b.models) == ([], [L])


async def test_a_model_that_leaves_late_is_soon_not_shown_any_more() -> None:
    async with FakeOllama() as server, pool_of(server) as pool:
        await pool.warm("llama3.2")
        server.shelf.unload_s = 0.6
        await pool.unload("llama3.2")
        await asyncio.sleep(0.3)  # a look has found it still there
        await until(lambda: not server.loaded)
        await until(lambda: pool.instance_views()[0].warm == ())  # long before the next probe, which comes after half a minute


async def test_an_embedding_model_is_loaded_though_it_knows_no_chat() -> None:
    async with FakeOllama() as server, pool_of(server) as pool:
        server.faults = [status(400, '"llama3.2" does not support chat')]
        (warmed,) = await pool.warm("llama3.2")
    assert warmed.instance == "fake"
    assert [request.path for request in server.asked] == ["/api/chat", "/api/embed"]


async def test_some_that_fail_are_told_and_the_others_are_done() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a, b) as pool:
        b.fault = BROKEN
        with pytest.raises(UpkeepError, match=r"llama3\.2 was loaded on 1 of 2 instances") as caught:
            await pool.warm("llama3.2", everywhere=True)
        assert [name for name, _ in caught.value.failures] == ["b"]
        assert L in a.loaded


async def test_a_load_counts_as_no_answer() -> None:
    async with FakeOllama(load_s=0.3) as server, pool_of(server) as pool:
        await pool.warm("llama3.2")
        (view,) = pool.instance_views()
        assert (view.total_requests, view.latency_s) == (0, None)
        assert [model.name for model in view.warm] == ["llama3.2"]


# -- pull ---------------------------------------------------------------------------------------------------------------------


async def test_what_was_fetched_can_be_asked_at_once() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b, pool_of(a, b) as pool:
        a.shelf.registry.append("phi:3b")
        b.shelf.registry.append("phi:3b")
        told = [progress async for progress in pool.pull("phi:3b", everywhere=True)]
        assert {each.instance for each in told if each.done} == {"a", "b"}
        shares = [each.share or 0.0 for each in told if each.instance == "a"]
        assert shares == sorted(shares)
        assert shares[-1] == 1.0
        assert all("phi:3b" in view.models for view in pool.instance_views())
        assert (await pool.chat("phi:3b", "hi")).text == "hi "


async def test_closing_the_iterator_stops_the_fetching() -> None:
    async with FakeOllama() as server, pool_of(server) as pool:
        server.shelf.registry.append("phi:3b")
        server.shelf.pull_steps, server.shelf.pull_step_s = 1000, 0.05
        pulling = pool.pull("phi:3b")
        progress: PullProgress = await anext(pulling)
        assert (progress.done, server.shelf.pulling) == (False, 1)
        await pulling.aclose()
        await until(lambda: server.shelf.pulling == 0)
        assert server.models == [L]


# -- preload ------------------------------------------------------------------------------------------------------------------


async def test_models_are_loaded_at_the_start_each_where_the_least_is_loaded() -> None:
    names = ["x:1b", "y:1b", "z:1b"]
    async with FakeOllama("a", names) as a, FakeOllama("b", names) as b, FakeOllama("c", names) as c:
        async with pool_of(a, b, c, preload=tuple(names)):
            await until(lambda: sum(len(each.loaded) for each in (a, b, c)) == 3)
            assert [len(each.loaded) for each in (a, b, c)] == [1, 1, 1]


async def test_the_start_does_not_wait_for_a_load_and_the_end_gives_it_up() -> None:
    async with FakeOllama(load_s=60) as server, pool_of(server, preload=("llama3.2",)):
        await until(lambda: server.in_flight)
    await until(lambda: server.abandoned == 1)


async def test_what_cannot_be_loaded_at_the_start_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "gleitzeit_nb.pool")
    async with FakeOllama() as server, pool_of(server, preload=("nobody:1b", "llama3.2")):
        await until(lambda: server.loads == 1)
    assert "preload of nobody:1b: no instance has the model nobody:1b" in caplog.text
