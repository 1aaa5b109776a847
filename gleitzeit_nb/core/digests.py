"""The same name, another model: digests compared across instances. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gleitzeit_nb.core.models import display

SHOWN_CHARS = 12


@dataclass(frozen=True)
class Conflict:
    """`holders`: each digest, with the instances where the name stands for it; the most frequent first."""

    model: str  # canonical
    holders: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def text(self) -> str:
        places = "; ".join(f"{digest[:SHOWN_CHARS]} on {', '.join(instances)}" for digest, instances in self.holders)
        return f"{display(self.model)} is not the same model everywhere: {places}. Pull it anew where it is old, or choose by tags"


def conflicts(digests: Iterable[tuple[str, Mapping[str, str]]]) -> tuple[Conflict, ...]:
    """Of (instance, digest by canonical name), the names that stand for more than one model."""
    found: dict[str, dict[str, list[str]]] = {}
    for instance, by_model in digests:
        for model, digest in by_model.items():
            found.setdefault(model, {}).setdefault(digest, []).append(instance)
    return tuple(Conflict(model, _ordered(by_digest)) for model, by_digest in sorted(found.items()) if len(by_digest) > 1)


def _ordered(by_digest: Mapping[str, list[str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((digest, tuple(places)) for digest, places in sorted(by_digest.items(), key=lambda each: (-len(each[1]), each[0])))
