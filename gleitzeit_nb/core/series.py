"""What an instance did over the last minute, in buckets of two seconds, for sparklines. Pure: the time comes in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Generic, TypeVar

BUCKET_S = 2.0
BUCKETS = 30  # one minute


_T = TypeVar("_T")


@dataclass
class _Minute(ABC, Generic[_T]):
    """A ring of buckets. `_newest` is the number of the one that was looked at last; None before the first."""

    _newest: int | None = field(default=None, init=False)
    _told: tuple[int | None, tuple[_T, ...]] = field(default=(None, ()), init=False, repr=False)

    def _turn(self, now: float) -> int:
        """Clear the buckets that time has passed over and return the number of the current one."""
        bucket = int(now // BUCKET_S)
        if bucket == self._newest:
            return bucket
        if self._newest is None:
            self._newest = bucket
        for passed in range(self._newest + 1, min(bucket, self._newest + BUCKETS) + 1):
            self._clear(passed % BUCKETS)
        self._newest = max(bucket, self._newest)
        return self._newest

    def _past(self, newest: int) -> tuple[_T, ...]:
        """What is told of the buckets before the current one, oldest first. They are over, so that it is worked out once for each."""
        if self._told[0] != newest:
            self._told = (newest, tuple(self._value((newest + 1 + step) % BUCKETS, BUCKET_S) for step in range(BUCKETS - 1)))
        return self._told[1]

    @abstractmethod
    def _value(self, place: int, lasted_s: float) -> _T:
        """What is told of a bucket of which so much is over."""

    @abstractmethod
    def _clear(self, place: int) -> None:
        """Begin a bucket anew."""


@dataclass
class TokenHistory(_Minute[float]):
    """Tokens per second."""

    _counts: list[int] = field(default_factory=lambda: [0] * BUCKETS, init=False)

    def add(self, tokens: int, now: float) -> None:
        self._counts[self._turn(now) % BUCKETS] += tokens

    def rates(self, now: float) -> tuple[float, ...]:
        """Oldest first; empty before the first token."""
        if self._newest is None:
            return ()
        newest = self._turn(now)
        return (*self._past(newest), self._value(newest % BUCKETS, BUCKET_S))

    def _value(self, place: int, lasted_s: float) -> float:
        return self._counts[place] / lasted_s

    def _clear(self, place: int) -> None:
        self._counts[place] = 0


@dataclass
class AnswerHistory(_Minute[float | None]):
    """How long the answers took that ended in each bucket."""

    _counts: list[int] = field(default_factory=lambda: [0] * BUCKETS, init=False)
    _sums_s: list[float] = field(default_factory=lambda: [0.0] * BUCKETS, init=False)

    def add(self, elapsed_s: float, now: float) -> None:
        place = self._turn(now) % BUCKETS
        self._counts[place] += 1
        self._sums_s[place] += elapsed_s

    def means_s(self, now: float) -> tuple[float | None, ...]:
        """Oldest first, None where none ended; empty when none did for a minute."""
        if self._newest is None:
            return ()
        newest = self._turn(now)
        if not any(self._counts):
            return ()
        return (*self._past(newest), self._value(newest % BUCKETS, BUCKET_S))

    def _value(self, place: int, lasted_s: float) -> float | None:
        return self._sums_s[place] / self._counts[place] if self._counts[place] else None

    def _clear(self, place: int) -> None:
        self._counts[place], self._sums_s[place] = 0, 0.0


@dataclass
class Occupancy(_Minute[float]):
    """How many requests an instance had, on average over each bucket."""

    _busy_s: list[float] = field(default_factory=lambda: [0.0] * BUCKETS, init=False)  # added up over the requests
    _level: int = field(default=0, init=False)
    _shares: tuple[tuple[int | None, int], tuple[float, ...]] = field(default=((None, 0), ()), init=False, repr=False)
    _since: float = field(default=0.0, init=False)  # when the level was added up last

    def moved(self, level: int, now: float) -> None:
        """From now on there are so many."""
        self._add_up(now)
        self._level = level

    def shares(self, slots: int, now: float) -> tuple[float, ...]:
        """As `levels`, as shares of so many, at most all of them."""
        levels = self.levels(now)
        if not levels:
            return ()
        key = (self._told[0], slots)
        if self._shares[0] != key:
            self._shares = (key, tuple([min(1.0, level / slots) for level in levels[:-1]]))
        return (*self._shares[1], min(1.0, levels[-1] / slots))

    def levels(self, now: float) -> tuple[float, ...]:
        """Oldest first; the last is of the part of its bucket that is over. Empty when there was none for a minute."""
        if self._newest is None:
            return ()
        self._add_up(now)
        if not self._level and not any(self._busy_s):
            return ()
        newest, part_s = self._turn(now), now % BUCKET_S
        current = self._value(newest % BUCKETS, part_s) if part_s > 0 else float(self._level)
        return (*self._past(newest), current)

    def _value(self, place: int, lasted_s: float) -> float:
        return self._busy_s[place] / lasted_s

    def _add_up(self, now: float) -> None:
        before, newest = self._newest, self._turn(now)
        if newest == before:
            self._busy_s[newest % BUCKETS] += self._level * max(0.0, now - self._since)
        elif before is not None and self._level:
            self._spread(max(self._since, (newest - BUCKETS + 1) * BUCKET_S), newest, now)
        self._since = max(now, self._since)

    def _spread(self, begin: float, newest: int, now: float) -> None:
        for bucket in range(int(begin // BUCKET_S), newest + 1):
            end = min(now, (bucket + 1) * BUCKET_S)
            self._busy_s[bucket % BUCKETS] += self._level * max(0.0, end - max(begin, bucket * BUCKET_S))

    def _clear(self, place: int) -> None:
        self._busy_s[place] = 0.0
