"""Threads as plain JSON, to be kept in a file and read again. Pure; what is read may be a stranger's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gleitzeit_nb.core.requests import Message
from gleitzeit_nb.core.threads import DEFAULT_THREAD, Thread, Turn, is_name, turns_of

FORMAT = "gleitzeit_nb.thread"
VERSION = 1
MOST_TURNS = 10_000
_ROLES = ("system", "user", "assistant", "tool")
_TEXTS = ("system", "model", "instance")
_NUMBERS = ("at", "chars", "tokens")


def plain_thread(thread: Thread) -> dict[str, Any]:
    """All that is known of a thread, as JSON has it."""
    turns = [
        {
            "at": turn.at,
            "system": turn.system,
            "model": turn.model,
            "instance": turn.instance,
            "chars": turn.chars,
            "tokens": turn.tokens,
            "messages": [dict(message) for message in turn.messages],
        }
        for turn in thread.turns
    ]
    return {"format": FORMAT, "version": VERSION, "name": thread.name, "turns": turns}


def read_thread(plain: object) -> Thread:
    """What `plain_thread` wrote; or a dialogue as other programs keep it: a list of {"role", "content"}, or {"messages": […]}.

    Raises ValueError: what is wrong with it.
    """
    if isinstance(plain, Mapping) and "messages" in plain and "turns" not in plain:
        plain = plain["messages"]
    if isinstance(plain, list):
        return _bounded(Thread(DEFAULT_THREAD, turns_of([_message(each) for each in plain])))
    if not isinstance(plain, Mapping) or plain.get("format") != FORMAT or not isinstance(plain.get("turns"), list):
        raise ValueError("it holds neither a thread nor a list of messages")
    if plain.get("version") != VERSION:
        raise ValueError(f"it is of version {str(plain.get('version'))[:20]}, and this program reads version {VERSION}")
    name = plain.get("name")
    if not isinstance(name, str) or not is_name(name):
        raise ValueError("the thread in it has no usable name")
    return _bounded(Thread(name, [_turn(each, number) for number, each in enumerate(plain["turns"], 1)]))


def _bounded(thread: Thread) -> Thread:
    if len(thread.turns) > MOST_TURNS:
        raise ValueError(f"it has {len(thread.turns):,} turns, and {MOST_TURNS:,} is the most")
    return thread


def _turn(plain: object, number: int) -> Turn:
    if not isinstance(plain, Mapping) or not isinstance(plain.get("messages"), list):
        raise ValueError(f"turn {number} has no messages")
    texts = {name: plain.get(name, "") for name in _TEXTS}
    counts = {name: plain.get(name) for name in _NUMBERS}
    if not all(isinstance(each, str) for each in texts.values()) or not all(map(_is_count, counts.values())):
        raise ValueError(f"turn {number} is not of the right form")
    found = turns_of([_message(each) for each in plain["messages"]])
    if len(found) != 1 or found[0].system:
        raise ValueError(f"turn {number} is not one question and its answer")
    tokens = counts["tokens"]
    return Turn(
        found[0].messages,
        **texts,
        at=float(counts["at"] or 0.0),
        chars=int(counts["chars"] or 0),
        tokens=None if tokens is None else int(tokens),
    )


def _is_count(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15)


def _message(plain: object) -> Message:
    """Only what a request may carry; pictures are base64, which nobody takes for a path."""
    if not isinstance(plain, Mapping) or plain.get("role") not in _ROLES or not isinstance(plain.get("content"), str):
        raise ValueError('a message is no {"role": "user", "content": "…"}')
    message: dict[str, Any] = {"role": plain["role"], "content": plain["content"]}
    images, calls = plain.get("images"), plain.get("tool_calls")
    if images:
        if not isinstance(images, list) or not all(isinstance(each, str) for each in images):
            raise ValueError("the pictures of a message are not of the right form")
        message["images"] = list(images)
    if calls:
        if not isinstance(calls, list) or not all(isinstance(each, Mapping) for each in calls):
            raise ValueError("the calls of a message are not of the right form")
        message["tool_calls"] = [dict(each) for each in calls]
    return message | {name: plain[name] for name in ("tool_name", "tool_call_id") if isinstance(plain.get(name), str)}
