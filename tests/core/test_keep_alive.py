"""Times that a model stays loaded: what people write, and what is sent."""

from __future__ import annotations

import pytest

from gleitzeit_nb.core.keep_alive import FOREVER, KeepAlive, on_the_wire, seconds


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (300, 300),
        ("300", 300),
        ("30m", 1800),
        ("1h30m", 5400),
        ("500ms", 0.5),
        (1.5, 1.5),
        (-1, FOREVER),
        ("-1", FOREVER),
        ("-1m", FOREVER),
    ],
)
def test_times_are_read(written: object, meant: float) -> None:
    assert seconds(written) == meant


@pytest.mark.parametrize("written", [0, "0", "0s", 0.0])
def test_zero_is_refused_because_it_unloads_under_others(written: object) -> None:
    with pytest.raises(ValueError, match=r"unload\(\)"):
        seconds(written)


@pytest.mark.parametrize("written", ["soon", "", "5 m", "1x", True, None, [1], float("nan"), float("inf"), "1e9999"])
def test_nonsense_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="should be a time"):
        seconds(written)


def test_a_model_of_its_own_beats_the_rest() -> None:
    times = KeepAlive(300.0, {"phi:3b": FOREVER})
    assert (times.of("Phi:3b"), times.of("llama3.2"), KeepAlive().of("phi:3b")) == (FOREVER, 300.0, None)


def test_whole_seconds_travel_as_whole_numbers() -> None:
    assert [repr(on_the_wire(value)) for value in (300.0, 1.5, FOREVER)] == ["300", "1.5", "-1"]
