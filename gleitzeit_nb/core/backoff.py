"""How long to leave alone what has just failed."""

from __future__ import annotations

from random import Random


def growing_s(count: int, first_s: float, longest_s: float, rng: Random) -> float:
    """Length of the `count`-th pause in a row: it doubles, and is drawn from the whole step up to the next doubling.

    Its floor grows, too: were draws near zero allowed, how often a bad instance is tried would be a matter of luck.
    """
    floor = min(first_s * 2.0 ** min(count - 1, 32), longest_s)
    return rng.uniform(floor, min(2 * floor, longest_s))


def returning_s(ceiling_s: float, rng: Random) -> float:
    """Before the same instance is asked by the same request again: full jitter, so that those who failed together come apart."""
    return rng.uniform(0.0, ceiling_s)
