"""Whatever JSON a server sends is read, left out, or a fault of that server: never an exception of another kind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gleitzeit_nb.core.abilities import told_by
from gleitzeit_nb.core.requests import Reply, Route
from gleitzeit_nb.core.upkeep import Layers
from gleitzeit_nb.llm.answers import Answer, usage_of
from gleitzeit_nb.llm.faults import InstanceFault, error_text, fault_of_status
from gleitzeit_nb.llm.inventory import digests_of, loaded_of, names_of, sizes_of
from tests.llm.conftest import pool_of
from tests.support.fake_ollama import FakeOllama

HUGE = 10**400
words = st.sampled_from(
    "models name model size size_vram digest details context_length capabilities model_info general.architecture llama.context_length "
    "message content response thinking tool_calls function arguments done done_reason embeddings eval_count eval_duration "
    "prompt_eval_count prompt_eval_duration total_duration load_duration status total completed error logprobs llama".split()
)
numbers = st.integers() | st.just(HUGE) | st.just(-HUGE) | st.floats()
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text() | words, lambda inner: st.lists(inner) | st.dictionaries(words, inner), max_leaves=12
)
objects = st.dictionaries(words, values)
listings = st.fixed_dictionaries({"models": st.lists(st.dictionaries(words, values) | values)}) | objects


READERS: Mapping[str, Callable[[Any], object]] = {
    "names": names_of,
    "digests": digests_of,
    "sizes": sizes_of,
    "loaded": lambda answer: loaded_of(answer, 0.0),
    "shown": lambda answer: told_by(answer, "d"),
    "usage": usage_of,
    "line": lambda answer: Answer().feed([answer]),
    "vectors": lambda answer: Answer(is_embedding=True).feed([answer]),
    "pull": Layers().take,
}


@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@given(listings)
@example({"models": [{"name": "m", "size": 1, "size_vram": HUGE}]})
@example({"embeddings": [[HUGE]]})
@example({"eval_duration": HUGE, "done": True})
@example({"digest": "sha256:a", "total": HUGE, "completed": HUGE})
@example({"model_info": {"general.architecture": "llama", "llama.context_length": HUGE}})
def test_any_object_is_read_or_a_fault(read: Callable[[Any], object], answer: dict[str, Any]) -> None:
    with contextlib.suppress(InstanceFault):
        read(answer)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(words, values))
@example({"eval_count": HUGE, "eval_duration": 1, "total_duration": HUGE, "load_duration": HUGE})
def test_what_follows_from_a_servers_numbers_is_a_number(line: dict[str, Any]) -> None:
    usage = usage_of(line)
    for found in (usage.tokens_per_s, usage.waited_s, float(usage.tokens)):
        assert found is None or math.isfinite(found)
    json.dumps(vars(Reply("", "m", "i", usage, Route(0.0, (), (), ""), 0.0).usage), allow_nan=False)


@given(st.binary(max_size=200) | values.map(lambda value: json.dumps(value).encode()) | st.integers(1, 60_000).map(lambda n: b"[" * n))
@example(b'{"error":' + b"[" * 50_000)
def test_any_body_of_an_error_is_a_text_or_none(body: bytes) -> None:
    found = error_text(body, str)
    assert found is None or found.isprintable()


@given(
    st.text(max_size=40)
    | st.builds(
        "{}, {:02} {} {:04} {:02}:{:02}:{:02} {}".format,
        st.sampled_from(["Mon", "Sun"]),
        st.integers(0, 32),
        st.sampled_from(["Jan", "Feb", "Dec"]),
        st.integers(0, 9999),
        st.integers(0, 25),
        st.integers(0, 61),
        st.integers(0, 61),
        st.sampled_from(["GMT", "-0000", "+2359", "-2359", "+9999", ""]),
    )
)
@example("9" * 40)
@example("Mon, 01 Jan 0001 00:00:00 -0000")
def test_any_retry_after_is_seconds_or_unknown(header: str) -> None:
    wait_s = fault_of_status(503, "busy", path="/api/chat", retry_after=header).retry_after_s
    assert wait_s is None or (wait_s >= 0 and math.isfinite(wait_s))


def test_a_pull_of_absurd_size_is_shown_as_of_unknown_size() -> None:
    layers = Layers()
    layers.take({"digest": "sha256:a", "total": HUGE, "completed": 1})
    layers.take({"digest": "sha256:b", "total": 10, "completed": 4})
    assert (layers.completed_bytes, layers.total_bytes) == (4, 10)


async def test_what_breaks_in_a_pull_is_raised_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeOllama("a") as server, pool_of(server) as pool:
        monkeypatch.setattr(Layers, "take", lambda _self, _line: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(_whole(pool.pull("phi")), 10)


async def _whole(news: Any) -> None:
    async for _ in news:
        pass
