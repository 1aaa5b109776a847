"""The books of an instance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.core.load import LOADS, RECENT, Load, PeakEwma


def test_peak_ewma_jumps_up_at_once_and_comes_down_slowly() -> None:
    average = PeakEwma(tau_s=10.0)
    average.observe(1.0, 0.0)
    average.observe(5.0, 1.0)
    assert average.value == 5.0
    average.observe(1.0, 2.0)
    assert average.value is not None
    assert 4.5 < average.value < 5.0
    average.observe(1.0, 100.0)
    assert average.value < 1.01


def test_the_error_rate_looks_at_recent_requests_only() -> None:
    load = Load()
    assert (load.error_rate, load.latency_s, load.mean_latency_s) == (None, None, None)
    load.dropped()
    load.succeeded(1.0, 0.0)
    assert (load.error_rate, load.recent) == (0.5, 2)
    for _ in range(RECENT):
        load.succeeded(3.0, 0.0)
    assert (load.error_rate, load.latency_s) == (0.0, 3.0)
    assert (load.total, load.failed) == (RECENT + 2, 1)


@given(st.lists(st.floats(0.01, 600.0), min_size=1, max_size=30))
def test_the_time_of_a_load_is_an_average_that_follows_the_last_few(samples: list[float]) -> None:
    load = Load()
    for each in samples:
        load.loaded("m", each)
    assert min(samples) - 1e-9 <= load.load_times_s["m"] <= max(samples) + 1e-9
    for _ in range(4 * LOADS):
        load.loaded("m", 1.0)
    assert load.load_times_s["m"] == pytest.approx(1.0, abs=1.0)


def test_one_odd_load_moves_the_average_by_a_third() -> None:
    load = Load()
    load.loaded("m", 3.0)
    assert load.load_times_s["m"] == 3.0
    load.loaded("m", 9.0)
    assert load.load_times_s["m"] == pytest.approx(5.0)


@given(st.lists(st.booleans(), max_size=120))
def test_the_error_rate_is_that_of_the_last_requests(outcomes: list[bool]) -> None:
    load = Load()
    for number, failed in enumerate(outcomes):
        if failed:
            load.dropped()
        else:
            load.succeeded(0.1, float(number))
    last = outcomes[-RECENT:]
    assert load.error_rate == (sum(last) / len(last) if last else None)
    assert load.failed == sum(outcomes)
