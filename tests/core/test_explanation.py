"""The dry run: a row for each instance, with its score where it has one."""

from __future__ import annotations

import random

from gleitzeit_nb.core.explanation import Explanation, explain
from gleitzeit_nb.core.instances import Instance, InstanceSettings, InstanceState
from gleitzeit_nb.core.models import LoadedModel
from gleitzeit_nb.core.needs import Needs, Wishes

M = "llama3.2:latest"


def instance(id: str, *, warm: bool = False, models: tuple[str, ...] = (M,), load_s: float | None = None) -> Instance:  # noqa: A002
    made = Instance(InstanceSettings(id, f"http://{id}:1", max_concurrent=2))
    made.learn_models(models)
    made.state = InstanceState.HEALTHY
    if warm:
        made.loaded[M] = LoadedModel(M, seen_at=0.0)
    if load_s is not None:
        made.load.load_times_s[M] = load_s
    return made


def of(strategy: str, *instances: Instance) -> Explanation:
    return explain(Needs(M), Wishes(strategy), instances, 1.0, random.Random(1))


def test_the_score_is_said_with_its_parts() -> None:
    said = of("auto", instance("warm", warm=True), instance("cold", load_s=4.0), instance("empty", models=()))
    assert said.picked == "warm"
    assert list(said) == [
        ("warm", "picked: 0/2 in flight"),
        ("cold", "could take it: 0/2 in flight"),
        ("empty", "has not the model llama3.2"),
    ]
    warm, cold, empty = said.rows
    assert (warm.warm, cold.warm) == (True, False)
    assert dict(cold.parts)["load (s)"] == 4.0
    assert cold.score is not None
    assert warm.score is not None
    assert cold.score - warm.score == 4.0
    assert abs(sum(value for _, value in cold.parts) - cold.score) < 1e-9
    assert (empty.score, empty.parts) == (None, ())


def test_it_is_a_table_for_people() -> None:
    said = str(of("auto", instance("warm", warm=True), instance("cold", load_s=4.0)))
    lines = said.splitlines()
    assert lines[0] == "llama3.2 by auto"
    assert lines[1].split() == ["Instance", "Warm", "Score", "Made", "of", "Verdict"]
    assert lines[2].startswith("warm      yes ")
    assert "load (s) 4" in lines[3]
    assert str(explain(Needs(M), Wishes(), (), 0.0, random.Random(1))) == "llama3.2 by auto: the pool has no instance"


def test_it_looks_at_everybody_however_many_there_are() -> None:
    said = of("least_loaded", *(instance(f"i{number}") for number in range(60)))
    assert len(said) == 60
    assert sum(row.standing == "picked" for row in said.rows) == 1
