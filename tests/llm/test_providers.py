"""The guide's task interface, and finding servers that nobody configured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from gleitzeit_nb.core.settings import PoolSettings
from gleitzeit_nb.core.strategy_names import LoadBalancingStrategy
from gleitzeit_nb.errors import ConfigError, NoInstanceError
from gleitzeit_nb.llm.discovery import discover
from gleitzeit_nb.llm.pool import OllamaPoolManager
from gleitzeit_nb.llm.providers import OllamaPoolProvider, OllamaProvider
from tests.llm.conftest import pool_of
from tests.support.fake_ollama import FakeOllama, Fault, Kind


async def test_a_provider_makes_its_pool_from_the_guides_dictionaries() -> None:
    async with FakeOllama() as a, FakeOllama() as b:
        provider = OllamaPoolProvider(
            provider_id="ollama_pool",
            instances=[
                {"id": "primary", "url": a.url, "models": ["llama3.2"], "max_concurrent": 5},
                {"id": "secondary", "url": b.url, "models": ["llama3.2", "mistral"], "max_concurrent": 5, "tags": ["gpu"]},
            ],
        )
        await provider.initialize()
        result = await provider.execute(
            method="llm/chat",
            params={
                "model": "llama3.2",
                "messages": [{"role": "user", "content": "Hello!"}],
                "instance_tags": ["gpu"],
                "load_balancing_strategy": "round_robin",
                "max_latency": 1000,
                "temperature": 0.1,
            },
        )
        await provider.close()
    assert (result["response"], result["model"], result["instance"]) == ("Hello! ", "llama3.2", "secondary")
    assert result["message"] == {"role": "assistant", "content": "Hello! "}
    assert result["usage"]["completion_tokens"] == 1
    assert b.asked[0].body["options"] == {"temperature": 0.1}


async def test_one_server_is_a_pool_of_one() -> None:
    async with FakeOllama() as a, OllamaProvider(provider_id="ollama", ollama_url=a.url) as provider:
        result = await provider.execute("llm/generate", {"model": "llama3.2", "prompt": "one"})
        assert (result["response"], result["instance"]) == ("one ", "ollama")
        assert repr(provider).startswith("<OllamaProvider 'ollama' on <OllamaPoolManager 1/1 healthy")


async def test_a_strategy_may_be_a_member_of_the_enumeration_wherever_a_name_may_stand() -> None:
    by_turns = LoadBalancingStrategy.ROUND_ROBIN
    async with FakeOllama("a") as a:
        instances = [{"id": "a", "url": a.url}]
        async with OllamaPoolProvider(instances=instances, load_balancing={"strategy": by_turns}) as provider:
            assert type(provider.pool.settings.balancing.strategy) is str
            assert (await provider.execute("llm/chat", {"prompt": "x", "load_balancing_strategy": by_turns}))["instance"] == "a"
            assert (await provider.pool.chat("", "x", strategy=by_turns)).route.strategy == "round_robin"
            assert await provider.pool.get_instance(strategy=by_turns) == a.url
    with pytest.raises(ConfigError, match="strategy"):
        OllamaPoolManager([], {"strategy": "round_robbin"})


async def test_what_else_an_answer_holds_is_in_the_dictionary() -> None:
    def said(body: Mapping[str, Any]) -> list[str]:
        return ['{"n": 3}']

    async with FakeOllama("a", tokens=said) as a, OllamaPoolProvider(instances=[{"id": "a", "url": a.url}]) as provider:
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        result = await provider.execute("llm/chat", {"prompt": "x", "schema": schema})
        assert result["parsed"] == {"n": 3}
        assert "parsed" not in await provider.execute("llm/chat", {"prompt": "x"})


async def test_an_instance_can_be_looked_at_now() -> None:
    async with FakeOllama("a") as a, pool_of(a) as pool:
        assert await pool.health_check("a")
        await a.die()
        assert not await pool.health_check("a")
        await a.listen()
        assert await pool.health_check("a")
        with pytest.raises(NoInstanceError, match="no instance 'b'"):
            await pool.health_check("b")


async def test_the_other_methods_and_what_is_wrong() -> None:
    async with FakeOllama("a") as a, pool_of(a) as pool:
        provider = OllamaPoolProvider(pool=pool)
        assert (await provider.execute("llm/generate", {"model": "llama3.2", "prompt": "one two"}))["response"] == "one two "
        assert (await provider.execute("llm/chat", {"model": "llama3.2", "prompt": "hi"}))["response"] == "hi "
        assert len((await provider.execute("llm/embed", {"model": "llama3.2", "input": ["a", "b"]}))["embeddings"]) == 2
        assert (await provider.execute("llm/chat", {"model": "none", "fallback_model": "llama3.2", "prompt": "hi"}))["model"] == "llama3.2"
        with pytest.raises(NoInstanceError):
            await provider.execute("llm/chat", {"model": "llama3.2", "prompt": "hi", "require_gpu": True})
        with pytest.raises(ValueError, match="did you mean 'llm/chat'"):
            await provider.execute("llm/chatt", {})
        with pytest.raises(TypeError, match="did you mean 'instance_tags'"):
            await provider.execute("llm/chat", {"model": "llama3.2", "prompt": "hi", "instance_tag": ["gpu"]})
        await provider.close()
        assert (await pool.chat("llama3.2", "still open")).text


async def test_a_pool_is_made_from_the_guides_dictionaries() -> None:
    async with FakeOllama() as a:
        pool = OllamaPoolManager(
            instances=[{"id": "a", "url": a.url}],
            load_balancing={"strategy": "round_robin", "retry_attempts": 1},
            health_check_interval=7,
            circuit_breaker_config={"failure_threshold": 5, "recovery_timeout": 60},
        )
        assert pool.settings.balancing.strategy == "round_robin"
        assert pool.settings.balancing.health_check_interval_s == 7
        assert (pool.settings.breaker.failure_threshold, pool.settings.breaker.recovery_timeout_s) == (5, 60)
        async with pool:
            assert (await pool.chat("llama3.2", "hi")).instance == "a"
    with pytest.raises(TypeError, match="not both"):
        OllamaPoolManager(instances=[], settings=PoolSettings())


async def test_discovery_finds_who_answers_as_an_ollama() -> None:
    async with FakeOllama() as a, FakeOllama() as b, FakeOllama() as page:
        page.fault = Fault(Kind.HTML, everywhere=True)
        await b.die()
        found = await discover([a.url, b.url, page.url, a.url, a.url.replace("127.0.0.1", "localhost")])
    assert [(each.id, each.url) for each in found] == [(f"local-{a.port}", a.url)]
    assert await discover([]) == []
