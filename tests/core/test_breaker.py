"""The breaker's automaton: what opens it, how long for, and what closes it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.core.breaker import TABLE, Breaker, BreakerSettings, BreakerState, Move, Result, Step, ejection_s

SETTINGS = BreakerSettings(failure_threshold=3, recovery_timeout_s=30.0, half_open_requests=2, first_ejection_s=0.5)
RNG = random.Random(7)


def fail(breaker: Breaker, now: float, result: Result = Result.FAULT, *, unreachable: bool = False) -> Move | None:
    probe, _ = breaker.begin(now)
    return breaker.end(probe, result, "it broke", now, RNG, unreachable=unreachable)


def opened(*, unreachable: bool = False) -> Breaker:
    breaker = Breaker(SETTINGS)
    fail(breaker, 0.0, Result.FATAL, unreachable=unreachable)
    return breaker


def test_the_table_is_the_picture() -> None:
    assert {(before.value, step.value, after.value) for (before, step), after in TABLE.items()} == {
        ("closed", "trip", "open"),
        ("open", "due", "half_open"),
        ("half_open", "fail", "open"),
        ("half_open", "pass", "closed"),
    }


def test_an_illegal_step_raises_and_changes_nothing() -> None:
    breaker = Breaker(SETTINGS)
    with pytest.raises(KeyError):
        breaker._step(Step.PASS, "")
    assert breaker.state is BreakerState.CLOSED


def test_faults_in_a_row_open_it_and_a_success_between_starts_anew() -> None:
    breaker = Breaker(SETTINGS)
    for result in (Result.FAULT, Result.FAULT, Result.SUCCESS, Result.FAULT, Result.IGNORED, Result.FAULT):
        assert fail(breaker, 0.0, result) is None
    assert fail(breaker, 0.0) == Move(BreakerState.CLOSED, BreakerState.OPEN, "it broke")


def test_one_fatal_fault_opens_it() -> None:
    assert opened().state is BreakerState.OPEN


def test_open_admits_nobody_until_its_time_and_then_one_probe_at_a_time() -> None:
    breaker = opened()
    assert breaker.retry_at is not None
    assert not breaker.admits(breaker.retry_at - 0.01)
    with pytest.raises(RuntimeError):
        breaker.begin(breaker.retry_at - 0.01)
    now = breaker.retry_at
    probe, move = breaker.begin(now)
    assert probe
    assert move is not None
    assert move.after is BreakerState.HALF_OPEN
    assert not breaker.admits(now)
    assert breaker.end(True, Result.IGNORED, "", now, RNG) is None
    assert breaker.admits(now)


def test_as_many_probes_as_configured_close_it() -> None:
    breaker = opened()
    now = breaker.retry_at or 0.0
    assert fail(breaker, now, Result.SUCCESS) is None
    assert fail(breaker, now, Result.SUCCESS) == Move(BreakerState.HALF_OPEN, BreakerState.CLOSED, "the probe succeeded")
    assert breaker.retry_in(now) is None


def test_a_failed_probe_opens_it_for_longer() -> None:
    longest = []
    for count in range(1, 9):
        draws = [ejection_s(count, SETTINGS, random.Random(seed)) for seed in range(200)]
        assert min(draws) >= 0.25
        longest.append(max(draws))
    assert longest == sorted(longest)
    assert longest[0] <= 0.5
    assert 29 < longest[-1] <= 30


def test_what_began_before_it_opened_does_not_count() -> None:
    breaker = Breaker(SETTINGS)
    probe, _ = breaker.begin(0.0)
    fail(breaker, 0.0, Result.FATAL)
    assert breaker.end(probe, Result.SUCCESS, "", 0.1, RNG) is None
    assert breaker.state is BreakerState.OPEN
    now = breaker.retry_at or 0.0
    breaker.begin(now)
    assert breaker.end(False, Result.FAULT, "late", now, RNG) is None
    assert breaker.state is BreakerState.HALF_OPEN


def test_being_reached_helps_only_what_was_unreachable() -> None:
    failing, away = opened(), opened(unreachable=True)
    assert failing.reached(0.01) is None
    assert failing.state is BreakerState.OPEN
    assert away.reached(0.01) is not None
    assert away.state is BreakerState.HALF_OPEN
    assert Breaker(SETTINGS).reached(0.0) is None


@given(st.lists(st.tuples(st.sampled_from(list(Result)), st.floats(0.0, 5.0)), max_size=60), st.randoms(use_true_random=False))
def test_whatever_happens_one_probe_is_out_at_most_and_it_always_comes_back(
    history: list[tuple[Result, float]], rng: random.Random
) -> None:
    breaker, now, out = Breaker(SETTINGS), 0.0, []
    for result, passed in history:
        now += passed
        if breaker.admits(now):
            out.append(breaker.begin(now)[0])
            assert sum(out) <= 1
        if out and result is not Result.IGNORED:
            breaker.end(out.pop(0), result, "", now, rng)
        assert (breaker.state is BreakerState.OPEN) == (breaker.retry_at is not None)
        assert breaker.retry_at is None or breaker.retry_at - now <= SETTINGS.recovery_timeout_s
    for probe in out:
        breaker.end(probe, Result.SUCCESS, "", now, rng)
    assert breaker.admits(now + SETTINGS.recovery_timeout_s)
