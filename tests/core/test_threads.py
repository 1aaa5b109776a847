"""Conversations: what goes out with the next question, and what a file of one may hold."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.core.requests import Message
from gleitzeit_nb.core.threads import Thread, Turn, density, is_name, outgoing, room_for_question, turns_of, weight
from gleitzeit_nb.core.transcripts import plain_thread, read_thread


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def turn(question: str, answer: str, **more: Any) -> Turn:
    return Turn((user(question), assistant(answer)), **more)


def texts(messages: tuple[Message, ...]) -> list[str]:
    return [message["content"] for message in messages]


def test_everything_is_sent_in_order_when_nobody_knows_the_room() -> None:
    sent = outgoing([turn("a", "b"), turn("c", "d")], "Be brief.", user("e"))
    assert texts(sent.messages) == ["Be brief.", "a", "b", "c", "d", "e"]
    assert [message["role"] for message in sent.messages] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert sent.left_out == 0


def test_the_oldest_turns_are_left_out_when_they_do_not_fit() -> None:
    turns = [turn("x" * 30, "y" * 30, chars=120, tokens=40) for _ in range(5)]
    sent = outgoing(turns, "", user("z" * 30), room=100)  # of 300 characters, three quarters are filled
    assert sent.left_out == 2
    assert len(sent.messages) == 7


def test_what_was_left_out_stays_out_until_all_of_it_fits() -> None:
    turns = [turn("x" * 30, "y" * 30, chars=300, tokens=100) for _ in range(4)]
    assert outgoing(turns, "", user("z"), room=80, left_out=1).left_out == 1
    assert outgoing(turns, "", user("z"), room=200, left_out=1).left_out == 0


@given(
    sizes=st.lists(st.integers(0, 400), max_size=12),
    room=st.integers(0, 500),
    left_out=st.integers(0, 15),
    system=st.sampled_from(["", "Be brief."]),
)
def test_what_is_sent_fits_or_is_the_question_alone(sizes: list[int], room: int, left_out: int, system: str) -> None:
    turns = [turn("q" * size, "a", chars=size + 1, tokens=size + 1) for size in sizes]
    question = user("why?")
    sent = outgoing(turns, system, question, room=room, left_out=left_out)
    kept = turns[sent.left_out :]
    assert [each for each in sent.messages if each["role"] != "system"] == [*(m for each in kept for m in each.messages), question]
    assert [each["content"] for each in sent.messages if each["role"] == "system"] == ([system] if system else [])
    assert not kept or sum(map(weight, sent.messages)) * density(turns) <= room + 1e-6


def test_the_density_is_what_servers_counted_lately() -> None:
    counted = [turn("a", "b", chars=100, tokens=50), turn("a", "b", chars=100, tokens=20), turn("a", "b", chars=100, tokens=None)]
    assert density(counted) == 0.5
    assert density([turn("a", "b", chars=100, tokens=90), *counted, turn("a", "b", chars=100, tokens=25)]) == 0.5
    assert density([]) == pytest.approx(1 / 3)
    assert density([turn("a", "b", chars=1, tokens=10**9)]) == 2.0


def test_the_answer_has_its_share_of_the_context() -> None:
    assert room_for_question(None) is None
    assert room_for_question(4096) == 3072
    assert room_for_question(4096, 100) == 3996
    assert room_for_question(4096, 100_000) == 2048
    assert room_for_question(4096, True) == room_for_question(4096, -1) == 3072


def test_pictures_and_calls_have_weight() -> None:
    assert weight({**user("abc"), "images": ["aaaa"]}) == 3003
    assert weight({**assistant(""), "tool_calls": [{"function": {"name": "look"}}]}) > 10


@pytest.mark.parametrize(
    ("name", "fits"),
    [*((name, True) for name in ("main", "a.b-c_1", "größe")), *((name, False) for name in ("", "-x", "a b", "a/b", "x" * 61))],
)
def test_names_of_threads(name: str, fits: bool) -> None:
    assert is_name(name) is fits
    assert not is_name(f"{name}\n")


def test_a_cell_repeats_its_turn_only_as_the_last_and_with_the_same_question() -> None:
    thread = Thread("main", [turn("a", "b", cell="c1"), turn("c", "d", cell="c2")])
    assert thread.repeats("c2", "c")
    assert not thread.repeats("c2", "another")
    assert not thread.repeats("c1", "a")
    assert not Thread("main", [turn("a", "b")]).repeats("", "a")


def test_a_dialogue_becomes_turns() -> None:
    system: Message = {"role": "system", "content": "Brief."}
    call: Message = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "look", "arguments": {}}}]}
    told: Message = {"role": "tool", "content": "42", "tool_name": "look"}
    found = turns_of([user("a"), assistant("b"), system, user("c"), call, told, assistant("d")])
    assert [(each.question, each.answer, each.system, len(each.messages)) for each in found] == [("a", "b", "", 2), ("c", "d", "Brief.", 4)]


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([assistant("hi")], "nobody had asked"),
        ([user("a")], "turn 1 does not end with an answer"),
        ([user("a"), assistant("b"), user("c"), user("d")], "turn 2 does not end"),
    ],
)
def test_a_dialogue_that_is_none_is_refused(messages: list[Message], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        turns_of(messages)


MESSAGES = st.text(max_size=30)
TURNS = st.builds(
    Turn,
    st.tuples(st.builds(user, MESSAGES), st.builds(assistant, MESSAGES)),
    system=MESSAGES,
    model=MESSAGES,
    instance=MESSAGES,
    at=st.floats(0, 1e12),
    chars=st.integers(0, 10**6),
    tokens=st.none() | st.integers(0, 10**6),
)


@given(name=st.from_regex(r"\A\w[\w.-]{0,59}\Z").filter(is_name), turns=st.lists(TURNS, max_size=4))
def test_a_thread_survives_its_file(name: str, turns: list[Turn]) -> None:
    thread = Thread(name, turns)
    assert read_thread(json.loads(json.dumps(plain_thread(thread)))) == thread


WORDS = [
    "format",
    "version",
    "name",
    "turns",
    "messages",
    "role",
    "content",
    "tokens",
    "images",
    "user",
    "assistant",
    "gleitzeit_nb.thread",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
    max_leaves=12,
)


@given(plain=JSON)
def test_any_other_file_is_refused_in_one_way(plain: object) -> None:
    try:
        thread = read_thread(plain)
    except ValueError:
        return
    assert all(each.messages[0]["role"] == "user" and each.messages[-1]["role"] == "assistant" for each in thread.turns)


def test_a_list_of_messages_and_its_envelope_are_read_too() -> None:
    dialogue = [user("a"), assistant("b")]
    assert read_thread(dialogue).turns == read_thread({"model": "x", "messages": dialogue}).turns == turns_of(dialogue)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"version": 2}, "version 2"),
        ({"name": "a b"}, "no usable name"),
        ({"turns": [{"messages": [user("a")]}]}, "does not end"),
        ({"turns": [{"messages": [user("a"), assistant("b")], "tokens": -1}]}, "turn 1 is not of the right form"),
        ({"turns": [{"messages": [{"role": "root", "content": ""}]}]}, "a message is no"),
        ({"turns": [{"messages": [{**user("a"), "images": [1]}, assistant("b")]}]}, "pictures"),
    ],
)
def test_a_damaged_file_says_what_is_wrong(change: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_thread({**plain_thread(Thread("main")), **change})
