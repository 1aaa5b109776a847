"""How long first tokens of loaded models have taken on an instance: what a limit of time can be made of."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

KEPT = 50  # answers that the percentile looks back on
MODELS = 64  # bounded: the names of models come from requests


@dataclass
class FirstTokens:
    """By canonical name of the model, in seconds."""

    _seen: dict[str, deque[float]] = field(default_factory=dict, init=False)

    def observe(self, model: str, elapsed_s: float) -> None:
        seen = self._seen.get(model)
        if seen is None:
            if len(self._seen) >= MODELS:
                del self._seen[next(iter(self._seen))]
            seen = self._seen[model] = deque(maxlen=KEPT)
        seen.append(elapsed_s)

    def p95_s(self, model: str) -> float | None:
        """The time that 95 of 100 keep to (nearest rank); None before the first."""
        seen = self._seen.get(model)
        return sorted(seen)[math.ceil(0.95 * len(seen)) - 1] if seen else None
