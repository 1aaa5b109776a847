"""The texts that a notebook's variables hold, with what each is called: in dictionaries, lists and objects too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

MOST_DEPTH = 4
MOST_ENTRIES = 1_000  # of one container; longer ones are data
MOST_LOOKED_AT = 50_000


def named_texts(namespace: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(name, text): a variable's own name, a key, an attribute. What stands in a list goes by the list's name.

    Nothing of the notebook is run for it: only plain containers and what objects hold themselves are looked into, no property.
    """
    own = ((name, value) for name, value in list(namespace.items()) if not name.startswith("_") and name not in ("In", "Out"))
    waiting = [(name, value, 0) for name, value in own]
    seen: set[int] = set()
    looked_at = 0
    while waiting and looked_at < MOST_LOOKED_AT:
        name, value, depth = waiting.pop()
        looked_at += 1
        if isinstance(value, str):
            yield name, str(value)
        elif isinstance(value, bytes) and len(value) <= MOST_ENTRIES:
            yield name, value.decode("utf-8", "replace")
        elif depth < MOST_DEPTH and id(value) not in seen:
            seen.add(id(value))
            waiting += [(inner, each, depth + 1) for inner, each in _within(name, value)]


def _within(name: str, value: Any) -> list[tuple[str, Any]]:
    if type(value) in (list, tuple, set, frozenset):
        return [(name, each) for each in value] if len(value) <= MOST_ENTRIES else []
    held = value if type(value) is dict else _attributes(value)
    if len(held) > MOST_ENTRIES:
        return []
    return [(key, each) for key, each in list(held.items()) if isinstance(key, str)]


def _attributes(value: Any) -> Mapping[str, Any]:
    """What an object of the notebook's own classes, or such a class, holds; of others nothing."""
    if isinstance(value, ModuleType):
        return {}
    if isinstance(value, type):
        return dict(type.__getattribute__(value, "__dict__")) if value.__module__ == "__main__" else {}
    try:
        held = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return held if type(held) is dict else {}
