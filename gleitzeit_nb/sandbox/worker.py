"""A guest with its history, lent out for one run at a time; and what two of them must have in common."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from gleitzeit_nb.core.execution import Limits, ModeSettings
from gleitzeit_nb.core.places import Kind, Outcome, Place, Size, State, Want
from gleitzeit_nb.sandbox.connection import GuestConnection
from gleitzeit_nb.snapshot import ContainerView

_STATES = {State.STARTING: "starting", State.IDLE: "idle", State.LENT: "running", State.RESIZING: "idle"}
RESIZED = ("docker",)  # kinds of modes whose idle workers can be given other memory and CPUs
_OF_THE_RUN = frozenset({"timeout_s", "output_bytes", "value_bytes", "display_bytes"})
_OF_THE_SIZE = frozenset({"memory_bytes", "cpus"})
_OF_THE_VIEW = frozenset({"label", "enabled", "allowed_modules", "limits"})


def want_of(mode: ModeSettings, limits: Limits, image: str | None, *, caller: str = "", fresh: bool = False, adopted: bool = False) -> Want:
    """What a request needs of a worker. Whatever is not known to be every run's own keys workers apart, new settings too."""
    size, home = Size(limits.memory_bytes, limits.cpus), Size(mode.limits.memory_bytes, mode.limits.cpus)
    if mode.kind not in RESIZED or image is not None:
        home = size  # an image that one run named has no usual size of its own
    left_out = _OF_THE_RUN | (_OF_THE_SIZE if mode.kind in RESIZED else frozenset())
    recipe = merged(mode, limits, image)
    return Want(mode.id, _named(recipe, _OF_THE_VIEW) + _named(limits, left_out), size, home, caller, fresh or adopted, adopted, recipe)


def merged(mode: ModeSettings, limits: Limits, image: str | None) -> ModeSettings:
    """The mode as this request wants it."""
    return replace(mode, limits=limits, image=image or mode.image)


def limits_in(worker: Limits, run: Limits) -> Limits:
    """What the worker was made with, and of `run` what is every run's own."""
    return replace(worker, **{name: getattr(run, name) for name in _OF_THE_RUN})


def _named(settings: ModeSettings | Limits, left_out: frozenset[str]) -> Kind:
    names = (each.name for each in dataclasses.fields(settings) if each.name not in left_out)
    return tuple((name, _hashable(getattr(settings, name))) for name in names)


def _hashable(value: object) -> object:
    if isinstance(value, Mapping):
        return tuple(sorted((key, _hashable(each)) for key, each in value.items()))
    return tuple(map(_hashable, value)) if isinstance(value, (tuple, list)) else value


@dataclass(eq=False)
class Worker:
    """`isolation`: one line on what holds the guest."""

    mode: ModeSettings
    connection: GuestConnection
    isolation: str
    start_s: float = 0.0
    memory_bytes: int | None = None
    made_at: float = 0.0  # wall clock

    def __repr__(self) -> str:
        return f"<Worker {self.mode.id} {self.connection!r}>"


def container_view(place: Place) -> ContainerView:
    """One that is being made has no name yet, and is made now."""
    worker: Worker | None = place.worker
    return ContainerView(
        id=worker.connection.channel.name if worker is not None else "",
        mode=place.want.mode,
        image=place.want.recipe.image or "",
        state=_STATES[place.state],
        memory_bytes=worker.memory_bytes if worker is not None else None,
        made_at=worker.made_at if worker is not None else time.time(),
        runs=place.uses,
    )


class Lender(Protocol):
    def take_back(self, place: Place, outcome: Outcome | None) -> None: ...

    def let_go(self, place: Place) -> None: ...


class Lease:
    """A worker for one run. `end` must be called exactly once, with how the run ended; None: nothing was run.

    `start_s`: how much of the wait was the start of a worker; `cold`: why there had to be one, "" for a warm one.
    """

    def __init__(self, place: Place, pool: Lender, queue_s: float, start_s: float, cold: str) -> None:
        self.worker: Worker = place.worker
        self.queue_s = queue_s
        self.start_s = start_s
        self.cold = cold
        self._place = place
        self._pool = pool
        self._ended = False

    def __repr__(self) -> str:
        return f"<Lease {self.worker!r}{' ended' if self._ended else ''}>"

    def end(self, outcome: Outcome | None = None) -> None:
        if self._ended:
            raise AssertionError("a lease ends once")
        self._ended = True
        self._pool.take_back(self._place, outcome)

    def keep(self) -> Worker:
        """End it by keeping the worker, which the pool then forgets."""
        if self._ended:
            raise AssertionError("a lease ends once")
        self._ended = True
        self._pool.let_go(self._place)
        return self.worker
