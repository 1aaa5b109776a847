"""Rate limits and adaptive limits over real sockets."""

from __future__ import annotations

import asyncio
import time

import pytest

from gleitzeit_nb.config import instance_settings
from gleitzeit_nb.core.settings import PoolSettings
from gleitzeit_nb.errors import ConfigError, DeadlineExceededError
from gleitzeit_nb.llm.pool import OllamaPoolManager
from tests.support.fake_ollama import FakeOllama


def limited(server: FakeOllama, **settings: object) -> PoolSettings:
    return PoolSettings(instances=(server.settings(**settings),))


async def test_requests_above_the_rate_wait_and_are_woken_by_time() -> None:
    async with FakeOllama() as server, OllamaPoolManager(settings=limited(server, requests_per_minute=300)) as pool:
        await pool.chat("llama3.2", "hi")
        began = time.monotonic()
        await asyncio.gather(*(pool.chat("llama3.2", "hi") for _ in range(54)))
        assert time.monotonic() - began >= 0.9  # fifty may come at once, the other five one each 0.2 s
        assert len(server.asked) == 55


async def test_the_wait_for_the_rate_counts_against_the_deadline_and_is_explained() -> None:
    async with FakeOllama() as server, OllamaPoolManager(settings=limited(server, requests_per_minute=1)) as pool:
        await pool.chat("llama3.2", "hi")
        assert "its rate limit is used up" in dict(pool.explain("llama3.2"))["fake"]
        with pytest.raises(DeadlineExceededError):
            await pool.chat("llama3.2", "hi", deadline=0.2)
    assert len(server.asked) == 1


async def test_an_instance_with_room_takes_what_another_may_not() -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b:
        settings = PoolSettings(instances=(a.settings(requests_per_minute=6), b.settings()))
        async with OllamaPoolManager(settings=settings) as pool:
            await asyncio.gather(*(pool.chat("llama3.2", "hi") for _ in range(40)))
    assert len(a.asked) == 1
    assert len(b.asked) == 39


async def test_tokens_of_answers_count() -> None:
    async with FakeOllama(tokens=lambda _: ["x "] * 43) as server:
        async with OllamaPoolManager(settings=limited(server, tokens_per_minute=60)) as pool:
            assert (await pool.chat("llama3.2", "hi")).usage.tokens == 50
            assert "its rate limit is used up, asked again in 4" in dict(pool.explain("llama3.2"))["fake"]


async def test_an_adaptive_limit_finds_what_the_server_does_at_once() -> None:
    async with FakeOllama(token_s=0.02) as server:
        server.slots = asyncio.Semaphore(2)
        async with OllamaPoolManager(settings=limited(server, max_concurrent=16, adaptive=True)) as pool:
            await pool.chat("llama3.2", "hi")
            await asyncio.gather(*(pool.chat("llama3.2", "one two three four five six") for _ in range(150)))
            (view,) = pool.instance_views()
    assert 2 <= view.max_concurrent <= 5


async def test_without_it_the_server_queues_what_the_pool_could_have_kept() -> None:
    async with FakeOllama(token_s=0.02) as server:
        server.slots = asyncio.Semaphore(2)
        async with OllamaPoolManager(settings=limited(server, max_concurrent=16)) as pool:
            await pool.chat("llama3.2", "hi")
            replies = await asyncio.gather(*(pool.chat("llama3.2", "one two three four five six") for _ in range(60)))
            assert pool.instance_views()[0].max_concurrent == 16
    assert max(reply.usage.waited_s or 0.0 for reply in replies) > 0.3


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"adaptive": True}, "should name max_concurrent"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"tokens_per_minute": -5}, "tokens_per_minute"),
        ({"requests_per_second": 5}, "did you mean 'requests_per_minute'"),
    ],
)
def test_limits_that_cannot_be_are_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        instance_settings({"id": "a", "url": "http://a:1", **given})
