"""Retries are a share of the requests, plus a few; and pauses of who is busy."""

from __future__ import annotations

import random

from hypothesis import example, given
from hypothesis import strategies as st

from gleitzeit_nb.core.pauses import LONGEST_ASKED_S, Pause
from gleitzeit_nb.core.retry import ALWAYS, EXPIRES_S, SHARE, RetryBudget

RNG = random.Random(2)


def test_a_few_retries_need_no_requests() -> None:
    budget = RetryBudget()
    assert [budget.spend(0.0) for _ in range(ALWAYS + 1)] == [True] * ALWAYS + [False]


def test_five_requests_earn_one_retry() -> None:
    budget = RetryBudget()
    while budget.spend(0.0):
        pass
    for _ in range(4):
        budget.earn(0.0)
    assert not budget.affords(0.0)
    budget.earn(0.0)
    assert budget.spend(0.0)
    assert not budget.spend(0.0)


def test_what_was_earned_and_what_was_spent_is_forgotten() -> None:
    budget = RetryBudget()
    for _ in range(100):
        budget.earn(0.0)
    assert budget.affords(EXPIRES_S - 0.01)
    for _ in range(ALWAYS):
        assert budget.spend(EXPIRES_S + 1)
    assert not budget.affords(EXPIRES_S + 1)
    assert budget.affords(2 * EXPIRES_S + 2)
    assert repr(budget) == "<RetryBudget 0 retries for 0 requests>"


@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.booleans()), max_size=200))
@example([(0.0, True)] * 5 + [(after, False) for after in (3.0, 0.0, 2.0, 3.0, 3.0)])
def test_no_retry_is_paid_that_the_last_ten_seconds_did_not_earn(steps: list[tuple[float, bool]]) -> None:
    budget, now = RetryBudget(), 0.0
    requests: list[float] = []
    retries: list[float] = []
    for passed, is_request in steps:
        now += passed
        if is_request:
            budget.earn(now)
            requests.append(now)
        elif budget.spend(now):
            retries.append(now)
            recent = sum(at > now - (EXPIRES_S - 1) for at in retries)
            earned = sum(at > now - (EXPIRES_S + 1) for at in requests)
            assert recent <= ALWAYS + SHARE * earned


def test_a_pause_grows_while_it_is_said_again_and_starts_anew_after_an_answer() -> None:
    pause, now, lengths = Pause(), 0.0, []
    for _ in range(5):
        pause.said_busy(now, None, RNG)
        lengths.append(pause.until - now)
        now = pause.until
    assert lengths == sorted(lengths)
    assert 0.5 <= lengths[0] <= 1.0
    assert lengths[-1] <= 5.0
    pause.answered()
    pause.said_busy(now, None, RNG)
    assert pause.until - now <= 1.0


def test_those_who_asked_before_the_pause_do_not_lengthen_it() -> None:
    pause = Pause()
    for _ in range(4):
        pause.said_busy(0.0, None, RNG)
    assert (pause.count, pause.until <= 1.0) == (1, True)


def test_what_is_asked_for_counts_up_to_a_limit() -> None:
    pause = Pause()
    pause.said_busy(0.0, 20.0, RNG)
    assert pause.until == 20.0
    pause.said_busy(0.0, 1e6, RNG)
    assert pause.until == LONGEST_ASKED_S
