"""What models can do, and who is passed over for it."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.core.abilities import Abilities, ContextFit, context_fit, refused_in, told_by, wanted_by
from gleitzeit_nb.core.access import ProxySettings
from gleitzeit_nb.core.addresses import is_loopback
from gleitzeit_nb.core.candidates import Hope, judge
from gleitzeit_nb.core.instances import Instance, InstanceSettings, InstanceState
from gleitzeit_nb.core.models import LoadedModel
from gleitzeit_nb.core.needs import Needs, Wishes
from gleitzeit_nb.core.requests import build_request
from gleitzeit_nb.core.strategies import pick

M = "llama3.2:latest"
SHOW = {"capabilities": ["completion", "tools"], "model_info": {"general.architecture": "llama", "llama.context_length": 8192}}


def instance(id: str, context: int | None = None, abilities: Abilities | None = None, **settings: Any) -> Instance:  # noqa: A002
    made = Instance(InstanceSettings(**{"id": id, "url": f"http://{id}:1", "max_concurrent": 4, **settings}))
    made.learn_models([M])
    made.state = InstanceState.HEALTHY
    if context is not None:
        made.loaded[M] = LoadedModel(M, context_length=context, seen_at=0.0)
    if abilities is not None:
        made.abilities[M] = abilities
    return made


def needs(**asked: Any) -> Needs:
    return Needs.of(build_request("r", asked.pop("kind", "chat"), M, messages="hi", **asked), M)


def picked(instances: list[Instance], seed: int = 1, **asked: Any) -> Instance | None:
    request = build_request("r", "chat", M, messages="hi", **asked)
    return pick(Needs.of(request, M), Wishes.of(request, "least_loaded"), instances, 0.0, random.Random(seed)).instance


def text_of(asked: Needs, one: Instance) -> str:
    return judge(asked, one, 0.0).text


def test_what_a_request_needs_is_read_from_what_it_carries() -> None:
    plain = build_request("r", "chat", M, messages="hi")
    assert wanted_by(plain) == {"completion"}
    seeing = build_request("r", "chat", M, messages=[{"role": "user", "content": "hi", "images": ["aGk="]}], think="high")
    assert wanted_by(seeing) == {"completion", "vision", "thinking"}
    assert wanted_by(build_request("r", "chat", M, messages="hi", think=False, tools=[{}])) == {"completion", "tools"}
    assert wanted_by(build_request("r", "embed", M, inputs="hi")) == {"embedding"}
    assert not needs().ask_abilities
    assert needs(think=True).ask_abilities
    assert needs(min_context=9).ask_abilities


def test_what_is_told_is_believed_and_what_is_not_told_may_be_tried() -> None:
    told = told_by(SHOW, "abc")
    assert (told.capabilities, told.context_length, told.digest) == ({"completion", "tools"}, 8192, "abc")
    assert told.lacks(frozenset({"completion", "vision"})) == {"vision"}
    assert told.lacks(frozenset({"embedding"})) == frozenset()  # many models for text embed as well
    assert told.refusing("embedding").lacks(frozenset({"embedding"})) == {"embedding"}
    assert Abilities().lacks(frozenset({"vision"})) == frozenset()
    assert "has not the ability: thinking" in text_of(needs(think=True), instance("a", abilities=told))
    assert text_of(needs(think=True), instance("a")).startswith("could take it")


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
)
def test_any_answer_is_read(value: Any) -> None:
    told = told_by({"capabilities": value, "model_info": value}, "")
    assert told.context_length is None or told.context_length > 0
    assert isinstance(told_by({"model_info": {"general.architecture": value}}, ""), Abilities)


@pytest.mark.parametrize(
    ("text", "capability"),
    [
        ('"llama3.2" does not support thinking', "thinking"),
        ("registry.ollama.ai/library/llama3.2:latest does not support tools", "tools"),
        ('"nomic-embed-text" does not support chat', "completion"),
        ("This server does not support embeddings. Start it with `--embeddings`", "embedding"),
        ("invalid format", None),
        ("it does not support this", None),
    ],
)
def test_refusals_name_a_capability(text: str, capability: str | None) -> None:
    assert refused_in(text) == capability


def test_contexts_are_ranked_by_how_well_they_serve() -> None:
    trained = Abilities(capabilities=frozenset({"completion"}), context_length=8192)
    assert context_fit(8192, 8192, None, may_reload=False) is ContextFit.HAS
    assert context_fit(8192, None, trained, may_reload=False) is ContextFit.CAN
    assert context_fit(8192, 4096, trained, may_reload=True) is ContextFit.CAN
    assert context_fit(8192, None, None, may_reload=False) is ContextFit.UNKNOWN
    assert context_fit(8192, 4096, trained, may_reload=False) is ContextFit.SMALLER
    assert context_fit(9000, None, trained, may_reload=True) is ContextFit.NEVER


def test_a_minimum_context_filters_and_an_unknown_one_comes_last() -> None:
    trained = Abilities(capabilities=frozenset({"completion"}), context_length=32768)
    has, can, unknown, small = instance("has", 8192), instance("can", abilities=trained), instance("unknown"), instance("small", 4096)
    short = instance("short", abilities=Abilities(capabilities=frozenset({"completion"}), context_length=2048))
    asked = needs(min_context=8192)
    everybody = [unknown, small, short, can, has]
    order = []
    while everybody:
        found = picked(everybody, min_context=8192)
        if found is None:
            break
        order.append(found.id)
        everybody.remove(found)
    assert order == ["has", "can", "unknown"]
    assert "has llama3.2 loaded with a smaller context than 8192; --force-ctx" in text_of(asked, small)
    assert "its llama3.2 holds fewer than 8192 tokens" in text_of(asked, short)
    assert judge(needs(min_context=8192, force_ctx=True), small, 0.0).standing.hope is Hope.NOW


def test_a_larger_num_ctx_goes_rather_where_it_is_loaded_and_excludes_nobody() -> None:
    large, small = instance("large", 8192), instance("small", 4096)
    assert {picked([small, large], seed, options={"num_ctx": 8192}) for seed in range(9)} == {large}
    assert picked([small], options={"num_ctx": 8192}) is small


def test_private_requests_stay_on_this_machine() -> None:
    asked = needs(private=True)
    assert text_of(asked, instance("far")) == "not on this machine"
    assert text_of(asked, instance("near", url="http://127.0.0.1:11434")).startswith("could take it")
    proxied = instance("sly", url="http://127.0.0.1:11434", proxy=ProxySettings(url="http://proxy:3128"))
    assert text_of(asked, proxied) == "not on this machine"


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://localhost:11434", True), ("http://127.8.9.1", True), ("http://[::1]:1", True), ("https://a.localhost/x", True),
        ("http://192.168.0.2", False), ("http://localhost.example.com", False), ("http://127.0.0.1.example.com", False),
        ("http://[::ffff:10.0.0.1]", False), ("http://0x7f000001", False),
    ],
)  # fmt: skip
def test_addresses_of_this_machine_are_told_without_asking_anybody(url: str, local: bool) -> None:
    assert is_loopback(url) is local


def test_the_pools_own_tags_count_for_everybody() -> None:
    barred = instance("a", tags=("gpu",))
    barred.missing_tags = ("cleared",)
    assert text_of(needs(), barred) == "no tag cleared, which the pool requires of everybody"
    assert judge(needs(), barred, 0.0).standing.hope is Hope.NEVER
