"""The decisions of the pool of warm workers: who gets which, what is started, changed or discarded, and who waits. Pure.

A place is room for one worker, whatever that is. Requests of one caller in one mode stand in a line; lines take turns, so that a
thousand runs of one cell do not keep another cell waiting. Nobody is bound to a worker before one is idle: a start is made because
somebody waits, and whoever is next gets what is ready first.

    start ─▶ STARTING ─started─▶ IDLE ◀─resized─ RESIZING
                                 │ ▲                ▲
                              give │ back, hand_back │ size changed back
                                 ▼ │                │
                                LENT ───────────────┘        any state ─▶ discarded
"""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from gleitzeit_nb.core.execution import ContainerPoolSettings
from gleitzeit_nb.core.places import Discard, Give, Kind, Outcome, Place, Resize, Start, State, Step, Waiter, Want, differing

AGED = 0.75  # of its uses: then the successor is started while it still serves
WINDOW = 16  # waiters beyond `max_containers` that are looked at to find one for a worker that is idle already
PATIENCE = 4  # how often a line may be passed over for one whose worker is idle already
SETTLED_S = 5.0  # a worker that dies younger is not replaced unasked: whatever killed it would kill the next one too

DISCARDS: dict[str, str] = {"timeout": "timeout", "oom": "oom", "killed": "cancelled", "lost": "died", "protocol": "protocol"}


@dataclass(eq=False)
class _Line:
    """Waiters of one caller in one mode. `stamp` orders the lines: the one that was served longest ago has the smallest."""

    stamp: int
    passed: int = 0
    waiters: deque[Waiter] = field(default_factory=deque)


@dataclass
class _Stock:
    """A kind that is in use, of which some are kept ready. `fresh`: unused ones too. `wanted` False: not for now."""

    want: Want
    fresh: bool = False
    wanted: bool = True


