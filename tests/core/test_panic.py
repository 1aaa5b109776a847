"""When most are ejected, each of them is tried once all the same."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.core.breaker import BreakerSettings, BreakerState
from gleitzeit_nb.core.candidates import Standing
from gleitzeit_nb.core.faults import Cause
from gleitzeit_nb.core.instances import Instance, InstanceSettings, InstanceState
from gleitzeit_nb.core.leases import Outcome, reserve
from gleitzeit_nb.core.needs import Needs, Wishes
from gleitzeit_nb.core.strategies import pick

M = "llama3.2:latest"
NEEDS = Needs(M)
WISHES = Wishes("least_loaded")
RNG = random.Random(5)


def instance(number: int, *, ejected: bool = False, slots: int = 1) -> Instance:
    made = Instance(InstanceSettings(f"i{number}", f"http://i{number}:1", max_concurrent=slots), BreakerSettings(first_ejection_s=20.0))
    made.learn_models([M])
    made.state = InstanceState.HEALTHY
    if ejected:
        reserve(made, M, 0.0).end(Outcome.DROPPED, 0.0, RNG, Cause.REFUSED)
        made.state = InstanceState.UNHEALTHY
    return made


def test_a_healthy_one_goes_first() -> None:
    well = instance(0)
    assert pick(NEEDS, WISHES, [instance(1, ejected=True), instance(2, ejected=True), well], 0.0, RNG).instance is well


def test_half_is_not_most() -> None:
    well = instance(0)
    reserve(well, M, 0.0)
    assert pick(NEEDS, WISHES, [instance(1, ejected=True), well], 0.0, RNG).instance is None
    assert pick(NEEDS, WISHES, [instance(1, ejected=True), instance(2, ejected=True), well], 0.0, RNG).instance is not None


def test_who_could_never_serve_does_not_count() -> None:
    elsewhere = [instance(number) for number in range(1, 4)]
    for each in elsewhere:
        each.learn_models(["other"])
    assert pick(NEEDS, WISHES, [instance(0, ejected=True), *elsewhere], 0.0, RNG).instance is not None


def test_who_has_tried_everybody_waits_instead() -> None:
    assert pick(Needs(M, patient=True), WISHES, [instance(0, ejected=True)], 0.0, RNG).instance is None


def test_each_is_tried_once() -> None:
    both = [instance(0, ejected=True), instance(1, ejected=True)]
    seen = []
    for _ in range(2):
        found = pick(NEEDS, WISHES, both, 1.0, RNG).instance
        assert found is not None
        reserve(found, M, 1.0, panic=True).end(Outcome.DROPPED, 1.0, RNG, Cause.REFUSED)
        seen.append(found)
    assert {each.id for each in seen} == {"i0", "i1"}
    assert pick(NEEDS, WISHES, both, 1.0, RNG).instance is None


def test_a_try_that_succeeds_closes_the_breaker() -> None:
    one = instance(0, ejected=True)
    reserve(one, M, 1.0, panic=True).end(Outcome.SUCCESS, 1.5, RNG)
    assert one.breaker.state is BreakerState.CLOSED


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 1)), max_size=8), st.integers(0, 99))
def test_an_ejected_one_is_picked_only_while_most_are_shut_and_nobody_is_free(rows: list[tuple[bool, int]], seed: int) -> None:
    instances = [instance(number, ejected=ejected) for number, (ejected, _) in enumerate(rows)]
    for each, (ejected, busy) in zip(instances, rows, strict=True):
        if busy and not ejected:
            reserve(each, M, 0.0)
    found = pick(NEEDS, WISHES, instances, 0.0, random.Random(seed))
    shut = [each for each, (ejected, _) in zip(instances, rows, strict=True) if ejected]
    free = [each for each, row in zip(instances, rows, strict=True) if row == (False, 0)]
    if free:
        assert found.instance in free
    elif 2 * len(shut) > len(instances):
        assert found.instance in shut
        assert [verdict.text for verdict in found.verdicts if verdict.standing is Standing.PICKED] == ["picked: 0/1 in flight"]
    else:
        assert found.instance is None
