"""Receipts as text: what is not known is shown as not known, and no name acts on a terminal."""

from __future__ import annotations

from gleitzeit_nb.core.receipt_summary import summarise
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
