"""The breaker's automaton: what opens it, how long for, and what closes it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.core.backoff import growing_s, returning_s
from gleitzeit_nb.core.breaker import SLOW_START_STEP_S, SLOW_START_STEPS, TABLE, Breaker, BreakerSettings, BreakerState, Move, Result, Step

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
    history = (Result.SUCCESS, Result.SUCCESS, Result.FAULT, Result.FAULT, Result.SUCCESS, Result.SUCCESS, Result.SUCCESS)
    for result in (*history, Result.FAULT, Result.IGNORED, Result.FAULT):
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


def test_half_of_the_recent_requests_open_it_though_never_three_in_a_row() -> None:
    breaker = Breaker(SETTINGS)
    for result in (Result.FAULT, Result.FAULT, Result.SUCCESS, Result.FAULT):  # four say nothing of a share yet
        assert fail(breaker, 0.0, result) is None
    assert fail(breaker, 0.0, Result.SUCCESS) is None  # a success opens nothing
    assert fail(breaker, 0.0) is not None
    assert breaker.state is BreakerState.OPEN


def test_less_than_half_leave_it_closed_and_old_requests_are_forgotten() -> None:
    breaker = Breaker(SETTINGS)
    for _ in range(40):
        for result in (Result.FAULT, Result.SUCCESS, Result.SUCCESS):
            assert fail(breaker, 0.0, result) is None
    breaker = Breaker(SETTINGS)
    for result in (*[Result.SUCCESS] * 50, *[Result.FAULT, Result.SUCCESS] * 4):
        assert fail(breaker, 0.0, result) is None
    assert fail(breaker, 0.0) is not None  # 5 of the last 10


def test_a_threshold_that_was_raised_is_not_undercut_by_the_share() -> None:
    breaker = Breaker(BreakerSettings(failure_threshold=20))
    for _ in range(19):
        assert fail(breaker, 0.0) is None
    assert fail(breaker, 0.0) is not None


def test_a_failed_probe_opens_it_for_longer() -> None:
    for count in range(1, 9):
        draws = [growing_s(count, 0.5, 30.0, random.Random(seed)) for seed in range(200)]
        floor = min(0.5 * 2 ** (count - 1), 30.0)
        assert floor <= min(draws) <= max(draws) <= min(2 * floor, 30.0)
        assert floor == 30.0 or max(draws) - min(draws) > 0.9 * (min(2 * floor, 30.0) - floor)
    breaker, now = opened(), 0.0
    lengths = []
    for _ in range(12):
        assert breaker.retry_at is not None
        lengths.append(breaker.retry_at - now)
        now = breaker.retry_at
        fail(breaker, now)
    assert lengths == sorted(lengths)
    assert lengths[-1] == pytest.approx(30.0)


def test_in_its_first_three_seconds_a_bad_instance_is_tried_three_times_at_most() -> None:
    for seed in range(100):
        breaker, rng, now, tries = Breaker(), random.Random(seed), 0.0, 0
        while now < 3.0:
            if breaker.admits(now):
                tries += 1
                probe, _ = breaker.begin(now)
                breaker.end(probe, Result.FATAL, "refused", now, rng)
            now += 0.01
        assert tries <= 3


def test_returning_to_the_same_instance_takes_any_time_up_to_the_ceiling() -> None:
    draws = [returning_s(0.5, random.Random(seed)) for seed in range(200)]
    assert 0.0 <= min(draws) < 0.05
    assert 0.45 < max(draws) <= 0.5


def closed_again(now: float) -> Breaker:
    breaker = Breaker(BreakerSettings())
    fail(breaker, now, Result.FATAL)
    now = breaker.retry_at or 0.0
    fail(breaker, now, Result.SUCCESS)
    assert breaker.closed_at == now
    return breaker


def test_what_was_never_open_starts_at_full_speed() -> None:
    assert Breaker(SETTINGS).cap(5.0) is None
    assert Breaker(SETTINGS).eases_at(5.0) is None


def test_what_was_closed_takes_one_then_two_then_four_by_successes() -> None:
    breaker = closed_again(0.0)
    now = breaker.closed_at or 0.0
    caps = []
    for _ in range(SLOW_START_STEPS):
        caps.append(breaker.cap(now))
        fail(breaker, now, Result.SUCCESS)
    assert caps == [1, 2, 4, 8, 16, 32]
    assert breaker.cap(now) is None


def test_what_was_closed_takes_more_by_time_alone() -> None:
    breaker = closed_again(0.0)
    now = breaker.closed_at or 0.0
    assert [breaker.cap(now + step * SLOW_START_STEP_S + 0.01) for step in range(4)] == [1, 2, 4, 8]
    eases_at = breaker.eases_at(now + 0.5)
    assert eases_at == pytest.approx(now + SLOW_START_STEP_S)
    assert breaker.cap(now + 100) is None
    assert breaker.eases_at(now + 100) is None


def test_after_a_fault_no_more_are_let_through_than_would_open_it_until_one_succeeds() -> None:
    breaker = Breaker(SETTINGS)
    fail(breaker, 0.0)
    assert (breaker.cap(0.0), breaker.eases_at(0.0)) == (2, None)
    fail(breaker, 0.0)
    assert breaker.cap(100.0) == 1
    fail(breaker, 0.0, Result.SUCCESS)
    assert breaker.cap(0.0) is None


def test_an_ejection_can_be_cut_short_once_and_not_again_before_one_has_run_its_time() -> None:
    breaker = opened()
    with pytest.raises(RuntimeError):
        breaker.begin(0.0)
    probe, move = breaker.begin(0.0, panic=True)
    assert probe
    assert move is not None
    assert (move.after, breaker.admits(0.0)) == (BreakerState.HALF_OPEN, False)
    breaker.end(True, Result.FAULT, "still", 0.0, RNG)
    assert not breaker.may_panic
    with pytest.raises(RuntimeError):
        breaker.begin(0.0, panic=True)
    fail(breaker, breaker.retry_at or 0.0)
    assert breaker.may_panic


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
    probe, _ = away.begin(0.02)
    assert away.reached(0.02) is None  # a request finds out
    away.end(probe, Result.IGNORED, "", 0.02, RNG)
    assert [away.reached(0.03), away.state] == [None, BreakerState.HALF_OPEN]  # two are wanted to close it
    assert away.reached(0.04) is not None
    assert (away.state, away.cap(0.04)) == (BreakerState.CLOSED, 1)
    failing.missed()  # a health probe failed as well, so the next good one is news
    assert failing.reached(0.02) is not None
    assert Breaker(SETTINGS).reached(0.0) is None


@given(st.lists(st.tuples(st.sampled_from(list(Result)), st.floats(0.0, 5.0)), max_size=60), st.randoms(use_true_random=False))
def test_whatever_happens_one_probe_is_out_at_most_and_it_always_comes_back(
    history: list[tuple[Result, float]], rng: random.Random
) -> None:
    breaker, now, out = Breaker(SETTINGS), 0.0, []
    for result, passed in history:
        now += passed
        panic = result is Result.SUCCESS and breaker.may_panic
        if breaker.admits(now) or panic:
            out.append(breaker.begin(now, panic=panic)[0])
            assert sum(out) <= 1
        if out and result is not Result.IGNORED:
            breaker.end(out.pop(0), result, "", now, rng)
        assert (breaker.state is BreakerState.OPEN) == (breaker.retry_at is not None)
        assert breaker.retry_at is None or breaker.retry_at - now <= SETTINGS.recovery_timeout_s + 1e-9
        assert breaker.closed_at is None or breaker.state is BreakerState.CLOSED
        assert (breaker.cap(now) or 1) >= 1
    for probe in out:
        breaker.end(probe, Result.SUCCESS, "", now, rng)
    assert breaker.admits(now + SETTINGS.recovery_timeout_s)
