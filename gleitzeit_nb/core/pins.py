"""Which instance answered a conversation last, and so still holds what it has read of it."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field

PIN_S = 900.0
MOST_PINS = 4096


@dataclass
class Pins:
    """Instance ids by conversation; each for a quarter of an hour after its last use, and the oldest go first."""

    most: int = MOST_PINS
    _held: OrderedDict[int, tuple[str, float]] = field(default_factory=OrderedDict, init=False)
    _by_instance: Counter[str] = field(default_factory=Counter, init=False)

    def __len__(self) -> int:
        return len(self._held)

    def __repr__(self) -> str:
        return f"<Pins of {len(self)} conversations>"

    def pin(self, conversation: int, instance_id: str, now: float) -> None:
        before = self._held.pop(conversation, None)
        self._held[conversation] = (instance_id, now)
        self._by_instance[instance_id] += 1
        if before is not None:
            self._by_instance[before[0]] -= 1
        while len(self._held) > self.most or now - next(iter(self._held.values()))[1] >= PIN_S:
            _, (oldest, _) = self._held.popitem(last=False)
            self._by_instance[oldest] -= 1

    def of(self, instance_id: str) -> int:
        """How many conversations it answered last."""
        return self._by_instance[instance_id]

    def holder(self, conversation: int | None, now: float) -> str | None:
        """Who answered it last; None: nobody, or too long ago."""
        if conversation is None:
            return None
        held = self._held.get(conversation)
        return held[0] if held is not None and now - held[1] < PIN_S else None
