"""A snapshot as a message: nothing of it is lost that matters, and its size stays bounded."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.jupyter.control.messages import POINTS, points_for, snapshot_message, thinned
from gleitzeit_nb.snapshot import WarmModel
from tests.support.snapshots import MOCK_UP, hostile, instance, run

SERIES = tuple(float(number % 17) for number in range(30))


def size(message: object) -> int:
    return len(json.dumps(message, ensure_ascii=False, allow_nan=False).encode())


def test_a_snapshot_of_ordinary_size_is_told_whole() -> None:
    told = snapshot_message(MOCK_UP)["snapshot"]
    assert told == json.loads(json.dumps(MOCK_UP.to_dict()))


@pytest.mark.parametrize(("series", "points"), [(0, 30), (1, 30), (20, 30), (21, 15), (40, 15), (41, 10), (100, 10), (10_000, 10)])
def test_the_more_series_the_fewer_points_each(series: int, points: int) -> None:
    assert points_for(series) == points
    assert len(thinned(SERIES, points)) == points


def test_neighbours_are_told_as_their_mean_and_unknown_ones_do_not_count() -> None:
    assert thinned((1.0, 3.0, None, 5.0, None, None, 2.00049, None), 4) == [2.0, 5.0, None, 2.0]
    assert thinned((0.12345, None), 30) == [0.123, None]
    assert thinned((), 10) == []


@given(st.lists(st.none() | st.floats(0, 1e6), max_size=30), st.sampled_from(POINTS))
def test_a_thinned_series_is_never_longer_and_stays_within_its_values(series: list[float | None], most: int) -> None:
    told = thinned(series, most)
    known = [each for each in series if each is not None]
    assert len(told) <= most
    assert all(each is None or min(known) - 0.001 <= each <= max(known) + 0.001 for each in told)


def test_a_hundred_busy_instances_and_fifty_runs_stay_within_their_bound() -> None:
    models = tuple(f"model-{number}:70b" for number in range(200))
    warm = tuple(WarmModel(name, 1.0, 41_000_000_000, 41_000_000_000, 1_770_000_180.0) for name in models[:3])
    each = instance(models=models, warm=warm, load=SERIES, latencies_s=SERIES, tokens_per_s=SERIES)
    many = tuple(replace(each, id=f"gpu-{number}") for number in range(100))
    runs = tuple(run(f"r{number}", rates=SERIES) for number in range(50))
    assert size(snapshot_message(replace(MOCK_UP, instances=many, runs=runs, runs_total=4000))) < 130_000


def test_no_list_of_names_makes_a_message_large() -> None:
    names = tuple(f"model-{number}" for number in range(5000))
    hoarder = instance(models=names, tags=names, warm=tuple(WarmModel(name, None) for name in names))
    told = snapshot_message(replace(hostile(), instances=(hoarder,)))["snapshot"]["instances"][0]
    assert [len(told[name]) for name in ("models", "tags", "warm")] == [50, 50, 50]
