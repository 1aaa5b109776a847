"""From the public keywords to the one value."""

from __future__ import annotations

from typing import Any

import pytest

from gleitzeit_nb.core.requests import LLMRequest, RequestOptions, build_request


def test_synonyms_mean_the_same() -> None:
    canonical = build_request("r", "chat", "m", messages="hi", tags=["a"], strategy="round_robin")
    assert build_request("r", "chat", "m", messages="hi", instance_tags="a", load_balancing_strategy="round_robin") == canonical
    assert canonical.messages == ({"role": "user", "content": "hi"},)
    with pytest.raises(TypeError, match="different things"):
        build_request("r", "chat", "m", tags=["a"], instance_tags=["b"])


def test_every_documented_keyword_is_taken() -> None:
    values: dict[str, Any] = dict.fromkeys(RequestOptions.__annotations__)
    values |= {"require_gpu": True, "priority": 3, "max_latency": 100, "deadline": 2, "fallback_model": "x"}
    request = build_request("r", "chat", "m", messages="hi", **values)
    assert (request.require_gpu, request.priority, request.max_latency_ms, request.deadline_s) == (True, 3, 100.0, 2.0)
    assert request.fallback_models == ("x",)
    assert request.options == {}


def test_each_keyword_finds_its_place() -> None:
    values: dict[str, Any] = {
        "tags": ["a"], "strategy": "weighted", "instance": "i", "instance_preference": "p", "fallback_model": "f", "require_gpu": 1,
        "min_context": 9, "force_ctx": True, "private": True, "max_latency": 5, "deadline": 6, "restart_on_cut": True, "priority": 7,
        "session": "s", "format": "json", "options": {"seed": 1}, "keep_alive": "1m", "think": "low", "tools": [{}], "suffix": "x",
        "raw": True, "cache": False, "logprobs": 3,
    }  # fmt: skip
    other = {"instance_tags", "load_balancing_strategy", "schema", "images"}
    assert values.keys() | other == set(RequestOptions.__annotations__)
    asked, plain = build_request("r", "generate", "m", prompt="p", **values), build_request("r", "generate", "m", prompt="p")
    fields = {name for name, value in vars(asked).items() if value != getattr(plain, name)}
    renamed = {"fallback_model": "fallback_models", "max_latency": "max_latency_ms", "deadline": "deadline_s", "keep_alive": "keep_alive_s"}
    assert fields == {renamed.get(name, name) for name in values}


def test_tags_may_be_one_text() -> None:
    assert build_request("r", "chat", "m", tags="gpu, big ,").tags == ("gpu", "big")


@pytest.mark.parametrize(
    ("name", "value"), [("deadline", 0), ("deadline", -1.0), ("deadline", float("nan")), ("max_latency", float("inf"))]
)
def test_times_must_be_positive(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a number greater than 0"):
        build_request("r", "chat", "m", **{name: value})  # type: ignore[arg-type]


def test_images_join_the_last_words_of_the_user() -> None:
    dialogue = [
        {"role": "user", "content": "old"},
        {"role": "user", "content": "new", "images": ["a"]},
        {"role": "assistant", "content": "x"},
    ]
    request = build_request("r", "chat", "m", messages=dialogue, images=["b"])
    assert [message.get("images") for message in request.messages] == [None, ["a", "b"], None]
    assert dialogue[1]["images"] == ["a"]
    with pytest.raises(ValueError, match="message of the user"):
        build_request("r", "chat", "m", messages=[{"role": "system", "content": "x"}], images=["b"])
    assert build_request("r", "generate", "m", prompt="p", images=["b"]).images == ("b",)


def test_an_unknown_keyword_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="unknown keyword 'instance_prefernce' of a request; did you mean 'instance_preference'"):
        build_request("r", "chat", "m", instance_prefernce="a")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="known: tags, instance_tags"):
        build_request("r", "chat", "m", zzzzz=1)  # type: ignore[call-arg]


def test_requests_are_equal_by_value() -> None:
    assert build_request("r", "embed", "m", inputs="a") == LLMRequest("r", "embed", "m", inputs=("a",))
