"""How often something that grows may be shown again. Pure: the time comes in."""

from __future__ import annotations

MIN_INTERVAL_S = 0.05  # 20 repaints a second
COST_SHARE = 0.2  # of the time may go into preparing what is shown


class Pace:
    """A bucket of bytes that fills at `bytes_per_s`: a message may go when it is not in debt. Large messages make it wait longer."""

    def __init__(self, bytes_per_s: float, min_interval_s: float = MIN_INTERVAL_S) -> None:
        self._bytes_per_s = bytes_per_s
        self._min_interval_s = min_interval_s
        self._next_at = float("-inf")

    def wait_s(self, now: float) -> float:
        """How long until the next message may go; 0 when it may go now."""
        return max(0.0, self._next_at - now)

    def sent(self, size_bytes: int, now: float, cost_s: float = 0.0) -> None:
        """A message of that size went, and preparing it took `cost_s`."""
        pause = max(self._min_interval_s, size_bytes / self._bytes_per_s, cost_s / COST_SHARE)
        self._next_at = max(self._next_at, now) + pause
