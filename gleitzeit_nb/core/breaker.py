"""The circuit breaker: an automaton that keeps requests away from what fails, and lets one probe at a time find out.

                       trip                          due
        ┌────────┐ ─────────────▶ ┌──────┐ ──────────────────────▶ ┌───────────┐
        │ closed │                │ open │                         │ half_open │
        └────────┘                └──────┘ ◀────────────────────── └───────────┘
             ▲                                       fail                │
             └───────────────────────────────────────────────────────────┘
                                        pass

trip: enough faults in a row, or one refused connection.  due: the ejection is over (or the instance was reached again).
fail: the probe failed; the next ejection is longer.  pass: enough probes succeeded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from random import Random


@dataclass(frozen=True)
class BreakerSettings:
    """When an instance is ejected, and how it comes back.

    `failure_threshold`: consecutive faults that open the breaker (a refused connection opens it at once).
    `recovery_timeout_s`: the longest ejection; ejections start at `first_ejection_s` and double.
    `half_open_requests`: probes that must succeed to close it, one at a time.
    """

    failure_threshold: int = 3
    recovery_timeout_s: float = 30.0
    half_open_requests: int = 1
    first_ejection_s: float = 0.5


class BreakerState(str, Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Step(Enum):
    """What moves the automaton."""

    TRIP = "trip"
    DUE = "due"
    FAIL = "fail"
    PASS = "pass"


class Result(Enum):
    """How one request ended, as far as a breaker cares."""

    SUCCESS = "success"
    FAULT = "fault"
    FATAL = "fatal"
    IGNORED = "ignored"


TABLE: Mapping[tuple[BreakerState, Step], BreakerState] = {
    (BreakerState.CLOSED, Step.TRIP): BreakerState.OPEN,
    (BreakerState.OPEN, Step.DUE): BreakerState.HALF_OPEN,
    (BreakerState.HALF_OPEN, Step.FAIL): BreakerState.OPEN,
    (BreakerState.HALF_OPEN, Step.PASS): BreakerState.CLOSED,
}


@dataclass(frozen=True)
class Move:
    """One transition, for events and logs."""

    before: BreakerState
    after: BreakerState
    reason: str


@dataclass
class Breaker:
    """One automaton. `begin` and `end` come in pairs; `begin` says whether this request is the probe."""

    settings: BreakerSettings = BreakerSettings()
    state: BreakerState = field(default=BreakerState.CLOSED, init=False)
    retry_at: float | None = field(default=None, init=False)
    reason: str = field(default="", init=False)  # why it opened last
    unreachable: bool = field(default=False, init=False)  # it opened because nobody listened, not because work failed
    _faults: int = field(default=0, init=False)  # in a row, while closed
    _passed: int = field(default=0, init=False)  # probes, while half open
    _ejections: int = field(default=0, init=False)  # since it was last closed
    _probing: bool = field(default=False, init=False)

    def admits(self, now: float) -> bool:
        """May one more request begin? Changes nothing."""
        if self.state is BreakerState.OPEN:
            return self.due(now)
        return self.state is BreakerState.CLOSED or not self._probing

    def due(self, now: float) -> bool:
        return self.retry_at is not None and now >= self.retry_at

    @property
    def probing(self) -> bool:
        return self._probing

    def retry_in(self, now: float) -> float | None:
        """Seconds until an open breaker lets a probe through; None when it is not open."""
        return None if self.retry_at is None else max(0.0, self.retry_at - now)

    def begin(self, now: float) -> tuple[bool, Move | None]:
        """A request starts, which `admits` allowed. (whether it is the probe, the move that it caused)."""
        if not self.admits(now):
            raise RuntimeError(f"a request began although the breaker does not admit it: {self!r}")
        move = self._step(Step.DUE, "the ejection is over") if self.state is BreakerState.OPEN else None
        self._probing = self.state is BreakerState.HALF_OPEN
        return self._probing, move

    def end(self, probe: bool, result: Result, reason: str, now: float, rng: Random, *, unreachable: bool = False) -> Move | None:
        """A request ended. What began before the breaker opened no longer counts while it is open or half open."""
        if probe:
            return self._end_probe(result, reason, now, rng, unreachable)
        if self.state is not BreakerState.CLOSED or result is Result.IGNORED:
            return None
        if result is Result.SUCCESS:
            self._faults = 0
            return None
        self._faults += 1
        if result is Result.FATAL or self._faults >= self.settings.failure_threshold:
            return self._open(Step.TRIP, reason, now, rng, unreachable)
        return None

    def reached(self, now: float) -> Move | None:
        """A health probe got through. Only what opened for being unreachable is believed to be better."""
        if self.state is not BreakerState.OPEN or not self.unreachable:
            return None
        return self._step(Step.DUE, "it can be reached again")

    def _end_probe(self, result: Result, reason: str, now: float, rng: Random, unreachable: bool) -> Move | None:
        self._probing = False
        if self.state is not BreakerState.HALF_OPEN or result is Result.IGNORED:
            return None
        if result is not Result.SUCCESS:
            return self._open(Step.FAIL, reason, now, rng, unreachable)
        self._passed += 1
        if self._passed < self.settings.half_open_requests:
            return None
        self._ejections = 0
        return self._step(Step.PASS, "the probe succeeded")

    def _open(self, step: Step, reason: str, now: float, rng: Random, unreachable: bool) -> Move:
        move = self._step(step, reason)
        self._ejections += 1
        self.reason = reason
        self.unreachable = unreachable
        self.retry_at = now + ejection_s(self._ejections, self.settings, rng)
        return move

    def _step(self, step: Step, reason: str) -> Move:
        before, after = self.state, TABLE[self.state, step]
        self.state = after
        self.retry_at = None
        self._faults = self._passed = 0
        return Move(before, after, reason)


def ejection_s(count: int, settings: BreakerSettings, rng: Random) -> float:
    """Length of the `count`-th ejection in a row: the ceiling doubles, and the draw covers the whole range below it.

    The floor of half a first ejection keeps a draw near zero from being no ejection at all.
    """
    ceiling = min(settings.first_ejection_s * 2.0 ** min(count - 1, 32), settings.recovery_timeout_s)
    return rng.uniform(min(settings.first_ejection_s / 2, ceiling), ceiling)
