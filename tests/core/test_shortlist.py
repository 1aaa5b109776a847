"""Of many instances only some are looked at; what a strategy promises holds all the same."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.core.candidates import Standing, judge
from gleitzeit_nb.core.instances import Instance, InstanceSettings, InstanceState
from gleitzeit_nb.core.leases import reserve
from gleitzeit_nb.core.models import LoadedModel
from gleitzeit_nb.core.needs import Needs, Wishes
from gleitzeit_nb.core.specialities import mismatches
from gleitzeit_nb.core.strategies import MANY, STRATEGIES, pick
from gleitzeit_nb.core.turns import Turns

M = "llama3.2:latest"
NEEDS = Needs(M)
COUNT = MANY + 8

busy = st.lists(st.sampled_from([True, True, True, False]), min_size=COUNT, max_size=COUNT)


def fleet(count: int = COUNT, **settings: list[object]) -> list[Instance]:
    """Instances of one slot each; of each setting the values go round."""
    made = []
    for number in range(count):
        own = {name: values[number % len(values)] for name, values in settings.items()}
        made.append(Instance(InstanceSettings(f"i{number}", f"http://i{number}:1", max_concurrent=1, **own)))  # type: ignore[arg-type]
        made[-1].learn_models([M])
        made[-1].state = InstanceState.HEALTHY
    return made


def occupy(instances: list[Instance], busy: list[bool]) -> None:
    for instance, is_busy in zip(instances, busy, strict=True):
        if is_busy:
            reserve(instance, M, 0.0)


def free(instances: list[Instance]) -> list[Instance]:
    return [each for each in instances if judge(NEEDS, each, 0.0).standing is Standing.FREE]


@given(busy, st.integers(0, 1000))
def test_no_later_tier_is_asked_while_somebody_of_an_earlier_one_is_free(busy: list[bool], seed: int) -> None:
    instances = fleet(priority=[3, 1, 2, 1, 9])
    occupy(instances, busy)
    found = pick(NEEDS, Wishes("priority"), instances, 0.0, random.Random(seed)).instance
    if not free(instances):
        assert found is None
    else:
        assert found is not None
        assert found.settings.priority == min(each.settings.priority for each in free(instances))


@given(busy, st.integers(0, 1000))
def test_whose_speciality_fits_best_goes_first(busy: list[bool], seed: int) -> None:
    instances = fleet(specialization=["code", None, "vision", "large-models"])
    instances[3].sizes_bytes[M] = int(50e9)  # one of them knows that it is a large one
    occupy(instances, busy)
    wishes = Wishes("specialization", images=True)
    ranks = dict(zip(instances, mismatches(NEEDS, wishes, instances), strict=True))
    assert [ranks[each] for each in instances[:4]] == [2, 1, 0, 0]
    found = pick(NEEDS, wishes, instances, 0.0, random.Random(seed)).instance
    if free(instances):
        assert found is not None
        assert ranks[found] == min(ranks[each] for each in free(instances))


@pytest.mark.parametrize("strategy", ["round_robin", "weighted"])
@given(busy=busy, seed=st.integers(0, 1000))
def test_in_turn_goes_who_is_first_of_the_free_ones(strategy: str, busy: list[bool], seed: int) -> None:
    instances, rng, turns = fleet(weight=[1.0, 2.0]), random.Random(seed), Turns()
    for instance in rng.sample(instances, 30):
        turns.take(instance)
    occupy(instances, busy)
    found = pick(NEEDS, Wishes(strategy), instances, 0.0, rng).instance
    turn = STRATEGIES[strategy].turn
    assert turn is not None
    if free(instances):
        assert found is not None
        assert turn(found) == min(map(turn, free(instances)))


def test_round_robin_goes_round_many() -> None:
    instances, turns, order = fleet(100), Turns(), []
    for number in range(200):
        found = pick(NEEDS, Wishes("round_robin"), instances, 0.0, random.Random(number)).instance
        assert found is not None
        turns.take(found)
        order.append(found.id)
    assert set(Counter(order[:100]).values()) == {1}
    assert order[:100] == order[100:]
    assert order[:3] != ["i0", "i1", "i2"], "the first round is by chance"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_the_request_would_rather_have_goes_before_the_strategy(strategy: str) -> None:
    instances = fleet(priority=[1, 2], weight=[1.0, 3.0], specialization=[None, "code"])
    for seed in range(5):
        found = pick(NEEDS, Wishes(strategy, preference="i37"), instances, 0.0, random.Random(seed))
        assert found.instance is instances[37]
    reserve(instances[37], M, 0.0)
    assert pick(NEEDS, Wishes(strategy, preference="i37"), instances, 0.0, random.Random(1)).instance is not instances[37]
    for each in instances:
        each.load.latency.observe(9.0, 0.0)
    instances[5].load.latency.value = 0.1
    assert pick(NEEDS, Wishes(strategy, max_latency_s=1.0), instances, 0.0, random.Random(1)).instance is instances[5]


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(busy=busy, seed=st.integers(0, 1000))
def test_somebody_is_found_when_one_of_many_is_free(strategy: str, busy: list[bool], seed: int) -> None:
    instances = fleet()
    for each in instances:
        each.loaded[M] = LoadedModel(M, seen_at=0.0)
    occupy(instances, busy)
    found = pick(NEEDS, Wishes(strategy), instances, 0.0, random.Random(seed))
    if free(instances):
        assert found.instance in free(instances) or found.waiting is not None
    else:
        assert found.instance is None
        assert len(found.verdicts) == COUNT, "that nobody can take it is said of everybody"
