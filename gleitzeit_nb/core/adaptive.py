"""A limit of requests at once that finds itself: one more while answers come unhindered, fewer as soon as they wait.

Additive increase, multiplicative decrease, as in TCP. Ollama tells when a request waited inside the server: that time is in none of
the parts of `total_duration`. Where a server does not say so, an answer that takes far longer than the quickest one counts as one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

DECREASE = 0.7
WAITED_SHARE = 0.25  # of an answer's time; a little waiting is how a busy server stays busy
WAITED_S = 0.1
SLOW_FACTOR = 3.0
LOOK_BACK = 50  # answers among which the quickest is looked for


@dataclass
class AdaptiveLimit:
    """Between 1 and `most`. Begins at `most`: the configured number is a guess that is believed until it proves wrong."""

    most: int
    limit: float = field(init=False)
    slots: int = field(init=False)  # the whole requests in it
    _lowered_at: float = field(default=float("-inf"), init=False)
    _quick: deque[float] = field(default_factory=lambda: deque(maxlen=LOOK_BACK), init=False)

    def __post_init__(self) -> None:
        self._set(float(self.most))

    def __repr__(self) -> str:
        return f"<AdaptiveLimit {self.slots} of {self.most}>"

    def _set(self, limit: float) -> None:
        self.limit = min(float(self.most), max(1.0, limit))
        self.slots = int(self.limit)

    def answered(self, began_at: float, now: float, waited_s: float | None, *, in_flight: int) -> None:
        """A request was answered. `waited_s`: inside the server, None: it did not say. `in_flight`: with this one, while it ran."""
        elapsed_s = now - began_at
        if self._hindered(elapsed_s, waited_s):
            self.hindered(began_at, now)
        elif in_flight >= self.slots:  # who has not tried the limit has learned nothing of it
            self._set(self.limit + 1 / self.limit)

    def hindered(self, began_at: float, now: float) -> None:
        """The server is overloaded: it said so, or let a request wait. Once for all that began before the last decrease."""
        if began_at > self._lowered_at:
            self._lowered_at = now
            self._set(self.slots * DECREASE)

    def _hindered(self, elapsed_s: float, waited_s: float | None) -> bool:
        if waited_s is not None:
            return waited_s > max(WAITED_S, WAITED_SHARE * elapsed_s)
        quickest = min(self._quick, default=elapsed_s)
        self._quick.append(elapsed_s)
        return elapsed_s > SLOW_FACTOR * quickest and elapsed_s - quickest > WAITED_S
