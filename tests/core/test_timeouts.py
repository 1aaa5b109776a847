"""How long a first token may take: as configured, else by what is usual."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.core.first_tokens import KEPT, MODELS, FirstTokens
from gleitzeit_nb.core.instances import Instance, InstanceSettings
from gleitzeit_nb.core.models import LoadedModel
from gleitzeit_nb.core.requests import Attempt
from gleitzeit_nb.core.timeouts import (
    COLD_S,
    HELD_BACK_S,
    LEAST_PROMPT_TOKEN_S,
    PROMPT_TOKEN_S,
    SEEN_S,
    UNKNOWN_LOAD_S,
    WARM_S,
    Prompt,
    TimeoutSettings,
    first_token_limit_s,
)

M = "llama3.2:latest"
DEFAULTS = TimeoutSettings()
SHORT = Prompt()


def instance(*first_tokens_s: float, seen_at: float = 0.0) -> Instance:
    made = Instance(InstanceSettings("a", "http://a:1", max_concurrent=8))
    for elapsed_s in first_tokens_s:
        made.load.first_tokens.observe(M, elapsed_s)
    if first_tokens_s:
        made.loaded[M] = LoadedModel(M, seen_at=seen_at)
    return made


def limit_s(one: Instance, *, cold: bool = False, prompt: Prompt = SHORT, settings: TimeoutSettings = DEFAULTS, now: float = 0.0) -> float:
    return first_token_limit_s(settings, one, M, cold, prompt, now)


def test_what_is_configured_is_the_limit() -> None:
    configured = TimeoutSettings(first_token_warm_s=1.5, first_token_cold_s=2.5)
    long = Prompt(tokens=10_000, held_back=True)
    assert limit_s(instance(9.0), settings=configured, prompt=long) == 1.5
    assert limit_s(instance(), settings=configured, prompt=long, cold=True) == 2.5


def test_a_loaded_model_has_four_times_what_is_usual_there() -> None:
    assert limit_s(instance(0.1, 0.2)) == WARM_S
    assert limit_s(instance(*[0.1] * 10, 3.0)) == 12.0


def test_what_was_not_seen_loaded_lately_has_the_time_of_a_load() -> None:
    one = instance(0.1)
    assert limit_s(one, now=SEEN_S - 1) == WARM_S
    assert limit_s(one, now=SEEN_S + 1) == UNKNOWN_LOAD_S
    one.load.load_times_s[M] = 20.0
    assert limit_s(one, now=SEEN_S + 1) == 60.0


def test_a_model_that_must_be_loaded_has_three_times_its_last_load_else_time_by_its_size() -> None:
    one = instance()
    assert limit_s(one, cold=True) == UNKNOWN_LOAD_S
    one.sizes_bytes[M] = 40_000_000_000
    assert limit_s(one, cold=True) == COLD_S + 400
    one.load.load_times_s[M] = 4.0
    assert limit_s(one, cold=True) == COLD_S
    one.load.load_times_s[M] = 90.0
    assert limit_s(one, cold=True) == 270.0


def test_a_long_prompt_and_those_ahead_add_to_it() -> None:
    one = instance(0.1)
    assert limit_s(one, prompt=Prompt(tokens=1000)) == WARM_S + 1000 * PROMPT_TOKEN_S
    one.load.pace(M).prompt_token.observe(0.02, 0.0)
    assert limit_s(one, prompt=Prompt(tokens=1000)) == WARM_S + 1000 * 0.08
    one.load.pace(M).prompt_token.observe(0.0001, 1e6)
    assert limit_s(one, prompt=Prompt(tokens=1000)) == WARM_S + 1000 * LEAST_PROMPT_TOKEN_S
    one.load.succeeded(3.0, 0.0)
    for _ in range(3):
        one.load.begin(M, 0.0)
    assert limit_s(one) == WARM_S + 2 * 3.0
    assert limit_s(instance(0.1), prompt=Prompt(held_back=True)) == HELD_BACK_S


@given(st.lists(st.floats(0.0, 100.0), min_size=1, max_size=120))
def test_the_percentile_is_of_the_last_ones_and_few_are_above_it(seen: list[float]) -> None:
    tokens = FirstTokens()
    for elapsed_s in seen:
        tokens.observe(M, elapsed_s)
    last = seen[-KEPT:]
    found = tokens.p95_s(M)
    assert found in last
    assert sum(each > found for each in last) <= 0.05 * len(last)


def test_names_of_models_do_not_pile_up() -> None:
    tokens = FirstTokens()
    for number in range(3 * MODELS):
        tokens.observe(f"m{number}", 1.0)
    assert tokens.p95_s("m0") is None
    assert tokens.p95_s(f"m{3 * MODELS - 1}") == 1.0


@pytest.mark.parametrize(
    ("attempt", "load_s"),
    [
        (Attempt("a", "ok", "", 5.0, cold=True, first_line_s=3.0), 3.0),
        (Attempt("a", "deadline", "", 5.0, cold=True), 5.0),
        (Attempt("a", "ok", "", 5.0, cold=False, first_line_s=3.0), 0.0),
    ],
)
def test_of_a_cold_try_the_time_to_its_first_line_went_into_loading(attempt: Attempt, load_s: float) -> None:
    assert attempt.load_s == load_s
