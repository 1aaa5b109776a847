"""Slots that several pools share: taken in the step in which a request is placed, looked for again while somebody waits."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.core.admission import AdmissionQueue
from gleitzeit_nb.core.candidates import Standing, judge
from gleitzeit_nb.core.instances import Instance, InstanceSettings, InstanceState
from gleitzeit_nb.core.leases import Outcome, reserve, try_reserve
from gleitzeit_nb.core.needs import Needs, Wishes
from gleitzeit_nb.core.sharing import LOOK_AGAIN_S, STAND_BACK_S, TURN_S, GiveBack, courtesy_s, look_again_at, smallest
from gleitzeit_nb.core.strategies import advise

M = "llama3.2:latest"
RNG = random.Random(3)


class Shared:
    """So many slots for all who hold it."""

    def __init__(self, free: int, limit: int | None = None) -> None:
        self.free = free
        self.limit = limit
        self.away_s = 0.0
        self.asked: list[tuple[str, int, bool]] = []

    def take(self, model: str, slots: int, *, one_per_model: bool) -> GiveBack | None:
        self.asked.append((model, slots, one_per_model))
        if not self.free:
            return None
        self.free -= 1
        return self.give_back

    def give_back(self) -> None:
        self.free += 1

    def stand_back_s(self, now: float) -> float:
        return self.away_s


def instance(id: str, share: Shared | None, slots: int | None = 4) -> Instance:  # noqa: A002
    made = Instance(InstanceSettings(id, f"http://{id}:1", max_concurrent=slots), state=InstanceState.HEALTHY, share=share)
    made.learn_models([M])
    return made


def test_a_shared_slot_is_held_from_the_placement_to_the_end() -> None:
    shared = Shared(2)
    one = instance("a", shared)
    lease = try_reserve(one, M, 0.0, RNG)
    assert lease is not None
    assert (shared.free, shared.asked) == (1, [(M, 4, False)])
    assert lease.end(Outcome.IGNORED, 1.0, RNG)
    assert not lease.end(Outcome.SUCCESS, 2.0, RNG)
    assert shared.free == 2


def test_who_finds_no_shared_slot_chooses_another_instance() -> None:
    queue, full, free = AdmissionQueue(), instance("full", Shared(0)), instance("free", None)
    reserve(free, M, 0.0)  # so that `full` looks better
    queue.enter(Needs(M), queue.key(0, 0.0))
    (grant,) = queue.assign([full, free], 0.0, RNG).granted
    assert grant.lease.instance is free
    assert [each.standing for each in grant.verdicts] == [Standing.ELSEWHERE, Standing.PICKED]
    assert full.load.in_flight == 0


def test_who_waits_for_another_kernel_looks_again_soon_and_others_do_not_look_meanwhile() -> None:
    queue, shared = AdmissionQueue(), Shared(0)
    one = instance("a", shared)
    waiters = [queue.enter(Needs(M), queue.key(0, float(each))) for each in range(3)]
    found = queue.assign([one], 10.0, RNG)
    assert not found.granted
    assert found.wake_at is not None
    assert LOOK_AGAIN_S[0] <= found.wake_at - 10.0 <= LOOK_AGAIN_S[1]
    assert queue.assign([one], 10.01, RNG).wake_at == found.wake_at
    assert len(shared.asked) == 1
    shared.free = 1
    assert [each.waiter for each in queue.assign([one], found.wake_at, RNG).granted] == [waiters[0]]


def test_an_own_slot_that_is_given_back_is_taken_again_at_once_unless_others_are_due() -> None:
    shared = Shared(1)
    one = instance("a", shared)
    lease = try_reserve(one, M, 0.0, RNG)
    assert try_reserve(one, M, 0.0, RNG) is None
    assert lease is not None
    lease.end(Outcome.SUCCESS, 0.01, RNG)
    again = try_reserve(one, M, 0.01, RNG)
    assert judge(Needs(M), one, 0.01).standing is Standing.FREE
    shared.away_s = 0.25
    assert again is not None
    again.end(Outcome.SUCCESS, 1.0, RNG)
    assert judge(Needs(M), one, 1.2).standing is Standing.ELSEWHERE
    assert judge(Needs(M), one, 1.26).standing is Standing.FREE


def test_the_limit_of_another_kernel_counts_where_it_is_smaller() -> None:
    assert [instance("a", Shared(9, limit), 4).slots for limit in (None, 2, 8)] == [4, 2, 4]


def test_a_limit_that_shrinks_while_a_slot_is_taken_is_kept() -> None:
    shared = Shared(9)
    one = instance("a", shared)
    held = [try_reserve(one, M, 0.0, RNG) for _ in range(2)]

    def take(model: str, slots: int, *, one_per_model: bool) -> GiveBack | None:
        shared.limit = 2
        return Shared.take(shared, model, slots, one_per_model=one_per_model)

    shared.take = take  # type: ignore[method-assign]
    assert try_reserve(one, M, 0.0, RNG) is None
    assert (shared.free, len(held), one.load.in_flight) == (7, 2, 2)


def test_without_a_limit_of_its_own_it_asks_for_one_request_per_model() -> None:
    shared = Shared(1)
    try_reserve(instance("a", shared, None), M, 0.0, RNG)
    assert shared.asked == [(M, 1, True)]


def test_advice_names_a_busy_instance_rather_than_nobody() -> None:
    one = instance("a", Shared(0))
    one.elsewhere_until = 5.0
    assert advise(Needs(M), Wishes(), [one], 0.0, RNG).instance is one


@given(st.lists(st.none() | st.integers(1, 100)))
def test_the_smallest_limit_wins_and_none_is_no_limit(limits: list[int | None]) -> None:
    numbers = [limit for limit in limits if limit is not None]
    assert smallest(limits) == (min(numbers) if numbers else None)


@given(st.floats(0, 1e9), st.integers(0, 1000))
def test_looks_are_never_closer_and_never_farther_than_promised(now: float, seed: int) -> None:
    assert now + LOOK_AGAIN_S[0] <= look_again_at(now, random.Random(seed)) <= now + LOOK_AGAIN_S[1]


@pytest.mark.parametrize(
    ("worked_s", "others_wait", "away_s"), [(TURN_S, True, STAND_BACK_S), (TURN_S / 2, True, 0.0), (100.0, False, 0.0)]
)
def test_a_pool_lets_others_go_first_only_after_its_turn(worked_s: float, others_wait: bool, away_s: float) -> None:
    assert courtesy_s(1000.0, 1000.0 + worked_s, others_wait=others_wait) == away_s
