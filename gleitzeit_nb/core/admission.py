"""The pool's one bounded queue: who waits, and who is next.

Nobody is bound to an instance before a slot is free (late binding). Requests with equal needs stand in one line; a free slot goes
to the first of all the waiters whom that slot fits, so newcomers stand behind waiters. `assign` is one synchronous step: it
picks, reserves, and returns whom to wake; waking is the caller's work.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Collection
from dataclasses import dataclass, field
from operator import attrgetter
from random import Random
from typing import Any

from gleitzeit_nb.core.candidates import Hope, Standing, Verdict
from gleitzeit_nb.core.instances import Instance
from gleitzeit_nb.core.leases import Lease, try_reserve
from gleitzeit_nb.core.needs import Needs
from gleitzeit_nb.core.strategies import Pick, pick

STEP_S = 10.0  # one step of priority is worth this much waiting: ageing, without ever re-sorting the queue
PATIENCE_S = 0.9  # how long a request waits while every instance that could answer is ejected

Key = tuple[float, int]


@dataclass(frozen=True)
class AdmissionSettings:
    """`max_queue`: waiting requests before QueueFullError. `queue_timeout_s`: the longest wait; None: only the deadline counts."""

    max_queue: int = 512
    queue_timeout_s: float | None = None


@dataclass(eq=False)
class Waiter:
    """One request in the queue. `ticket` is the caller's: what it needs to wake the request."""

    key: Key
    needs: Needs
    ticket: Any = None
    stranded_at: float | None = None  # since when nobody but ejected instances could answer


@dataclass(frozen=True)
class Grant:
    """A waiter's turn has come: it holds the lease from now on."""

    waiter: Waiter
    lease: Lease
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class Hopeless:
    """Waiting would not help. `ejected`: breakers stand in the way, and patience has run out."""

    waiter: Waiter
    verdicts: tuple[Verdict, ...]
    ejected: bool


@dataclass(frozen=True)
class Assignment:
    """What one `assign` decided. `wake_at`: when time alone may change the answer; None: it will not."""

    granted: tuple[Grant, ...] = ()
    hopeless: tuple[Hopeless, ...] = ()
    wake_at: float | None = None


_key = attrgetter("key")


@dataclass
class AdmissionQueue:
    """Lines of waiters by needs, each sorted by key. Lower priorities go first; equal ones in order of arrival."""

    settings: AdmissionSettings = AdmissionSettings()
    _lines: dict[Needs, list[Waiter]] = field(default_factory=dict, init=False)
    _arrivals: int = field(default=0, init=False)
    _turns: int = field(default=0, init=False)

    def __len__(self) -> int:
        return sum(map(len, tuple(self._lines.values())))

    def __repr__(self) -> str:
        return f"<AdmissionQueue {len(self)} waiting in {len(self._lines)} lines, at most {self.settings.max_queue}>"

    def key(self, priority: int, arrived_at: float) -> Key:
        """A place in the order, fixed at arrival; a request that comes back after a failure keeps it."""
        self._arrivals += 1
        return arrived_at + priority * STEP_S, self._arrivals

    def enter(self, needs: Needs, key: Key, ticket: Any = None) -> Waiter:
        """Stand in line. Follow it with `assign`, and then ask `overflows`."""
        waiter = Waiter(key, needs, ticket)
        insort(self._lines.setdefault(needs, []), waiter, key=_key)
        return waiter

    def leave(self, waiter: Waiter) -> bool:
        """Step out of the line. False: it was not waiting any more."""
        line = self._lines.get(waiter.needs, [])
        index = bisect_left(line, waiter.key, key=_key)
        if index == len(line) or line[index] is not waiter:
            return False
        del line[index]
        if not line:
            del self._lines[waiter.needs]
        return True

    def overflows(self) -> bool:
        return len(self) > self.settings.max_queue

    def position(self, waiter: Waiter) -> int:
        """1 for the head of the queue, counted over all lines."""
        return 1 + sum(bisect_left(line, waiter.key, key=_key) for line in tuple(self._lines.values()))

    def waiters(self) -> tuple[Waiter, ...]:
        """Everybody, in order."""
        return tuple(sorted((waiter for line in tuple(self._lines.values()) for waiter in line), key=_key))

    def next_turn(self) -> int:
        """The count of picks: who was picked longest ago has the lowest."""
        self._turns += 1
        return self._turns

    def assign(self, instances: Collection[Instance], now: float, rng: Random) -> Assignment:
        """Give every free slot to the first waiter whom it fits; find out who waits for nothing."""
        granted: list[Grant] = []
        hopeless: list[Hopeless] = []
        wakes: list[float] = []
        heads = [(line[0].key, needs) for needs, line in self._lines.items()]
        heapq.heapify(heads)
        while heads:
            _, needs = heapq.heappop(heads)
            choice = pick(needs, instances, now, rng)
            if choice.instance is None:
                hopeless += self._stuck(needs, choice, now, wakes)
                continue
            waiter = self._lines[needs][0]
            panic = not choice.instance.admits(needs.model, now)  # and yet it was picked
            lease = try_reserve(choice.instance, needs.model, now, rng, self.next_turn(), panic=panic)
            if lease is None:  # another kernel was faster: choose again, without that instance
                heapq.heappush(heads, (waiter.key, needs))
                continue
            self.leave(waiter)
            granted.append(Grant(waiter, lease, choice.verdicts))
            if needs in self._lines:
                heapq.heappush(heads, (self._lines[needs][0].key, needs))
        return Assignment(tuple(granted), tuple(hopeless), min(wakes, default=None))

    def _stuck(self, needs: Needs, choice: Pick, now: float, wakes: list[float]) -> list[Hopeless]:
        """Nobody can take the head of this line now. Who in it waits in vain, and when should time look again?"""
        hopes = {verdict.standing.hope for verdict in choice.verdicts}
        wakes += [at for at in (_changes_at(verdict, needs, now) for verdict in choice.verdicts) if at is not None]
        line = self._lines[needs]
        if Hope.LATER in hopes or Hope.NOW in hopes:
            for waiter in line:
                waiter.stranded_at = None
            return []
        if Hope.EJECTED not in hopes:
            return self._give_up(list(line), choice, ejected=False)
        for waiter in line:
            waiter.stranded_at = now if waiter.stranded_at is None else waiter.stranded_at
        out_of_patience = [waiter for waiter in line if now >= _patience_ends(waiter)]
        gone = self._give_up(out_of_patience, choice, ejected=True)
        wakes += [_patience_ends(waiter) for waiter in self._lines.get(needs, ())]
        return gone

    def _give_up(self, waiters: list[Waiter], choice: Pick, *, ejected: bool) -> list[Hopeless]:
        for waiter in waiters:
            self.leave(waiter)
        return [Hopeless(waiter, choice.verdicts, ejected) for waiter in waiters]


def _patience_ends(waiter: Waiter) -> float:
    return (waiter.stranded_at or 0.0) + PATIENCE_S


def _changes_at(verdict: Verdict, needs: Needs, now: float) -> float | None:
    if verdict.standing is Standing.EJECTED:
        return verdict.instance.retry_at(needs.model)
    if verdict.standing is Standing.ELSEWHERE:
        return verdict.instance.elsewhere_until
    if verdict.standing is Standing.SLOW_START:
        return verdict.instance.eases_at(needs.model, now)
    return verdict.instance.pause.until if verdict.standing is Standing.PAUSED else None
