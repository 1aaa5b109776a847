"""What the pool of warm workers decides about: wants, waiters, places, and the steps that a decision consists of."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

from gleitzeit_nb.core.execution import ResultStatus

Outcome = Literal[ResultStatus, "protocol"]

Kind = tuple[tuple[str, object], ...]  # what two workers must have in common, by name: it cannot be changed once they are made


class State(Enum):
    STARTING = "starting"
    IDLE = "idle"
    LENT = "lent"
    RESIZING = "resizing"


@dataclass(frozen=True)
class Size:
    """What can be changed on an idle worker."""

    memory_bytes: int
    cpus: float


@dataclass(frozen=True)
class Want:
    """`home`: the size that workers of the kind have while nobody asks for another one. `caller`: whose turn it takes.

    `adopted`: its worker leaves the pool for good. `recipe`: what a worker of the kind is made with, for the shell.
    """

    mode: str
    kind: Kind
    size: Size
    home: Size
    caller: str = ""
    fresh: bool = False
    adopted: bool = False
    recipe: Any = field(default=None, compare=False)


@dataclass(eq=False)
class Waiter:
    """`ticket` is whatever the shell knows it by."""

    want: Want
    since: float
    ticket: Any = None


@dataclass(eq=False)
class Place:
    """`want`: what its worker was made for, `why`: what was missing, "" for a spare. `single`: lent for one run, and not to return."""

    want: Want
    since: float  # when it was decided on
    size: Size
    why: str = ""
    state: State = State.STARTING
    made_at: float = 0.0
    idle_since: float = 0.0
    uses: int = 0
    single: bool = False
    worker: Any = None

    def __repr__(self) -> str:
        return f"<Place {self.want.mode} {self.state.value}, used {self.uses}x>"


@dataclass(frozen=True)
class Give:
    """The waiter has the place's worker from now on, as soon as it has the place's size where that was changed (`resize`)."""

    waiter: Waiter
    place: Place
    resize: bool


@dataclass(frozen=True)
class Start:
    """Make a worker; tell it by `started` or `failed`."""

    place: Place


@dataclass(frozen=True)
class Resize:
    """Change an idle worker back to the place's size; tell it by `resized`."""

    place: Place


@dataclass(frozen=True)
class Discard:
    place: Place
    reason: str


Step = Give | Start | Resize | Discard


def differing(one: Kind, other: Kind) -> list[str]:
    """In words, what two kinds have not in common."""
    ones, others = dict(one), dict(other)
    names = (name for name in ones.keys() | others.keys() if ones.get(name) != others.get(name))
    return sorted(name.removesuffix("_bytes").replace("_", " ") for name in names)
