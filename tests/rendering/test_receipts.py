"""Receipts as text: what is not known is shown as not known, and no name acts on a terminal."""

from __future__ import annotations

from dataclasses import replace

from gleitzeit_nb.core.receipt_summary import summarise
from gleitzeit_nb.core.receipts import Gpu
from gleitzeit_nb.core.requests import Usage
from gleitzeit_nb.rendering.receipts import summary_text, text_of
from tests.support.receipts import ANSWERED, LOST


def test_a_receipt_is_a_line_with_all_that_matters() -> None:
    head, answered, lost = text_of([ANSWERED, LOST]).splitlines()
    assert head.split() == "Time Request Model Digest Instance Outcome Tokens tok/s Queue First Total GPU Tries".split()
    assert answered.split(maxsplit=1)[1].split() == (
        "[3] %%llm phi 0123456789ab gpu ok 20 40.0 12 ms 200 ms 1.2 s GPU 50 % desk:refused gpu:ok".split()
    )
    assert "NoInstanceError" in lost
    assert "tag" in lost
    assert lost.count("–") == 6


def test_what_nobody_was_asked_for_says_where_it_came_from() -> None:
    again = replace(ANSWERED, instance="", tries=(), usage=Usage(), source="cache", gpu=Gpu())
    lost = replace(LOST, source="recording")
    _, cached, replayed = text_of([again, lost]).splitlines()
    assert cached.split(maxsplit=1)[1].split() == "[3] %%llm phi 0123456789ab – cached – – 12 ms 200 ms 1.2 s – –".split()
    assert "NoInstanceError (replayed)" in replayed
    rows = summary_text(summarise([each.to_dict() for each in (again, ANSWERED, again)])).splitlines()[1:]
    assert [row.split()[:3] for row in rows] == [["cached", "phi", "2"], ["gpu", "phi", "1"]]


def test_no_name_acts_on_a_terminal() -> None:
    assert "\x1b" not in text_of([LOST]) + summary_text(summarise([LOST.to_dict()]))


def test_a_summary_is_a_line_for_each_instance_and_model() -> None:
    head, lost, answered = summary_text(summarise([ANSWERED.to_dict(), LOST.to_dict()])).splitlines()
    assert head.startswith("Instance")
    assert answered.split() == "gpu phi 1 0 0 1 1.2 s 1.2 s 200 ms 12 ms 20 40.0".split()
    assert lost.startswith("–")


def test_nothing_is_told_as_nothing() -> None:
    assert text_of([]) == "No request has ended yet."
    assert summary_text([]) == "No receipt is in there."
