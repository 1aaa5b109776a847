"""What an instance did over the last minute, in buckets of two seconds, for sparklines. Pure: the time comes in."""

from __future__ import annotations

from dataclasses import dataclass, field

BUCKET_S = 2.0
BUCKETS = 30  # one minute


@dataclass
class _Minute:
    """A ring of buckets. `_newest` is the number of the one that was looked at last; None before the first."""

    _newest: int | None = field(default=None, init=False)

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

    def _places(self, now: float) -> list[int]:
        """Where the buckets stand, oldest first."""
        newest = self._turn(now)
        return [(newest + 1 + step) % BUCKETS for step in range(BUCKETS)]

    def _clear(self, place: int) -> None:
        raise NotImplementedError


@dataclass
class TokenHistory(_Minute):
    """Tokens per second."""

    _counts: list[int] = field(default_factory=lambda: [0] * BUCKETS, init=False)

    def add(self, tokens: int, now: float) -> None:
        self._counts[self._turn(now) % BUCKETS] += tokens

    def rates(self, now: float) -> tuple[float, ...]:
        """Oldest first; empty before the first token."""
        if self._newest is None:
            return ()
        return tuple(self._counts[place] / BUCKET_S for place in self._places(now))

    def _clear(self, place: int) -> None:
        self._counts[place] = 0


@dataclass
class AnswerHistory(_Minute):
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
        places = self._places(now)
        if not any(self._counts):
            return ()
        return tuple(self._sums_s[place] / self._counts[place] if self._counts[place] else None for place in places)

    def _clear(self, place: int) -> None:
        self._counts[place], self._sums_s[place] = 0, 0.0


@dataclass
class Occupancy(_Minute):
    """How many requests an instance had, on average over each bucket."""

    _busy_s: list[float] = field(default_factory=lambda: [0.0] * BUCKETS, init=False)  # added up over the requests
    _level: int = field(default=0, init=False)
    _since: float = field(default=0.0, init=False)  # when the level was added up last

    def moved(self, level: int, now: float) -> None:
        """From now on there are so many."""
        self._add_up(now)
        self._level = level

    def levels(self, now: float) -> tuple[float, ...]:
        """Oldest first; the last is of the part of its bucket that is over. Empty when there was none for a minute."""
        if self._newest is None:
            return ()
        self._add_up(now)
        if not self._level and not any(self._busy_s):
            return ()
        *before, last = [self._busy_s[place] for place in self._places(now)]
        part_s = now % BUCKET_S
        current = last / part_s if part_s > 0 else float(self._level)
        return (*(busy_s / BUCKET_S for busy_s in before), current)

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
