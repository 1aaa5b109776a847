"""The guide's strategies and tags, as parameters of a request. Rewrites: hosts, placeholders, constants (see `rewrites`)."""

from __future__ import annotations

from typing import Any

import pytest

from gleitzeit_nb import LoadBalancingStrategy, OllamaPoolProvider
from gleitzeit_nb.errors import NoInstanceError
from tests.guide.rewrites import rewritten
from tests.support.examples import run
from tests.support.fake_ollama import FakeOllama

MESSAGES = '[{"role": "user", "content": "hello"}]'
REST = {"    ...\n": f'    "messages": {MESSAGES},\n'}
MODEL_TOO = {"    ...\n": f'    "model": "llama3.2", "messages": {MESSAGES},\n'}

LEAST_LOADED = """
params = {
    "load_balancing_strategy": "least_loaded",
    "model": "llama3.2",
    "messages": [...],
}
"""

ROUND_ROBIN = """
params = {
    "load_balancing_strategy": "round_robin",
    ...
}
"""

MODEL_AFFINITY = """
params = {
    "load_balancing_strategy": "model_affinity",
    "model": "mixtral:8x7b",
    ...
}
"""

LATENCY_BASED = """
params = {
    "load_balancing_strategy": "latency_based",
    ...
}
"""

WEIGHTED = """
instances = [
    {"id": "fast", "url": "http://fast:11434", "weight": 3.0},
    {"id": "slow", "url": "http://slow:11434", "weight": 1.0},
]

params = {
    "load_balancing_strategy": "weighted",
    ...
}
"""

BY_TAG = """
params = {
    "instance_tags": ["gpu", "high-memory"],
    "require_gpu": true,
    ...
}
"""


def instance(server: FakeOllama, **more: Any) -> dict[str, Any]:
    return {"id": server.id, "url": server.url, "max_concurrent": 4, **more}


async def chosen(provider: OllamaPoolProvider, params: dict[str, Any], times: int) -> list[str]:
    return [(await provider.execute("llm/chat", params))["instance"] for _ in range(times)]


async def test_least_loaded_goes_where_less_is_going_on() -> None:
    params = (await run(rewritten(LEAST_LOADED, placeholders={"[...]": MESSAGES})))["params"]
    async with FakeOllama("a", token_s=0.05) as a, FakeOllama("b") as b:
        async with OllamaPoolProvider(instances=[instance(a), instance(b)]) as provider:
            stream = provider.pool.stream("llama3.2", "word " * 200, instance="a")
            assert (await anext(stream)).text
            assert await chosen(provider, params, 3) == ["b"] * 3
            await stream.aclose()


async def test_round_robin_takes_turns() -> None:
    params = (await run(rewritten(ROUND_ROBIN, placeholders=REST)))["params"]
    async with FakeOllama("a") as a, FakeOllama("b") as b, FakeOllama("c") as c:
        async with OllamaPoolProvider(instances=[instance(each) for each in (a, b, c)]) as provider:
            turns = await chosen(provider, params, 6)
    assert set(turns[:3]) == {"a", "b", "c"}
    assert turns[3:] == turns[:3]


async def test_model_affinity_stays_where_the_model_is_loaded() -> None:
    params = (await run(rewritten(MODEL_AFFINITY, placeholders=REST)))["params"]
    async with FakeOllama("a", ["mixtral:8x7b"]) as a, FakeOllama("b", ["mixtral:8x7b"]) as b:
        async with OllamaPoolProvider(instances=[instance(a), instance(b)]) as provider:
            assert len(set(await chosen(provider, params, 6))) == 1
        assert a.loads + b.loads == 1


async def test_latency_based_learns_who_is_slow() -> None:
    params = (await run(rewritten(LATENCY_BASED, placeholders=REST)))["params"]
    async with FakeOllama("fast") as fast, FakeOllama("slow", token_s=0.15) as slow:
        async with OllamaPoolProvider(instances=[instance(fast), instance(slow)]) as provider:
            for name in ("fast", "slow", "fast", "slow"):  # once to load the model, once to be measured
                await provider.execute("llm/chat", {**params, "instance": name})
            assert await chosen(provider, params, 5) == ["fast"] * 5


async def test_weighted_shares_by_weight() -> None:
    async with FakeOllama("fast") as fast, FakeOllama("slow") as slow:
        names = await run(rewritten(WEIGHTED, [fast.url, slow.url], REST))
        async with OllamaPoolProvider(instances=names["instances"]) as provider:
            picks = await chosen(provider, names["params"], 40)
    assert 20 < picks.count("fast") < 40


async def test_tags_lead_to_who_has_all_of_them_and_nowhere_else() -> None:
    params = (await run(rewritten(BY_TAG, placeholders=MODEL_TOO)))["params"]
    async with FakeOllama("big", on_gpu=True) as big, FakeOllama("other") as other:
        instances = [instance(big, tags=["gpu", "high-memory"]), instance(other, tags=["gpu"])]
        async with OllamaPoolProvider(instances=instances) as provider:
            assert await chosen(provider, params, 3) == ["big"] * 3
            await provider.pool.remove_instance("big")
            with pytest.raises(NoInstanceError, match="no tag high-memory"):
                await provider.execute("llm/chat", params)


@pytest.mark.parametrize("strategy", list(LoadBalancingStrategy))
async def test_every_member_of_the_enumeration_is_a_strategy(strategy: LoadBalancingStrategy) -> None:
    async with FakeOllama("a") as a, FakeOllama("b") as b:
        async with OllamaPoolProvider(instances=[instance(a), instance(b)], load_balancing={"strategy": strategy}) as provider:
            assert (await provider.execute("llm/chat", {"prompt": "x", "load_balancing_strategy": strategy}))["response"] == "x "
            assert (await provider.pool.get_pool_status())["strategy"] == strategy.value
