"""A snapshot as a message to front ends: plain JSON types, clean names, and a size that stays bounded whatever servers say.

A hundred busy instances are told several times a minute for hours, so this is written for speed: names repeat and are cleaned once.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from gleitzeit_nb.core.plain import one_line

if TYPE_CHECKING:
    from gleitzeit_nb.snapshot import Snapshot

TEXT_CHARS = 300
SHORT_CHARS = 200  # names are no longer; what is would only fill the memory for them
NAMES_SHOWN = 50  # models of one instance: a hostile server may list any number
NAMES_IN_ALL = 1000
POINTS_IN_ALL = 600  # of one series over all instances or runs
POINTS = (30, 15, 10)
LISTS_OF_NAMES = frozenset({"models", "warm", "tags"})
SERIES = frozenset({"tokens_per_s", "load", "latencies_s", "rates"})
MOMENTS = frozenset({"at", "made_at", "used_at", "expires_at"})  # of records: nobody sees the digits after their points

Series = Sequence[float | None]


def snapshot_message(snapshot: Snapshot) -> dict[str, Any]:
    """Plain JSON types. Names that servers gave are clean and cut, so that no message grows or breaks by them."""
    told = {each: getattr(snapshot, each) for each in _names(type(snapshot))}
    shown: dict[str, Any] = {}
    for name, value in told.items():
        if isinstance(value, tuple):
            names = max(1, min(NAMES_SHOWN, NAMES_IN_ALL // max(1, len(value))))
            bounds = (names, points_for(len(value)))
            shown[name] = [_record(each, *bounds) for each in value]
        else:
            shown[name] = _plain(value, name, NAMES_SHOWN, POINTS[0])
    shown["at"] = round(snapshot.at, 3)  # to the millisecond: what tells how late it is shown
    return {"type": "snapshot", "snapshot": shown}


def points_for(series: int) -> int:
    """How many points each of so many series may have."""
    return next((points for points in POINTS if points * series <= POINTS_IN_ALL), POINTS[-1])


def thinned(series: Series, most: int) -> list[float | None]:
    """Neighbours as their mean; None where none of them is known."""
    step = -(-len(series) // most)
    if step <= 1:
        return [None if each is None else round(each, 3) for each in series]
    found: list[float | None] = []
    for start in range(0, len(series), step):
        known = [each for each in series[start : start + step] if each is not None]
        found.append(round(sum(known) / len(known), 3) if known else None)
    return found


def _record(value: Any, names: int, points: int) -> dict[str, Any]:
    return {name: _plain(getattr(value, name), name, names, points) for name in _names(type(value))}


def _plain(value: Any, key: str, names: int, points: int) -> Any:
    if isinstance(value, str):
        return _shown(value) if len(value) <= SHORT_CHARS else one_line(value, TEXT_CHARS)
    if isinstance(value, float):
        return round(value, 1 if key in MOMENTS else 4)
    if isinstance(value, int) or value is None:
        return value
    if isinstance(value, tuple):
        if key in SERIES:
            return thinned(value, points)
        value = value[:names] if key in LISTS_OF_NAMES else value
        return [_plain(each, key, names, points) for each in value]
    if isinstance(value, Mapping):
        raise TypeError(f"{key} is a mapping: a snapshot holds records")
    return _record(value, names, points)


@functools.lru_cache(maxsize=8192)
def _shown(text: str) -> str:
    return one_line(text, TEXT_CHARS)


_NAMES: dict[type[Any], tuple[str, ...]] = {}  # of the records' fields; there are a dozen kinds


def _names(kind: type[Any]) -> tuple[str, ...]:
    found = _NAMES.get(kind)
    if found is None:
        found = _NAMES[kind] = tuple(each.name for each in fields(kind))
    return found


def empty_snapshot() -> Snapshot:
    """What is true before there is an engine."""
    from gleitzeit_nb import __version__
    from gleitzeit_nb.snapshot import SCHEMA_VERSION, Snapshot

    return Snapshot(SCHEMA_VERSION, 0, 0.0, (), 0, 0, 0.0, (), "", 0, (), (), version=__version__)
