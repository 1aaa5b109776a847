"""The lines of a queue, and for each instance the order in which it may serve them, found without looking at all of them."""

from __future__ import annotations

import heapq
import itertools
from bisect import bisect_left, insort
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import Any, Generic, TypeVar

from gleitzeit_nb.core.needs import Needs, Wishes

Key = tuple[float, int]
Thing = TypeVar("Thing", bound=Hashable)

PATIENCE_S = 0.9  # how long a request waits, in all its stays, while every instance that could answer is ejected
SLACK = 64  # entries of things that are gone, before a roll is tidied


@dataclass(eq=False)
class Waiter:
    """One request in the queue. `ticket` is the caller's: what it needs to wake the request."""

    key: Key
    needs: Needs
    wishes: Wishes = Wishes()
    ticket: Any = None
    line: Line | None = None  # in which it stands
    stranded_at: float | None = None  # since when nobody but ejected instances could answer
    patience_s: float = PATIENCE_S  # how long it waits for them
    passing_since: float | None = None  # since when it has let free instances be, for the sake of a better one


_key = attrgetter("key")


@dataclass(eq=False)
class Line:
    """Waiters with equal needs, sorted by key."""

    needs: Needs
    waiters: list[Waiter] = field(default_factory=list)
    stranded: bool = False  # some of them have nobody but ejected instances to hope for
    passing: bool = False  # the first lets free instances be

    @property
    def key(self) -> Key | None:
        """That of its first waiter; None: nobody stands in it."""
        return self.waiters[0].key if self.waiters else None

    def enter(self, waiter: Waiter) -> None:
        insort(self.waiters, waiter, key=_key)
        waiter.line = self

    def leave(self, waiter: Waiter) -> None:
        """It stands here."""
        del self.waiters[self.before(waiter.key)]
        waiter.line = None

    def before(self, key: Key) -> int:
        """How many stand before that key."""
        return bisect_left(self.waiters, key, key=_key)


class Roll(Generic[Thing]):
    """Things in the order of their keys, which may grow behind its back, down to None when a thing is gone for good.

    An entry holds the key that the thing had when somebody looked last, so it is never too high. `add` again what got a lower key.
    """

    def __init__(self, key_of: Callable[[Thing], Key | None]) -> None:
        self._key_of = key_of
        self._heap: list[tuple[Key, int, Thing]] = []
        self._listed: dict[Thing, tuple[Key, int]] = {}  # which entry of a thing counts
        self._serials = itertools.count()

    def __len__(self) -> int:
        return len(self._heap)

    def __repr__(self) -> str:
        return f"<Roll of {len(self._listed)}>"

    def add(self, thing: Thing) -> None:
        key, listed = self._key_of(thing), self._listed.get(thing)
        if key is not None and (listed is None or key < listed[0]):
            self._push(key, thing)

    def first(self) -> Key | None:
        """The lowest key; None: there is nothing."""
        while self._heap:
            key, serial, thing = self._heap[0]
            current = self._key_of(thing)
            if self._listed.get(thing) != (key, serial):
                heapq.heappop(self._heap)
            elif current is None:
                heapq.heappop(self._heap)
                del self._listed[thing]
            elif current > key:
                heapq.heappop(self._heap)
                self._push(current, thing)
            else:
                return key
        return None

    def peek(self) -> Thing | None:
        """The thing with the lowest key."""
        return self._heap[0][2] if self.first() is not None else None

    def pop(self) -> Thing | None:
        """Take the thing with the lowest key out; `add` puts it back."""
        if self.first() is None:
            return None
        _, _, thing = heapq.heappop(self._heap)
        del self._listed[thing]
        return thing

    def tidy(self, most: int) -> None:
        """Drop what is gone, if there are clearly more entries than the `most` things that there can be."""
        if len(self._heap) > 2 * most + SLACK:
            things = list(self._listed)
            self._heap.clear()
            self._listed.clear()
            for thing in things:
                self.add(thing)

    def _push(self, key: Key, thing: Thing) -> None:
        serial = next(self._serials)
        self._listed[thing] = key, serial
        heapq.heappush(self._heap, (key, serial, thing))


class Book:
    """The lines that one instance could serve, by model: a model that it cannot take now is passed over as a whole."""

    def __init__(self) -> None:
        self._lines: dict[str, Roll[Line]] = {}
        self._models: Roll[str] = Roll(partial(_first, self._lines))

    def __repr__(self) -> str:
        return f"<Book of {len(self._lines)} models>"

    def add(self, line: Line, lines: int) -> None:
        """`lines`: how many there are in all."""
        model = line.needs.model
        roll = self._lines.get(model)
        if roll is None:
            if len(self._lines) > 2 * lines + SLACK:
                for name in [name for name, each in self._lines.items() if each.first() is None]:
                    del self._lines[name]
            roll = self._lines[model] = Roll(_line_key)
        roll.tidy(lines)
        roll.add(line)
        self._models.tidy(lines)
        self._models.add(model)

    def in_order(self, can_take: Callable[[str], bool]) -> Iterator[Line]:
        """The lines of the models that can be taken, by the keys of their first waiters, for as long as they are asked for."""
        models: list[str] = []
        lines: list[Line] = []
        begun: list[tuple[Key, str]] = []  # models that were come to, by the key of their next line
        try:
            while True:
                next_model = self._models.first()
                if next_model is not None and (not begun or next_model <= begun[0][0]):
                    model = self._models.pop()
                    assert model is not None
                    models.append(model)
                    if can_take(model):
                        heapq.heappush(begun, (next_model, model))
                    continue
                if not begun:
                    return
                _, model = heapq.heappop(begun)
                line = self._lines[model].pop()
                if line is not None:
                    lines.append(line)
                    yield line
                following = _first(self._lines, model)
                if following is not None:
                    heapq.heappush(begun, (following, model))
        finally:
            for line in lines:
                self._lines[line.needs.model].add(line)
            for model in models:
                self._models.add(model)

    def first(self, models: Iterable[str]) -> Line | None:
        """The first line of any of these models."""
        rolls = [roll for model in models if (roll := self._lines.get(model)) is not None]
        return min((line for roll in rolls if (line := roll.peek()) is not None), key=attrgetter("key"), default=None)


def _first(lines: Mapping[str, Roll[Line]], model: str) -> Key | None:
    roll = lines.get(model)
    return None if roll is None else roll.first()


def _line_key(line: Line) -> Key | None:
    return line.key
