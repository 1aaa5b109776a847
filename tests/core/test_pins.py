"""Conversations are remembered for a while, and only so many."""

from __future__ import annotations

from gleitzeit_nb.core.needs import Wishes
from gleitzeit_nb.core.pins import PIN_S, Pins
from gleitzeit_nb.core.requests import Message, build_request


def test_a_pin_lasts_a_quarter_of_an_hour_after_its_last_use() -> None:
    pins = Pins()
    pins.pin(1, "a", 0.0)
    pins.pin(1, "a", 600.0)
    assert pins.holder(1, 600.0 + PIN_S - 1) == "a"
    assert pins.holder(1, 600.0 + PIN_S) is None
    assert pins.holder(None, 0.0) is None


def test_the_oldest_go_first_and_are_no_longer_counted() -> None:
    pins = Pins(most=2)
    for conversation, instance in ((1, "a"), (2, "a"), (3, "b")):
        pins.pin(conversation, instance, 0.0)
    assert (len(pins), pins.holder(1, 0.0), pins.of("a"), pins.of("b")) == (2, None, 1, 1)
    pins.pin(2, "b", 1.0)
    assert (pins.of("a"), pins.of("b")) == (0, 2)


def wishes(*said: str, **keywords: str) -> Wishes:
    roles = ("user", "assistant")
    messages: list[Message] = [{"role": roles[number % 2], "content": text} for number, text in enumerate(said)]
    return Wishes.of(build_request("r", "chat", "m", messages=messages, **keywords), "auto")  # type: ignore[arg-type]


def test_turns_of_a_dialogue_are_one_conversation_and_know_what_was_sent_before() -> None:
    first, second = wishes("a" * 300), wishes("a" * 300, "b" * 100, "c" * 40)
    assert first.conversation == second.conversation
    assert second.shared_tokens == 100.0
    assert first.shared_tokens == 64.0  # of one text only its beginning may be known
    assert wishes("other").conversation != first.conversation
    assert wishes("a" * 300, session="s").conversation != first.conversation
