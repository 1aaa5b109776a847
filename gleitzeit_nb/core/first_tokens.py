"""How long first tokens of loaded models have taken on an instance: what a limit of time can be made of."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass, field

KEPT = 50  # answers that the percentile looks back on
MODELS = 64  # bounded: the names of models come from requests


@dataclass
class FirstTokens:
    """By canonical name of the model, in seconds."""

    _seen: dict[str, deque[float]] = field(default_factory=dict, init=False)
    _sorted: dict[str, list[float]] = field(default_factory=dict, init=False)  # the same: it is asked for as often as it changes

    def observe(self, model: str, elapsed_s: float) -> None:
        seen = self._seen.get(model)
        if seen is None:
            if len(self._seen) >= MODELS:
                oldest = next(iter(self._seen))
                del self._seen[oldest], self._sorted[oldest]
            seen, self._sorted[model] = self._seen.setdefault(model, deque()), []
        in_order = self._sorted[model]
        if len(seen) == KEPT:
            del in_order[bisect_left(in_order, seen.popleft())]
        seen.append(elapsed_s)
        insort(in_order, elapsed_s)

    def p95_s(self, model: str) -> float | None:
        """The time that 95 of 100 keep to (nearest rank); None before the first."""
        in_order = self._sorted.get(model)
        return in_order[math.ceil(0.95 * len(in_order)) - 1] if in_order else None
