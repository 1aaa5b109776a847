"""The words for numbers and states: unknown is never a zero, and a person's word comes before the machine's."""

from __future__ import annotations

import pytest

from gleitzeit_nb.rendering import words
from gleitzeit_nb.snapshot import WarmModel
from tests.support.snapshots import EMPTY, MOCK_UP, instance, mode


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, "OK"),
        ({"state": "degraded"}, "Degraded"),
        ({"state": "unhealthy"}, "Failed"),
        ({"state": "unknown"}, "Unknown"),
        ({"state": "a word of next year"}, "Unknown"),
        ({"breaker": "open"}, "Failed"),
        ({"breaker": "half_open"}, "Probing"),
        ({"draining": True}, "Draining"),
        ({"draining": True, "state": "unhealthy", "breaker": "open"}, "Draining"),
    ],
)
def test_a_state_has_one_word(changes: dict[str, object], word: str) -> None:
    assert words.instance_status(instance(**changes)).word == word  # type: ignore[arg-type]


def test_unknown_is_shown_as_unknown() -> None:
    unknown = instance(latency_s=None, error_rate=None, warm=(WarmModel("m", None),))
    assert (words.latency(unknown), words.errors(unknown)) == ("–", "–")
    assert words.warm_models(unknown) == [("m", "")]
    assert words.memory(None) == "–"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 ms"), (0.1204, "120 ms"), (0.9999, "1.0 s"), (9.949, "9.9 s"), (14.2, "14 s"), (600, "10 min"), (7200, "2 h")],
)
def test_a_latency_keeps_two_or_three_digits(seconds: float, text: str) -> None:
    assert words.latency(instance(latency_s=seconds)) == text.replace(" ", "\u00a0")


@pytest.mark.parametrize(("rate", "text"), [(0.0, "0.0 %"), (0.001, "0.1 %"), (0.5, "50.0 %"), (1.0, "100 %")])
def test_an_error_rate_is_a_percentage(rate: float, text: str) -> None:
    assert words.errors(instance(error_rate=rate)) == text.replace(" ", "\u00a0")


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (212_000_000, "212 MB"), (9_940_000_000, "9.9 GB")]
)
def test_a_size_is_told_in_powers_of_ten(size: int, text: str) -> None:
    assert words.memory(size) == text.replace(" ", "\u00a0")


def test_the_first_line_counts_what_answers() -> None:
    assert words.tally(MOCK_UP) == "Pool: 3 up, 1 down"
    assert words.tally(EMPTY) == "Pool: no instance"


def test_an_instance_that_was_never_asked_counts_as_neither_up_nor_down() -> None:
    from dataclasses import replace

    assert words.tally(replace(EMPTY, instances=(instance(), instance("b", state="unknown")))) == "Pool: 1 up, 1 unknown"


def test_the_summary_says_what_goes_on() -> None:
    assert words.summary(MOCK_UP) == "3 of 4 instances up · 6 in flight, 2 queued · 63 tok/s · sandbox 4 containers"


def test_a_failed_instance_tells_why_and_when_it_is_tried_again() -> None:
    failed = next(view for view in MOCK_UP.instances if view.id == "backup")
    assert words.trouble(failed) == "refused 5 times, next probe in 14\u00a0s"
    assert words.trouble(instance()) == ""
    assert words.trouble(instance(reason="refused", breaker="open", retry_in_s=0.0)) == "refused, next probe due"


def test_of_very_many_warm_models_the_first_are_named() -> None:
    warm = tuple(WarmModel(f"model-{number}", 1.0) for number in range(40))
    assert len(shown := words.warm_models(instance(warm=warm))) == words.WARM_SHOWN + 1
    assert shown[-1] == ("34 more", "")


def test_a_mode_without_a_daemon_has_no_counts() -> None:
    assert not words.is_usable(mode(available=False, note="no Docker daemon"))
    assert words.mode_note(mode(available=False, note="no Docker daemon")) == "no Docker daemon"
    assert words.is_usable(mode(available=None))
    assert words.mode_note(mode(enabled=False)) == "disabled"
