"""The retry budget of a pool: tries may be repeated as a share of the requests that come in, and no more.

Without it, servers that fail under load would get more load. The idea is that of Finagle's and Envoy's retry budgets.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

SHARE = 0.2  # of the requests of the last seconds
ALWAYS = 3  # retries that need no requests to be earned
EXPIRES_S = 10.0  # what a request earned is forgotten then, and so is what a retry has cost


@dataclass
class _Second:
    number: int
    requests: int = 0
    retries: int = 0


@dataclass
class RetryBudget:
    """`earn` for every request; `spend` before a retry."""

    _seconds: deque[_Second] = field(default_factory=deque, init=False)

    def __repr__(self) -> str:
        return f"<RetryBudget {self.retries} retries for {self.requests} requests>"

    @property
    def requests(self) -> int:
        return sum(second.requests for second in self._seconds)

    @property
    def retries(self) -> int:
        return sum(second.retries for second in self._seconds)

    def earn(self, now: float) -> None:
        self._at(now).requests += 1

    def affords(self, now: float) -> bool:
        """Is there enough for one retry? Changes nothing that matters."""
        self._at(now)
        return ALWAYS + SHARE * self.requests - self.retries >= 1.0

    def spend(self, now: float) -> bool:
        """Pay for one retry. False: the budget is used up, and nothing was paid."""
        if not self.affords(now):
            return False
        self._at(now).retries += 1
        return True

    def _at(self, now: float) -> _Second:
        """The books of this second, after forgetting the old ones."""
        number = int(now)
        while self._seconds and self._seconds[0].number <= now - EXPIRES_S:
            self._seconds.popleft()
        if not self._seconds or self._seconds[-1].number < number:
            self._seconds.append(_Second(number))
        return self._seconds[-1]
