"""An instance that says that it is busy is neither broken nor to be pressed: it is left alone, then asked by one at a time."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from gleitzeit_nb.core.backoff import growing_s

FIRST_S = 0.5
LONGEST_S = 5.0
LONGEST_ASKED_S = 300.0  # of what the instance itself asks for by Retry-After


@dataclass
class Pause:
    """`until`: when it may be asked again. `count`: how often in a row it has said that it is busy."""

    until: float = 0.0
    count: int = 0

    def said_busy(self, now: float, retry_after_s: float | None, rng: Random) -> None:
        """Pause for what it asked for, else for a growing time. Who asked before the pause began does not lengthen it."""
        if now >= self.until:
            self.count += 1
            self.until = now + growing_s(self.count, FIRST_S, LONGEST_S, rng)
        if retry_after_s is not None:
            self.until = max(self.until, now + min(retry_after_s, LONGEST_ASKED_S))

    def answered(self) -> None:
        self.count = 0
