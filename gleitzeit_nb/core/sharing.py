"""The slots of one server where several pools of a machine share them: the seam, and the rules that need no file.

Each pool goes on counting its own requests. Beside that it takes a slot that all of them know (`SlotShare.take`), in the step in which
it reserves. When there is none, the instance is left alone for a moment and looked at again while somebody waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Protocol

LOOK_AGAIN_S = (0.05, 0.25)  # drawn anew each time, so that pools that wait do not look in step
TURN_S = 0.5  # a pool that has worked this long beside one that waits lets it go first
STAND_BACK_S = LOOK_AGAIN_S[1]  # long enough for one look of whoever waits

GiveBack = Callable[[], None]


class SlotShare(Protocol):
    """One pool's part in the slots of one server. Nothing here waits."""

    @property
    def limit(self) -> int | None:
        """The smallest `max_concurrent` of all the pools; None: nobody has set one."""
        ...

    def take(self, model: str, slots: int, *, one_per_model: bool) -> GiveBack | None:
        """One of at most `slots` slots, as the way to give it back; None: the others have them."""
        ...

    def stand_back_s(self, now: float) -> float:
        """How long to leave a slot to others that was just given back."""
        ...


def smallest(limits: Iterable[int | None]) -> int | None:
    """None is no limit but none that was set: it yields to any number."""
    return min((limit for limit in limits if limit is not None), default=None)


def look_again_at(now: float, rng: Random) -> float:
    return now + rng.uniform(*LOOK_AGAIN_S)


def courtesy_s(turn_began: float, now: float, *, others_wait: bool) -> float:
    """No queue spans the pools. So that none starves, one that has had its turn stays away for as long as a look of the others takes."""
    return STAND_BACK_S if others_wait and now - turn_began >= TURN_S else 0.0
