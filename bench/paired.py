"""Two ways of doing one thing, timed in turn in one run, and the ratio of their medians: what survives a noisy machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

Work = Callable[[], Awaitable["float | None"]]
"""Does it once. Returns the seconds that it measured itself, or None to be timed from outside."""


@dataclass(frozen=True)
class Ratio:
    """Ours over the control's. `limit` is what the project promises; `ours_ms` and `control_ms` are medians, for orientation."""

    name: str
    control: str
    ours_ms: float
    control_ms: float
    limit: float
    pairs: int

    @property
    def value(self) -> float:
        return self.ours_ms / self.control_ms

    @property
    def held(self) -> bool:
        return self.value <= self.limit

    def line(self) -> str:
        verdict = "held" if self.held else "MISSED"
        return (
            f"{self.name:<34} {self.value:6.2f} ×  (limit {self.limit:.2f}, {verdict})   "
            f"{self.ours_ms:8.2f} ms against {self.control_ms:8.2f} ms: {self.control}, {self.pairs} pairs"
        )


async def compare(name: str, ours: Work, control: Work, *, against: str, limit: float, pairs: int, warm_up: int = 3) -> Ratio:
    """Time `ours` and `control` in turn, `pairs` times after `warm_up` rounds that are not counted."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(warm_up + pairs):
        order = (0, 1) if number % 2 else (1, 0)  # neither is always first
        for which in order:
            begin = time.perf_counter()
            own = await (ours, control)[which]()
            elapsed = time.perf_counter() - begin if own is None else own
            if number >= warm_up:
                times[which].append(elapsed * 1000)
    return Ratio(name, against, statistics.median(times[0]), statistics.median(times[1]), limit, pairs)
