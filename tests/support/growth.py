"""How the work of a function grows with its input: by the processor's time of this thread, which others on the machine hardly change."""

from __future__ import annotations

import time
from collections.abc import Callable

TRIES = 3
TIMES = 4  # as much; what grows with the square of it then takes sixteen times as long
LINEAR = 9.0  # at most this much is no more than linear, with room for caches and for garbage


def growth(work: Callable[[str], object], piece: str, chars: int) -> float:
    """How many times as long `work` takes for TIMES as many of the characters; the least of a few tries of each."""
    small, large = ((piece * (1 + size // len(piece)))[:size] for size in (chars, TIMES * chars))
    return _least_s(work, large) / _least_s(work, small)


def _least_s(work: Callable[[str], object], text: str) -> float:
    found = []
    for _ in range(TRIES):
        begun = time.thread_time()
        work(text)
        found.append(time.thread_time() - begun)
    return max(min(found), 1e-4)  # what takes no time has not grown
