"""Looking after the models on the instances: where to, how far, and what came of it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from gleitzeit_nb.core.instances import Instance, InstanceState
from gleitzeit_nb.core.models import canonical
from gleitzeit_nb.core.wire_numbers import count

STATUS_CHARS = 60


class Place(TypedDict, total=False):
    """Which instances a command is for. Without any of these, each command says what it takes."""

    instance: str | None
    tags: str | Sequence[str]  # those that have all of them
    everywhere: bool


@dataclass(frozen=True)
class Where:
    """`Place` as a value."""

    instance: str | None = None
    tags: frozenset[str] = frozenset()
    everywhere: bool = False

    @classmethod
    def of(cls, instance: str | None = None, tags: str | Sequence[str] = (), everywhere: bool = False) -> Where:
        """Raises ValueError when more than one is said."""
        words = tags.split(",") if isinstance(tags, str) else tags
        wanted = frozenset(filter(None, map(str.strip, words)))
        if (instance is not None) + bool(wanted) + everywhere > 1:
            raise ValueError("name an instance, or tags, or all instances: one of the three")
        return cls(instance, wanted, everywhere)

    @property
    def is_said(self) -> bool:
        return self.instance is not None or bool(self.tags) or self.everywhere

    def holds(self, instance: Instance) -> bool:
        """Whether it is meant. Where nothing is said, all are."""
        return self.instance in (None, instance.id) and self.tags <= frozenset(instance.settings.tags)

    def __str__(self) -> str:
        tags = f"with the tags {', '.join(sorted(self.tags))}"
        return self.instance or (tags if self.tags else "of the pool")


@dataclass(frozen=True)
class Warmed:
    """`elapsed_s`: until the model was loaded there. `was_warm`: it had been before."""

    instance: str
    model: str
    elapsed_s: float
    was_warm: bool


@dataclass(frozen=True)
class Holding:
    """A model on an instance's disk."""

    instance: str
    name: str
    size_bytes: int | None
    digest: str


@dataclass(frozen=True)
class PullProgress:
    """How far one instance is. `done` with an `error` of "": the model is there."""

    instance: str
    model: str
    status: str
    completed_bytes: int = 0
    total_bytes: int = 0  # of the layers that were begun; 0: not known yet
    done: bool = False
    error: str = ""

    @property
    def share(self) -> float | None:
        return min(1.0, self.completed_bytes / self.total_bytes) if self.total_bytes else None


@dataclass
class Layers:
    """The lines of one pull, added up. They are untrusted: what makes no sense counts as nothing."""

    status: str = "starting"
    _sizes: dict[str, tuple[int, int]] = field(default_factory=dict)  # digest -> (completed, total)

    def take(self, line: Mapping[str, Any]) -> None:
        status = line.get("status")
        if isinstance(status, str):
            self.status = "".join(char for char in status[:STATUS_CHARS] if char.isprintable())
        digest, total, completed = line.get("digest"), count(line.get("total")), count(line.get("completed", 0))
        if isinstance(digest, str) and total is not None and completed is not None and completed <= total:
            self._sizes[digest] = (completed, total)

    @property
    def completed_bytes(self) -> int:
        return sum(completed for completed, _ in self._sizes.values())

    @property
    def total_bytes(self) -> int:
        return sum(total for _, total in self._sizes.values())


def home_of(model: str, instances: Collection[Instance], now: float) -> Instance | None:
    """Where a model should be loaded that is wanted somewhere: where it is loaded, else where the least is. None: nobody is known."""
    name = canonical(model)
    fit = [each for each in instances if each.state is InstanceState.HEALTHY and not each.draining and each.has_model(name)]
    if not fit:
        return None
    return min(fit, key=lambda each: (not each.is_warm(name, now), len(each.loaded), each.load.in_flight, each.settings.priority, each.id))
