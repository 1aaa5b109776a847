"""The circuit breaker: an automaton that keeps requests away from what fails, and lets one probe at a time find out.

                       trip                          due
        ┌────────┐ ─────────────▶ ┌──────┐ ──────────────────────▶ ┌───────────┐
        │ closed │                │ open │                         │ half_open │
        └────────┘                └──────┘ ◀────────────────────── └───────────┘
             ▲                                       fail                │
             └───────────────────────────────────────────────────────────┘
                                        pass

trip: enough faults in a row, half of the recent requests, or one refused connection.
due: the ejection is over; or the instance was reached again; or most instances are ejected and this one is tried all the same.
fail: the probe failed; the next ejection is longer.
pass: enough probes succeeded. What has just been closed starts slowly: one request at a time, then two, then four …

A closed one that has just failed takes no more at once than faults are missing to open it, until it succeeds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from random import Random

from gleitzeit_nb.core.backoff import growing_s

WINDOW = 10  # requests that the share of faults looks back on
ENOUGH = 5  # of them, to speak of a share
WORST_SHARE = 0.5
SLOW_START_STEP_S = 1.0  # time doubles what a closed breaker lets through at once, and so does every success
SLOW_START_STEPS = 6  # after 1, 2, 4, 8, 16, 32 at once it is over


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


_CLOSED, _OPEN = BreakerState.CLOSED, BreakerState.OPEN  # looked up for every candidate, which before Python 3.12 is a call each

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
    closed_at: float | None = field(default=None, init=False)  # since when it starts slowly; None: it has never been open
    _faults: int = field(default=0, init=False)  # in a row, while closed
    _recent: deque[bool] = field(default_factory=deque, init=False)  # True: a fault; while closed
    _eased: int = field(default=0, init=False)  # successes since it was closed
    _passed: int = field(default=0, init=False)  # probes, while half open
    _ejections: int = field(default=0, init=False)  # since it was last closed
    _probing: bool = field(default=False, init=False)
    _panicked: bool = field(default=False, init=False)  # the last ejection was cut short by the panic rule

    def admits(self, now: float) -> bool:
        """May one more request begin? Changes nothing."""
        if self.state is _CLOSED:
            return True
        if self.state is _OPEN:
            return self.due(now)
        return not self._probing

    def due(self, now: float) -> bool:
        return self.retry_at is not None and now >= self.retry_at

    @property
    def probing(self) -> bool:
        return self._probing

    @property
    def may_panic(self) -> bool:
        """May the ejection be cut short? Not twice in a row: what failed then waits for its time."""
        return self.state is BreakerState.OPEN and not self._panicked

    def retry_in(self, now: float) -> float | None:
        """Seconds until an open breaker lets a probe through; None when it is not open."""
        return None if self.retry_at is None else max(0.0, self.retry_at - now)

    def cap(self, now: float) -> int | None:
        """The most requests at once; None: no limit of the breaker's.

        After a fault only as many as faults are missing to open it; while it starts slowly, what that allows.
        """
        if self._faults:
            return max(1, self.settings.failure_threshold - self._faults)
        if self.closed_at is None:
            return None
        steps = self._eased + int((now - self.closed_at) / SLOW_START_STEP_S)
        return None if steps >= SLOW_START_STEPS else 2 ** max(0, steps)

    def eases_at(self, now: float) -> float | None:
        """When time alone raises the cap; None: there is none."""
        if self.closed_at is None or self._faults or self.cap(now) is None:
            return None
        return self.closed_at + SLOW_START_STEP_S * (int((now - self.closed_at) / SLOW_START_STEP_S) + 1)

    def begin(self, now: float, *, panic: bool = False) -> tuple[bool, Move | None]:
        """A request starts, which `admits` allowed (or `may_panic`). (whether it is the probe, the move that it caused)."""
        early = self.state is BreakerState.OPEN and not self.due(now)
        if not self.admits(now) and not (early and panic and self.may_panic):
            raise RuntimeError(f"a request began although the breaker does not admit it: {self!r}")
        move = None
        if self.state is BreakerState.OPEN:
            self._panicked = early
            move = self._step(Step.DUE, "most instances are ejected, so it is tried all the same" if early else "the ejection is over")
        self._probing = self.state is BreakerState.HALF_OPEN
        return self._probing, move

    def end(self, probe: bool, result: Result, reason: str, now: float, rng: Random, *, unreachable: bool = False) -> Move | None:
        """A request ended. What began before the breaker opened no longer counts while it is open or half open."""
        if probe:
            return self._end_probe(result, reason, now, rng, unreachable)
        if self.state is not BreakerState.CLOSED or result is Result.IGNORED:
            return None
        self._book(result is not Result.SUCCESS)
        if result is not Result.SUCCESS and (result is Result.FATAL or self._is_enough()):
            return self._open(Step.TRIP, reason, now, rng, unreachable)
        return None

    def reached(self, now: float) -> Move | None:
        """A health probe got through. Only what opened for being unreachable is believed to be better.

        The first ends the ejection; while no request tries it, further ones count as the probes that close it.
        """
        if not self.unreachable or self.state is BreakerState.CLOSED or self._probing:
            return None
        if self.state is BreakerState.OPEN:
            return self._step(Step.DUE, "it can be reached again")
        return self._pass(now, "it can be reached again, and nobody asks it")

    def missed(self) -> None:
        """A health probe does not get through either: to be reached again will be news."""
        if self.state is BreakerState.OPEN:
            self.unreachable = True

    def _book(self, fault: bool) -> None:
        self._faults = self._faults + 1 if fault else 0
        self._eased += not fault
        self._recent.append(fault)
        if len(self._recent) > max(WINDOW, self.settings.failure_threshold):
            self._recent.popleft()

    def _is_enough(self) -> bool:
        """Too many in a row, or too large a share. A threshold that was raised raises what a share needs, too."""
        if self._faults >= self.settings.failure_threshold:
            return True
        enough = len(self._recent) >= max(ENOUGH, self.settings.failure_threshold)
        return enough and sum(self._recent) >= WORST_SHARE * len(self._recent)

    def _end_probe(self, result: Result, reason: str, now: float, rng: Random, unreachable: bool) -> Move | None:
        self._probing = False
        if self.state is not BreakerState.HALF_OPEN or result is Result.IGNORED:
            return None
        if result is not Result.SUCCESS:
            return self._open(Step.FAIL, reason, now, rng, unreachable)
        return self._pass(now, "the probe succeeded")

    def _pass(self, now: float, reason: str) -> Move | None:
        self._passed += 1
        if self._passed < self.settings.half_open_requests:
            return None
        move = self._step(Step.PASS, reason)
        self._ejections = 0
        self._panicked = False
        self.closed_at = now
        return move

    def _open(self, step: Step, reason: str, now: float, rng: Random, unreachable: bool) -> Move:
        move = self._step(step, reason)
        self._ejections += 1
        self.reason = reason
        self.unreachable = unreachable
        self.retry_at = now + growing_s(self._ejections, self.settings.first_ejection_s, self.settings.recovery_timeout_s, rng)
        return move

    def _step(self, step: Step, reason: str) -> Move:
        before, after = self.state, TABLE[self.state, step]
        self.state = after
        self.retry_at = self.closed_at = None
        self._faults = self._eased = self._passed = 0
        self._recent.clear()
        return Move(before, after, reason)
