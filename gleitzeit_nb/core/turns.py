"""Whose turn it was: what the strategies go by that hand out turns."""

from __future__ import annotations

from dataclasses import dataclass, field

from gleitzeit_nb.core.instances import Instance


def middle(instance: Instance) -> float:
    """The middle of an instance's next turn on the scale of shares; who has the lowest is next, so that heavy ones come evenly spread."""
    return instance.load.share + 0.5 / instance.settings.weight


@dataclass
class Turns:
    """Counts picks. An instance that was away for long is not given all that it missed."""

    count: int = field(default=0, init=False)
    _reached: float = field(default=0.0, init=False)  # on the scale of shares

    def take(self, instance: Instance) -> None:
        """It was picked."""
        self.count += 1
        instance.last_turn = self.count
        step = 1.0 / instance.settings.weight
        begin = max(instance.load.share, self._reached - step / 2)
        self._reached = max(self._reached, begin + step / 2)
        instance.load.share = begin + step
