"""How often something that grows may be shown again. Pure: the time comes in.

A kernel may send some 250 kB of displays a second: the dashboard and the side panel have 60 kB of that each, all answers and jobs
together ANSWERS_BYTES_PER_S. An answer of 8 kB is then shown anew some fourteen times a second, and several share that in turn.
"""

from __future__ import annotations

import threading

ANSWERS_BYTES_PER_S = 130_000
MIN_INTERVAL_S = 0.05  # 20 repaints a second
COST_SHARE = 0.2  # of a processor may go into preparing what is shown


class Budget:
    """Bytes a second that several views share. Each reserves its next message; who reserved first goes first, so that none starves."""

    def __init__(self, bytes_per_s: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._lock = threading.Lock()  # invariant: what was reserved moves `_free_at` exactly once
        self._free_at = float("-inf")

    def reserve(self, size_bytes: int, now: float) -> float:
        """When a message of about that size may go."""
        with self._lock:
            at = max(self._free_at, now)
            self._free_at = at + size_bytes / self._bytes_per_s
            return at

    def correct(self, more_bytes: int) -> None:
        """A message was larger (or, negative, smaller) than what was reserved for it."""
        with self._lock:
            self._free_at += more_bytes / self._bytes_per_s


class Pace:
    """Of one view: a message may go when its turn in the budget has come. Large messages make it wait longer."""

    def __init__(self, budget: Budget | float, min_interval_s: float = MIN_INTERVAL_S) -> None:
        self._budget = budget if isinstance(budget, Budget) else Budget(budget)
        self._min_interval_s = min_interval_s
        self._rested_at = float("-inf")
        self._usual_bytes = 0  # the last message's size: the next is about as large
        self._turn: tuple[float, int] | None = None  # (when, how many bytes) was reserved

    def wait_s(self, now: float) -> float:
        """How long until the next message may go; 0 when it may go now. Asked only by who has something to send: it reserves."""
        if self._turn is None:
            self._turn = (self._budget.reserve(self._usual_bytes, now), self._usual_bytes)
        return max(0.0, self._turn[0] - now, self._rested_at - now)

    def sent(self, size_bytes: int, now: float, cost_s: float = 0.0, rest_s: float = 0.0) -> None:
        """A message of that size went, and preparing it took `cost_s` of a processor; the next may wait for `rest_s` at least."""
        if self._turn is None:
            self._budget.reserve(size_bytes, now)
        else:
            self._budget.correct(size_bytes - self._turn[1])
        self._turn, self._usual_bytes = None, size_bytes
        self._rested_at = now + max(self._min_interval_s, cost_s / COST_SHARE, rest_s)
