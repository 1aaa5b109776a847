"""Filter, score, choose: who is picked, and what is said of the others."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.core.candidates import Hope, Standing, judge
from gleitzeit_nb.core.faults import Cause
from gleitzeit_nb.core.instances import Instance, InstanceSettings, InstanceState
from gleitzeit_nb.core.leases import Outcome, reserve
from gleitzeit_nb.core.models import LoadedModel
from gleitzeit_nb.core.needs import Needs, Wishes
from gleitzeit_nb.core.strategies import STRATEGIES, advise, pick, strategy_named
from gleitzeit_nb.core.turns import Turns
from gleitzeit_nb.errors import ConfigError

M = "llama3.2:latest"
NEEDS = Needs(M)
LEAST = Wishes("least_loaded")


def instance(id: str, busy: int = 0, *, models: tuple[str, ...] = (M,), **settings: object) -> Instance:  # noqa: A002
    made = Instance(InstanceSettings(id, f"http://{id}:1", **{"max_concurrent": 4, **settings}))  # type: ignore[arg-type]
    made.learn_models(models)
    made.state = InstanceState.HEALTHY
    for _ in range(busy):
        reserve(made, M, 0.0)
    return made


def chosen(needs: Needs, *instances: Instance, wishes: Wishes = LEAST, now: float = 0.0, seed: int = 1) -> str | None:
    found = pick(needs, wishes, instances, now, random.Random(seed)).instance
    return found.id if found else None


def test_least_loaded_goes_by_the_share_of_busy_slots() -> None:
    assert chosen(NEEDS, instance("a", 2, max_concurrent=8), instance("b", 1, max_concurrent=2)) == "a"


def test_among_equals_the_warm_one_then_chance() -> None:
    warm = instance("w")
    warm.loaded[M] = LoadedModel(M, seen_at=0.0)
    assert {chosen(NEEDS, instance("a"), warm, instance("b"), seed=seed) for seed in range(20)} == {"w"}
    draws = Counter(chosen(NEEDS, instance("a"), instance("b"), instance("c"), seed=seed) for seed in range(300))
    assert min(draws.values()) > 60


def test_round_robin_takes_who_was_picked_longest_ago() -> None:
    order = turns_of("round_robin", 6, *(instance(name) for name in "abc"))
    assert sorted(order[:3]) == ["a", "b", "c"]
    assert order[:3] == order[3:]


def turns_of(strategy: str, count: int, *instances: Instance) -> list[str]:
    """Who is picked, one after the other, when each answers at once."""
    turns, order = Turns(), []
    for number in range(count):
        found = pick(NEEDS, Wishes(strategy), instances, 0.0, random.Random(number)).instance
        assert found is not None
        turns.take(found)
        reserve(found, M, 0.0).end(Outcome.SUCCESS, 0.0, random.Random(1))
        order.append(found.id)
    return order


def test_weighted_gives_turns_in_proportion_and_evenly_spread() -> None:
    order = turns_of("weighted", 70, instance("heavy", weight=5.0), instance("a", weight=1.0), instance("b", weight=1.0))
    assert Counter(order) == {"heavy": 50, "a": 10, "b": 10}
    assert "heavy" * 7 not in "".join(order)


def test_weighted_does_not_make_up_for_an_absence() -> None:
    back, other = instance("back"), instance("other")
    back.draining = True
    turns = Turns()
    for _ in range(50):
        turns.take(other)
    back.draining = False
    order = []
    for number in range(10):
        found = pick(NEEDS, Wishes("weighted"), [back, other], 0.0, random.Random(number)).instance
        assert found is not None
        turns.take(found)
        order.append(found.id)
    assert Counter(order)["back"] <= 6


def test_every_candidate_gets_a_verdict_in_words() -> None:
    refused, failing, paused, sick, new = (instance(name) for name in ("refused", "failing", "paused", "sick", "new"))
    rng = random.Random(5)
    reserve(refused, M, 0.0).end(Outcome.DROPPED, 0.0, rng, Cause.REFUSED)
    for _ in range(3):
        reserve(failing, M, 0.0).end(Outcome.DROPPED, 0.0, rng, Cause.SERVER_ERROR)
    paused.pause.until = 2.0
    sick.state, sick.reason = InstanceState.UNHEALTHY, "not an Ollama"
    new.state = InstanceState.UNKNOWN
    others = [
        instance("full", 4),
        instance("empty", models=()),
        instance("drained"),
        instance("untagged", tags=("gpu",)),
        instance("good", 1, tags=("gpu", "big")),
    ]
    others[2].draining = True
    found = pick(NEEDS, LEAST, [refused, failing, paused, sick, new, *others], 0.0, random.Random(2))
    texts = dict(found.rows)
    assert texts["refused"].startswith("ejected (refused the connection), next probe in 0.")
    assert texts["failing"].startswith("ejected (failed), next probe in 0.")
    del texts["refused"], texts["failing"]
    assert texts == {
        "paused": "said that it is busy, asked again in 2.0 s",
        "sick": "unhealthy: not an Ollama",
        "new": "has not answered yet",
        "full": "busy 4/4",
        "empty": "has not the model llama3.2",
        "drained": "draining",
        "untagged": "picked: 0/4 in flight",
        "good": "could take it: 1/4 in flight",
    }
    tagged = dict(pick(Needs(M, tags=frozenset({"gpu", "big"})), LEAST, others, 0.0, random.Random(2)).rows)
    assert tagged["untagged"] == "no tag big"
    unknown = pick(Needs(M, instance="x", require_gpu=True), LEAST, others, 0.0, random.Random(2))
    assert dict(unknown.rows)["good"] == "not the instance asked for"
    assert judge(Needs(M, require_gpu=True), instance("cpu"), 0.0).text == "no GPU is known"
    assert judge(Needs(M, excluded=frozenset({"a"})), instance("a"), 0.0).text == "has failed this request already"


def test_half_open_lets_one_probe_through() -> None:
    one = instance("a")
    rng = random.Random(1)
    reserve(one, M, 0.0).end(Outcome.DROPPED, 0.0, rng, Cause.REFUSED)
    now = (one.breaker.retry_at or 0.0) + 0.001
    assert chosen(NEEDS, one, now=now) == "a"
    probe = reserve(one, M, now)
    assert judge(NEEDS, one, now).standing is Standing.PROBING
    probe.end(Outcome.SUCCESS, now, rng)
    assert chosen(NEEDS, one, now=now) == "a"


def test_the_unhealthy_are_hoped_for_only_when_nobody_else_is() -> None:
    sick, full = instance("sick"), instance("full", 4)
    sick.state = InstanceState.UNHEALTHY
    assert chosen(NEEDS, sick, full) is None
    full.draining = True
    assert chosen(NEEDS, sick, full) == "sick"


def test_preferences_come_before_the_strategy_and_never_exclude() -> None:
    busy, idle = instance("busy", 3), instance("idle")
    assert chosen(NEEDS, busy, idle, wishes=Wishes("least_loaded", preference="busy")) == "busy"
    assert chosen(NEEDS, busy, idle, wishes=Wishes("least_loaded", preference="gone")) == "idle"
    idle.load.latency.observe(9.0, 0.0)
    assert chosen(NEEDS, busy, idle, wishes=Wishes("least_loaded", max_latency_s=1.0)) == "busy"
    assert chosen(NEEDS, idle, wishes=Wishes("least_loaded", max_latency_s=1.0)) == "idle"


def test_advice_takes_a_busy_one_when_nobody_is_free() -> None:
    found = advise(NEEDS, LEAST, [instance("a", 4), instance("b", 4)], 0.0, random.Random(1))
    assert found.instance is not None
    assert advise(NEEDS, LEAST, [instance("c", models=())], 0.0, random.Random(1)).instance is None


def test_strategies_are_found_by_name_and_documented() -> None:
    assert all(strategy.doc for strategy in STRATEGIES.values())
    with pytest.raises(ConfigError, match="Did you mean 'least_loaded'"):
        strategy_named("least_load")


def test_every_standing_says_what_hope_there_is() -> None:
    assert {standing for standing in Standing if standing.hope is Hope.NOW} == {Standing.PICKED, Standing.FREE, Standing.PANIC}
    assert len({standing.words for standing in Standing}) == len(Standing)


states = st.tuples(st.integers(0, 3), st.booleans(), st.sampled_from(list(InstanceState)), st.booleans(), st.booleans())


@given(st.lists(states, max_size=6), st.sampled_from(sorted(STRATEGIES)), st.integers(0, 99))
def test_who_is_picked_can_take_it(rows: list[tuple[int, bool, InstanceState, bool, bool]], strategy: str, seed: int) -> None:
    instances = []
    for number, (busy, draining, state, has_model, tagged) in enumerate(rows):
        made = instance(f"i{number}", busy, models=(M,) if has_model else (), tags=("t",) if tagged else (), max_concurrent=3)
        made.draining, made.state = draining, state
        instances.append(made)
    found = pick(Needs(M, tags=frozenset({"t"})), Wishes(strategy), instances, 0.0, random.Random(seed))
    fitting = [
        each for each in instances if not each.draining and each.has_model(M) and "t" in each.settings.tags and each.load.in_flight < 3
    ]
    assert len(found.verdicts) == len(instances)
    if found.waiting is not None:
        assert STRATEGIES[strategy].waits
        assert Standing.WAITS in {verdict.standing for verdict in found.verdicts}
    elif found.instance is None:
        assert not [each for each in fitting if each.state in (InstanceState.HEALTHY, InstanceState.DEGRADED)]
    else:
        assert found.instance in fitting
        assert [verdict.instance for verdict in found.verdicts if verdict.standing is Standing.PICKED] == [found.instance]
