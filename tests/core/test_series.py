"""What an instance did over the last minute: nothing counted twice, nothing lost, and nothing told before there was anything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.core.series import BUCKET_S, BUCKETS, AnswerHistory, Occupancy, TokenHistory

MINUTE_S = BUCKETS * BUCKET_S


def test_tokens_are_counted_per_two_seconds_over_a_minute() -> None:
    history = TokenHistory()
    assert history.rates(0.0) == ()
    history.add(10, 100.0)
    history.add(20, 102.5)
    rates = history.rates(103.0)
    assert len(rates) == BUCKETS
    assert rates[-2:] == (5.0, 10.0)
    assert sum(history.rates(100.0 + BUCKETS * BUCKET_S)) == 10.0
    assert sum(history.rates(1000.0)) == 0.0


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0.0, 40.0)), min_size=1, max_size=80))
def test_no_token_is_counted_twice_or_lost_within_the_minute(pieces: list[tuple[int, float]]) -> None:
    history, now, seen = TokenHistory(), 0.0, []
    for tokens, passed in pieces:
        now += passed
        history.add(tokens, now)
        seen.append((now // BUCKET_S, tokens))
    expected = sum(tokens for bucket, tokens in seen if bucket > now // BUCKET_S - BUCKETS)
    assert sum(history.rates(now)) * BUCKET_S == expected


def test_answers_are_told_by_their_mean_and_as_unknown_where_none_ended() -> None:
    history = AnswerHistory()
    assert history.means_s(0.0) == ()
    history.add(1.0, 100.0)
    history.add(3.0, 101.0)
    history.add(0.5, 104.0)
    assert history.means_s(105.0)[-3:] == (2.0, None, 0.5)
    assert len(history.means_s(105.0)) == BUCKETS
    assert history.means_s(105.0 + MINUTE_S) == ()


def test_occupancy_is_the_average_number_of_requests_in_each_bucket() -> None:
    occupancy = Occupancy()
    assert occupancy.levels(0.0) == ()
    occupancy.moved(1, 100.5)
    occupancy.moved(3, 101.0)
    occupancy.moved(0, 103.0)
    levels = occupancy.levels(105.0)
    assert len(levels) == BUCKETS
    assert levels[-3:] == (pytest.approx((0.5 + 3.0) / 2), pytest.approx(1.5), 0.0)
    assert occupancy.levels(103.0 + MINUTE_S + BUCKET_S) == ()


def test_occupancy_goes_on_while_nothing_changes() -> None:
    occupancy = Occupancy()
    occupancy.moved(2, 100.0)
    assert occupancy.levels(1000.5) == (2.0,) * BUCKETS


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0.01, 90.0)), min_size=1, max_size=40))
def test_occupancy_adds_up_to_the_time_that_requests_took(steps: list[tuple[int, float]]) -> None:
    occupancy, now, spans = Occupancy(), 0.0, []
    for level, lasted_s in steps:
        occupancy.moved(level, now)
        spans.append((level, now, now + lasted_s))
        now += lasted_s
    begin = (now // BUCKET_S - BUCKETS + 1) * BUCKET_S
    expected = sum(level * max(0.0, end - max(since, begin)) for level, since, end in spans)
    levels = occupancy.levels(now)
    part_s = now % BUCKET_S
    told = sum(levels[:-1]) * BUCKET_S + (levels[-1] * part_s if levels else 0.0)
    assert told == pytest.approx(expected, abs=1e-6)
