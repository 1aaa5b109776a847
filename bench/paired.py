"""Two ways of doing one thing, timed in turn in one run, and the ratio of their medians: what survives a noisy machine."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Awaitable, Callable

from bench.promises import Promise

Work = Callable[[], Awaitable["float | None"]]
"""Does it once. Returns the seconds that it measured itself, or None to be timed from outside."""


async def compare(
    name: str, ours: Work, control: Work, *, against: str, limit: float, pairs: int, warm_up: int = 3, rate: bool = False
) -> Promise:
    """Time `ours` and `control` in turn, `pairs` times after `warm_up` rounds that are not counted.

    The promise is on ours over the control's time, at most; with `rate` on the control's over ours, at least.
    """
    times: tuple[list[float], list[float]] = ([], [])
    gc.collect()  # what others left behind is not to be charged to either
    for number in range(warm_up + pairs):
        order = (0, 1) if number % 2 else (1, 0)  # neither is always first
        for which in order:
            begin = time.perf_counter()
            own = await (ours, control)[which]()
            elapsed = time.perf_counter() - begin if own is None else own
            if number >= warm_up:
                times[which].append(elapsed * 1000)
    mine, others = statistics.median(times[0]), statistics.median(times[1])
    seen = f"{mine:.2f} ms against {others:.2f} ms: {against}, {pairs} pairs"
    return Promise(name, others / mine if rate else mine / others, limit, seen, at_least=rate)
