"""When two requests are the same, and what is kept of a reply."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.core.remembering import KeptReply, demands, excerpt, fingerprint, has_tool_results, plain_reply
from gleitzeit_nb.core.requests import Reply, Route, Usage, build_request
from tests.support.receipts import ANSWERED

BASE = build_request("r", "chat", "phi", messages="hi", options={"seed": 1, "temperature": 0})


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "other"},
        {"label": "[7] %%llm"},
        {"tags": ("gpu",)},
        {"instance": "a"},
        {"deadline_s": 3.0},
        {"priority": 4},
        {"options": {"temperature": 0, "seed": 1}},
        {"alias": "fast"},
        {"cache": True},
    ],
)
def test_who_should_answer_and_how_soon_is_no_part_of_what_is_asked(changes: dict[str, Any]) -> None:
    assert fingerprint(replace(BASE, **changes), "phi") == fingerprint(BASE, "PHI:latest")


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "generate"},
        {"messages": ({"role": "user", "content": "ho"},)},
        {"messages": ({"role": "user", "content": "hi", "images": ["aaaa"]},)},
        {"prompt": "hi"},
        {"system": "hi"},
        {"inputs": ("hi",)},
        {"images": ("aaaa",)},
        {"suffix": ""},
        {"raw": True},
        {"format": "json"},
        {"options": {"seed": 2, "temperature": 0}},
        {"think": False},
        {"tools": ({"type": "function"},)},
        {"logprobs": 0},
    ],
)
def test_everything_that_is_asked_counts(changes: dict[str, Any]) -> None:
    assert fingerprint(replace(BASE, **changes), "phi") != fingerprint(BASE, "phi")


def test_demands_are_what_decides_who_may_answer_and_how_long_it_may_take() -> None:
    same: list[dict[str, Any]] = [{"id": "other"}, {"label": "x"}, {"priority": 4}, {"session": "s"}, {"prompt": "p"}, {"cache": True}]
    others: list[dict[str, Any]] = [
        {"tags": ("gpu",)},
        {"instance": "a"},
        {"fallback_models": ("x",)},
        {"require_gpu": True},
        {"min_context": 9},
        {"private": True},
        {"deadline_s": 1.0},
    ]
    assert {demands(replace(BASE, **changes)) for changes in same} == {demands(BASE)}
    assert len({demands(replace(BASE, **changes)) for changes in [*others, {}]}) == len(others) + 1


def test_another_model_or_digest_is_another_question() -> None:
    assert len({fingerprint(BASE, "phi"), fingerprint(BASE, "phi:3b"), fingerprint(BASE, "phi", "abc")}) == 3


def test_what_could_not_be_sent_has_no_fingerprint() -> None:
    with pytest.raises(TypeError):
        fingerprint(replace(BASE, options={"x": object()}), "phi")


def test_the_excerpt_is_the_users_last_words_on_one_line() -> None:
    said = [
        {"role": "user", "content": "first"},
        {"role": "user", "content": "last\n\x1b[2J" + "x" * 200},
        {"role": "tool", "content": "no"},
    ]
    text = excerpt(build_request("r", "chat", "phi", messages=said))
    assert text.startswith("last ␛[2Jxxx")
    assert len(text) == 80
    assert excerpt(build_request("r", "generate", "phi", prompt="once")) == "once"
    assert excerpt(build_request("r", "embed", "phi", inputs=["a", "b"])) == "a"
    assert has_tool_results(build_request("r", "chat", "phi", messages=said))
    assert not has_tool_results(BASE)


texts = st.text()
mappings = st.lists(st.dictionaries(texts, texts | st.integers()), max_size=3).map(tuple)
numbers = st.floats(allow_nan=False, allow_infinity=False)
replies = st.builds(
    Reply,
    text=texts,
    model=texts,
    instance=texts,
    usage=st.builds(Usage, prompt_tokens=st.none() | st.integers(0), completion_s=st.none() | numbers),
    route=st.just(Route(0.0, (), (), "")),
    elapsed_s=st.just(0.0),
    done_reason=texts,
    thinking=texts,
    alias=texts,
    receipt=st.none() | st.just(ANSWERED),
    tool_calls=mappings,
    logprobs=mappings,
    embeddings=st.lists(st.lists(numbers, max_size=4).map(tuple), max_size=3).map(tuple),
)


@given(replies)
def test_what_was_said_comes_back_as_it_was(reply: Reply) -> None:
    kept = KeptReply.read(json.loads(json.dumps(plain_reply(reply))))
    assert all(getattr(kept, name) == getattr(reply, name) for name in vars(kept) if name != "digest")
    assert kept.digest == (reply.receipt.digest if reply.receipt is not None else "")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)
names = st.sampled_from(["text", "model", "usage", "embeddings", "tool_calls", "logprobs", "thinking", "prompt_tokens"])


@given(json_values | st.dictionaries(names, json_values | st.dictionaries(names, json_values)))
def test_anything_else_is_refused_or_read_and_never_a_surprise(plain: Any) -> None:
    try:
        kept = KeptReply.read(plain)
    except ValueError:
        return
    assert isinstance(kept.text, str)
    assert all(isinstance(each, dict) for each in kept.tool_calls)