@dataclass
class Lending:
    """Every method is one synchronous step. `decide` says what to do; the others say what happened."""

    settings: ContainerPoolSettings
    places: list[Place] = field(default_factory=list)
    outcomes: dict[str, Counter[str]] = field(default_factory=dict)  # by mode
    discards: dict[str, Counter[str]] = field(default_factory=dict)
    _lines: dict[tuple[str, str], _Line] = field(default_factory=dict)
    _stock: dict[Kind, _Stock] = field(default_factory=dict)
    _turns: Iterator[int] = field(default_factory=itertools.count)

    def __repr__(self) -> str:
        states = Counter(place.state.value for place in self.places)
        told = [f"{states[state.value]} {state.value}" for state in State if states[state.value]]
        return f"<Lending {', '.join([*told, f'{len(self)} waiting'])}>"

    def __len__(self) -> int:
        return sum(len(line.waiters) for line in self._lines.values())

    # -- what happened ----------------------------------------------------------------------------------------------------

    def enter(self, want: Want, now: float, ticket: Any = None) -> Waiter:
        """Stand in line. Follow it with `decide`; whoever still waits then asks `overflows`."""
        waiter = Waiter(want, now, ticket)
        line = self._lines.setdefault((want.mode, want.caller), _Line(next(self._turns)))
        line.waiters.append(waiter)
        self.keep(want, fresh=want.fresh and not want.adopted)
        return waiter

    def give_at_once(self, want: Want) -> Place | None:
        """An idle worker in the size that is wanted, lent without standing in line; None where somebody waits or there is none."""
        place = None if self._lines else self._match(want)
        if place is None or place.size != want.size:
            return None
        self.keep(want, fresh=want.fresh and not want.adopted)
        place.state, place.single = State.LENT, want.fresh
        return place

    def leave(self, waiter: Waiter) -> bool:
        """Step out of the line. False: it was not waiting any more."""
        key = (waiter.want.mode, waiter.want.caller)
        line = self._lines.get(key)
        if line is None or waiter not in line.waiters:
            return False
        line.waiters.remove(waiter)
        if not line.waiters:
            del self._lines[key]
        return True

    def keep(self, want: Want, *, fresh: bool = False) -> None:
        """Have spares of this kind from the next decision on."""
        stock = self._stock.setdefault(want.kind, _Stock(want))
        stock.wanted = True
        stock.fresh = stock.fresh or fresh

    def overflows(self) -> bool:
        return len(self) > self.settings.max_waiting

    def started(self, place: Place, now: float) -> None:
        place.made_at = place.idle_since = now
        place.state = State.IDLE

    def failed(self, place: Place) -> Waiter | None:
        """It could not be made. Returns the waiter whose error that is: the first that would have taken it; None for a spare."""
        self.places.remove(place)
        stock = self._stock.get(place.want.kind)
        if stock is not None:
            stock.wanted = False  # else a daemon that is down would be asked for spares for ever
        for waiter in self._in_turn(len(self)):
            if waiter.want.kind == place.want.kind:
                self._served(waiter)
                return waiter
        return None

    def back(self, place: Place, outcome: Outcome | None, now: float, *, usable: bool = True) -> str | None:
        """A run has ended (`outcome` None: nothing was run). Returns why the worker is discarded; None: it is idle again."""
        if outcome is not None:
            place.uses += 1
            self.outcomes.setdefault(place.want.mode, Counter())[outcome] += 1
        reason = DISCARDS.get(outcome or "")
        if reason is None and not usable:
            reason = "died"
        if reason is None and outcome is not None and not self._returns(place, place.uses):
            reason = "used up"
        if reason is not None:
            self._drop(place, reason)
            return reason
        place.single = False
        place.state = State.IDLE
        place.idle_since = now
        return None

    def adopted(self, place: Place) -> None:
        """Its worker is somebody's for good and leaves the pool."""
        self.places.remove(place)

    def resized(self, place: Place) -> None:
        place.state = State.IDLE

    def lost(self, place: Place, now: float, reason: str = "died") -> None:
        """A worker that was not lent out has gone, or will not do."""
        if now - place.made_at < SETTLED_S:
            self._let_go(place)
        self._drop(place, reason)

    def stopped(self, place: Place) -> None:
        """Somebody wants an idle worker gone; no spare takes its place unasked."""
        self._let_go(place)
        self._drop(place, "stopped")

    def expire(self, now: float, idle_s: float | None = None) -> list[Place]:
        """Give up the workers that were idle for `idle_s` (default: the configured time), and keep no spares of their kinds."""
        limit = self.settings.idle_timeout_s if idle_s is None else idle_s
        old = [place for place in self.places if place.state is State.IDLE and now - place.idle_since >= limit]
        for place in old:
            self._let_go(place)
            self._drop(place, "idle")
        return old

    # -- what to do -------------------------------------------------------------------------------------------------------

    def decide(self, now: float) -> list[Step]:
        """What is to be done now, in this order. All of it counts as begun."""
        steps = list(self._serve(now))
        if not self._lines:
            steps += self._spares(now)
        for place in self.places:
            if place.state is State.IDLE and place.size != place.want.home:
                place.size, place.state = place.want.home, State.RESIZING
                steps.append(Resize(place))
        return steps

    def position(self, waiter: Waiter) -> int:
        """How many are served up to and with this one, if nothing is passed over; 0: it does not wait."""
        line = self._lines.get((waiter.want.mode, waiter.want.caller))
        if line is None or waiter not in line.waiters:
            return 0
        own = line.waiters.index(waiter)
        others = (min(len(each.waiters), own + (each.stamp < line.stamp)) for each in self._lines.values() if each is not line)
        return own + 1 + sum(others)

    def starting_for(self, waiter: Waiter, position: int) -> Place | None:
        """The start that a waiter at this position can count on."""
        alike = [place for place in self.places if place.state is State.STARTING and place.want.kind == waiter.want.kind]
        return alike[position - 1] if 0 < position <= len(alike) else None

    def waiting(self, mode: str) -> int:
        return sum(len(line.waiters) for (each, _), line in self._lines.items() if each == mode)

    # -- serving ----------------------------------------------------------------------------------------------------------

    def _serve(self, now: float) -> Iterator[Step]:
        """Each step takes an idle worker, a start or a free place, so that few waiters matter at once."""
        coming = (State.STARTING, State.RESIZING)
        claimed: Counter[Kind] = Counter(place.want.kind for place in self.places if place.state in coming)
        for waiter in list(self._in_turn(self.settings.max_containers + WINDOW)):
            want = waiter.want
            place = self._match(want)
            if place is not None:
                yield self._give(waiter, place)
            elif claimed[want.kind]:
                claimed[want.kind] -= 1
            else:
                why = self._why_cold(want)
                if len(self.places) >= self.settings.max_containers:
                    victim = self._victim(waiter)
                    if victim is None:
                        continue
                    self._let_go(victim)
                    self._drop(victim, "idle")
                    self._line(waiter).passed = 0
                    yield Discard(victim, "idle")
                yield self._start(want, now, why)

    def _in_turn(self, most: int) -> Iterator[Waiter]:
        """The next waiters as the lines take turns."""
        lines = sorted(self._lines.values(), key=lambda line: line.stamp)
        rounds = itertools.chain.from_iterable(itertools.zip_longest(*(line.waiters for line in lines)))
        return itertools.islice((waiter for waiter in rounds if waiter is not None), most)

    def _match(self, want: Want) -> Place | None:
        """The worker that was used last, since its memory is warm; those that never were are kept for requests that ask for one."""
        alike = [place for place in self.places if place.state is State.IDLE and place.want.kind == want.kind]
        unused = [place for place in alike if not place.uses]
        used = [] if want.fresh else [place for place in alike if place.uses]
        return max(used or unused, key=lambda place: (place.size == want.size, place.idle_since), default=None)

    def _give(self, waiter: Waiter, place: Place) -> Give:
        self._served(waiter)
        resize = place.size != waiter.want.size
        place.size, place.state, place.single = waiter.want.size, State.LENT, waiter.want.fresh
        return Give(waiter, place, resize)

    def _served(self, waiter: Waiter) -> None:
        line = self._line(waiter)
        line.passed, line.stamp = 0, next(self._turns)
        self.leave(waiter)

    def _start(self, want: Want, now: float, why: str) -> Start:
        place = Place(want, now, want.size, why)
        self.places.append(place)
        return Start(place)

    def _victim(self, waiter: Waiter) -> Place | None:
        """Whose worker goes for this one. Idle ones for which somebody waits are spared while the waiter's line has patience."""
        idle = sorted((place for place in self.places if place.state is State.IDLE), key=lambda place: place.idle_since)
        awaited = {each.want.kind for each in self._in_turn(self.settings.max_containers + WINDOW)} - {waiter.want.kind}
        spare = [place for place in idle if place.want.kind not in awaited]
        if spare:
            return spare[0]
        line = self._line(waiter)
        if idle and line.passed < PATIENCE:
            line.passed += 1
            return None
        return next((place for place in idle if place.uses), None)  # an unused one was just made for somebody

    def _line(self, waiter: Waiter) -> _Line:
        return self._lines[waiter.want.mode, waiter.want.caller]

    def _why_cold(self, want: Want) -> str:
        """What stood in the way of a warm worker."""
        own = [place for place in self.places if place.want.mode == want.mode and place.state is not State.STARTING]
        if not own:
            return "the first in this mode"
        if any(place.want.kind == want.kind for place in own):
            return "no unused one was ready" if want.fresh else "all others are busy"
        nearest = min((differing(place.want.kind, want.kind) for place in own), key=len)
        return "another " + ", ".join(nearest)

    # -- keeping ready ----------------------------------------------------------------------------------------------------

    def _spares(self, now: float) -> Iterator[Start]:
        """Keep `min_warm` workers that are idle, or will be after their run, per kind in use; and unused ones where those were wanted."""
        for kind, stock in list(self._stock.items()):
            alike = [place for place in self.places if place.want.kind == kind]
            if not stock.wanted:
                if not alike:
                    del self._stock[kind]
                continue
            unused = sum(place.state is State.STARTING or (not place.uses and place.state is not State.LENT) for place in alike)
            missing = self.settings.min_warm - sum(map(self._stays, alike))
            if stock.fresh:
                missing = max(missing, self.settings.min_fresh - unused)
            room = self.settings.max_containers - len(self.places)
            for _ in range(min(missing, room)):
                yield self._start(_ordinary(stock.want), now, "")

    def _stays(self, place: Place) -> bool:
        """Will it be there for the next request? One near its last use does not count, so that its successor is made in time."""
        if place.state is State.LENT:
            return place.uses < self.settings.max_uses * AGED and self._returns(place, place.uses + 1)
        return place.state is State.STARTING or place.uses <= self.settings.max_uses * AGED

    def _returns(self, place: Place, uses: int) -> bool:
        return self.settings.reuse_containers and not place.single and uses < self.settings.max_uses

    def _let_go(self, place: Place) -> None:
        stock = self._stock.get(place.want.kind)
        if stock is not None:
            stock.wanted = False

    def _drop(self, place: Place, reason: str) -> None:
        self.places.remove(place)
        self.discards.setdefault(place.want.mode, Counter())[reason] += 1


def _ordinary(want: Want) -> Want:
    """A spare is for whoever comes."""
    return Want(want.mode, want.kind, want.home, want.home, recipe=want.recipe)
