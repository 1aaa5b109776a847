"""Rate limits and the limit that finds itself."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.core.adaptive import AdaptiveLimit
from gleitzeit_nb.core.admission import AdmissionQueue
from gleitzeit_nb.core.candidates import Standing, judge
from gleitzeit_nb.core.faults import Cause
from gleitzeit_nb.core.instances import Instance, InstanceSettings, InstanceState
from gleitzeit_nb.core.leases import Outcome, reserve
from gleitzeit_nb.core.limits import RateLimits, TokenBucket
from gleitzeit_nb.core.needs import Needs
from gleitzeit_nb.core.requests import Usage

M = "llama3.2:latest"


def instance(**settings: Any) -> Instance:
    made = Instance(InstanceSettings("a", "http://a:1", **{"max_concurrent": 8, **settings}))
    made.learn_models([M])
    made.state = InstanceState.HEALTHY
    return made


@given(st.floats(0.5, 5000), st.lists(st.floats(0, 20), max_size=200))
def test_no_minute_holds_more_than_the_rate_and_one_burst(per_minute: float, pauses: list[float]) -> None:
    bucket, now, taken = TokenBucket(per_minute), 0.0, []
    for pause in pauses:
        now += pause
        if bucket.ready_at(now) is None:
            bucket.take(1, now)
            taken.append(now)
    for start in taken:
        held = sum(start <= at < start + 60 for at in taken)
        assert held <= per_minute + bucket.capacity + 1e-6


@given(st.floats(0.5, 5000), st.floats(0, 50))
def test_whoever_comes_when_it_is_ready_is_let_through(per_minute: float, spent: float) -> None:
    bucket = TokenBucket(per_minute)
    bucket.take(spent, 0.0)
    at = bucket.ready_at(0.0)
    if at is not None and at > 1e-3:
        assert bucket.ready_at(0.99 * at) is not None
        assert bucket.ready_at(at + 1e-6) is None


def test_tokens_are_charged_as_usual_and_settled_when_they_are_known() -> None:
    rate = RateLimits.of(None, 600)
    assert rate is not None
    assert rate.tokens is not None
    assert rate.tokens.level == 100
    rate.settle(rate.begin(0.0), 300, 0.0)
    assert (rate.tokens.level, rate.ready_at(0.0)) == (-200, 20.1)
    charged = rate.begin(60.0)
    assert (charged, rate.tokens.level) == (300, 100 - 300)
    rate.settle(charged, 0, 60.0)
    assert rate.tokens.level == 100
    assert RateLimits.of(None, None) is None


def test_a_used_up_instance_waits_in_the_words_of_its_limit_and_time_wakes_the_queue() -> None:
    one = instance(requests_per_minute=6)
    queue, needs, rng = AdmissionQueue(), Needs(M), random.Random(1)
    reserve(one, M, 0.0)
    verdict = judge(needs, one, 0.0)
    assert verdict.standing is Standing.LIMITED
    assert verdict.text == "its rate limit is used up, asked again in 10.0 s"
    queue.enter(needs, queue.key(0, 0.0))
    assigned = queue.assign([one], 0.0, rng)
    assert (assigned.granted, assigned.hopeless, assigned.wake_at) == ((), (), 10.0)
    assert len(queue.assign([one], 10.0, rng).granted) == 1


def test_what_an_answer_took_counts_against_the_next() -> None:
    one = instance(tokens_per_minute=60)
    lease = reserve(one, M, 0.0)
    lease.usage = Usage(prompt_tokens=20, completion_tokens=40)
    lease.end(Outcome.SUCCESS, 1.0, random.Random(1))
    assert judge(Needs(M), one, 1.0).standing is Standing.LIMITED
    assert judge(Needs(M), one, 60.0).standing is Standing.FREE


# -- adaptive -----------------------------------------------------------------------------------------------------------------


def test_it_begins_at_the_configured_number_and_falls_when_requests_wait_inside_the_server() -> None:
    limit = AdaptiveLimit(8)
    assert limit.slots == 8
    limit.answered(0.0, 1.0, waited_s=0.5, in_flight=8)
    assert limit.slots == 5
    limit.answered(0.5, 1.1, waited_s=0.5, in_flight=8)  # it began before the decrease: the same evidence
    assert limit.slots == 5
    limit.answered(1.2, 2.0, waited_s=0.5, in_flight=5)
    assert limit.slots == 3


def test_it_grows_only_while_it_is_used() -> None:
    limit = AdaptiveLimit(8)
    limit._set(2.0)
    for _ in range(20):
        limit.answered(0.0, 1.0, waited_s=0.0, in_flight=1)
    assert limit.slots == 2
    for _ in range(100):
        limit.answered(0.0, 1.0, waited_s=0.0, in_flight=limit.slots)
    assert limit.slots == 8


def test_without_the_servers_word_a_slow_answer_counts() -> None:
    limit = AdaptiveLimit(8)
    for number in range(5):
        limit.answered(number, number + 0.2, None, in_flight=8)
    assert limit.slots == 8
    limit.answered(10.0, 11.0, None, in_flight=8)
    assert limit.slots == 5


@given(st.integers(1, 64), st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10), st.none() | st.floats(0, 10), st.booleans())))
def test_it_stays_between_one_and_the_configured_number(most: int, events: list[tuple[float, float, float | None, bool]]) -> None:
    limit, now = AdaptiveLimit(most), 0.0
    for pause, elapsed, waited, refused in events:
        now += pause
        if refused:
            limit.hindered(now - elapsed, now)
        else:
            limit.answered(now - elapsed, now, waited, in_flight=limit.slots)
        assert 1 <= limit.slots <= most


def test_a_server_that_says_that_it_is_busy_gets_fewer() -> None:
    one = instance(adaptive=True)
    leases = [reserve(one, M, 0.0) for _ in range(8)]
    for lease in leases:
        lease.end(Outcome.IGNORED, 0.1, random.Random(1), Cause.BUSY)
    assert (one.slots, repr(one.adaptive)) == (5, "<AdaptiveLimit 5 of 8>")
    one.loaded.clear()
    assert instance().adaptive is None
