"""What the pool tells beside failovers and breakers: models that come and go, and a queue that is full."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gleitzeit_nb.core.admission import AdmissionSettings
from gleitzeit_nb.errors import QueueFullError
from gleitzeit_nb.events import ModelLoaded, ModelUnloaded, QueueFull
from tests.llm.conftest import pool_of
from tests.support.fake_ollama import FakeOllama
from tests.support.waiting import until

PHI = "phi:3b"


async def test_a_load_that_a_request_caused_is_told_with_its_wait() -> None:
    async with FakeOllama("a", load_s=0.05) as a, pool_of(a) as pool:
        seen: list[object] = []
        pool.events.subscribe(seen.append)
        for _ in range(2):
            await pool.chat("llama3.2", "hi")
        (loaded,) = [event for event in seen if isinstance(event, ModelLoaded)]
    assert (loaded.instance, loaded.model) == ("a", "llama3.2:latest")
    assert loaded.waited_s is not None
    assert loaded.waited_s >= 0.05


async def test_models_that_others_load_and_unload_are_told_but_not_what_was_there_before() -> None:
    async with FakeOllama("a", models=["llama3.2:latest", PHI]) as a:
        a.loaded["llama3.2:latest"] = 1
        async with pool_of(a, health_check_interval_s=0.05) as pool:
            pool.touch()
            a.loaded[PHI] = 2
            await until(lambda: any(isinstance(event, ModelLoaded) for event in pool.events.log))
            a.loaded.clear()
            await until(lambda: sum(isinstance(event, ModelUnloaded) for event in pool.events.log) == 2)
            assert [(each.model, each.waited_s) for each in pool.events.log if isinstance(each, ModelLoaded)] == [(PHI, None)]


async def test_a_full_queue_is_told_once_until_there_is_room_again() -> None:
    async with FakeOllama("a") as a, pool_of(a, max_concurrent=1, admission=AdmissionSettings(max_queue=1)) as pool:
        for _ in range(2):
            a.gate.clear()
            waiting = [asyncio.create_task(pool.chat("llama3.2", "hi")) for _ in range(2)]
            await until(lambda: pool.queue_depth == 1 and a.in_flight == 1)
            for _ in range(3):
                with pytest.raises(QueueFullError):
                    await pool.chat("llama3.2", "hi")
            a.gate.set()
            await asyncio.gather(*waiting)
        assert [event.waiting for event in pool.events.log if isinstance(event, QueueFull)] == [1, 1]


async def test_sharing_slots_is_switched_while_requests_run() -> None:
    async with FakeOllama("a") as a, pool_of(a, max_concurrent=1) as pool, pool_of(a, max_concurrent=1) as other:
        a.gate.clear()
        first = asyncio.create_task(pool.chat("llama3.2", "hi"))
        await until(lambda: a.in_flight == 1)
        second = asyncio.create_task(other.chat("llama3.2", "hi"))
        await until(lambda: other.queue_depth == 1)
        await pool.reconfigure(replace(pool.settings, share_slots=False))
        await until(lambda: a.in_flight == 2)
        await pool.reconfigure(replace(pool.settings, share_slots=True))
        a.gate.set()
        await asyncio.gather(first, second)
        assert (await pool.chat("llama3.2", "hi")).text.strip() == "hi"
