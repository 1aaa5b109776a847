"""What an instance is for, as its `specialization` says, and what a request is about."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable, Mapping

from gleitzeit_nb.core.instances import Instance
from gleitzeit_nb.core.needs import Needs, Wishes

LARGE_BILLIONS = 30.0  # of parameters: more than fits beside a context on a card with 24 GiB
LARGE_BYTES = 18e9  # what as many take at some 4.8 bits each, as Ollama's usual quantisation (Q4_K_M) has them

WORDS: Mapping[str, tuple[str, ...]] = {
    "vision": ("vision", "image", "multimodal"),
    "large": ("large", "memory", "big", "70b"),
    "embedding": ("embed",),
    "code": ("code", "coding"),
}
"""For each speciality the beginnings of the words in a `specialization` (such as "large-models") that speak of it."""

_BILLIONS = re.compile(r"(\d+(?:\.\d+)?)b(?![a-z0-9])")
_SPLIT = re.compile(r"[^a-z0-9]+")


@functools.lru_cache(maxsize=1024)
def billions(model: str) -> float | None:
    """Parameters that the name of a model tells, in billions.

    >>> billions("llama3.2:70b"), billions("mixtral:8x7b"), billions("smollm2:135m")
    (70.0, 7.0, None)
    """
    found = _BILLIONS.findall(model)
    return max(map(float, found)) if found else None


def size_of(model: str, instances: Iterable[Instance]) -> int | None:
    """Bytes: the most that it takes in somebody's memory (`/api/ps`), else on somebody's disk (`/api/tags`); None: nobody told it."""
    loaded, stored = 0, 0
    for each in instances:
        entry = each.loaded.get(model)
        loaded = max(loaded, (entry.size_bytes or 0) if entry is not None else 0)
        stored = max(stored, each.sizes_bytes.get(model, 0))
    return loaded or stored or None


def is_large(model: str, size_bytes: int | None) -> bool:
    """By its size; by its name only where nobody knows that."""
    return (billions(model) or 0.0) >= LARGE_BILLIONS if size_bytes is None else size_bytes >= LARGE_BYTES


def wanted(needs: Needs, wishes: Wishes, size_bytes: int | None = None) -> frozenset[str]:
    """What the request is about; empty: nothing in particular. `size_bytes`: of its model, if that is known."""
    model = needs.model
    about = {
        "vision": wishes.images,
        "large": is_large(model, size_bytes),
        "embedding": wishes.embeds,
        "code": "code" in model,
    }
    return frozenset(name for name, holds in about.items() if holds)


@functools.lru_cache(maxsize=1024)
def offered(specialization: str | None) -> frozenset[str]:
    """What it says that an instance is for; a word that is none of ours says nothing."""
    words = [word for word in _SPLIT.split((specialization or "").lower()) if word]
    return frozenset(name for name, stems in WORDS.items() if any(word.startswith(stem) for word in words for stem in stems))


def mismatch(instance: Instance, about: frozenset[str]) -> int:
    """0: made for it; 1: for everything; 2: for something else. Lower is better."""
    return _mismatch(instance.settings.specialization, about)


def _mismatch(specialization: str | None, about: frozenset[str]) -> int:
    special = offered(specialization)
    if not special:
        return 1 if about else 0
    return 0 if special & about else 2


def mismatches(needs: Needs, wishes: Wishes, instances: Collection[Instance]) -> list[int]:
    """`mismatch` of each. How large the model is matters only where somebody is for large ones."""
    specials = [each.settings.specialization for each in instances]
    different = set(specials)
    size_bytes = size_of(needs.model, instances) if any("large" in offered(each) for each in different) else None
    about = wanted(needs, wishes, size_bytes)
    ranks = {each: _mismatch(each, about) for each in different}
    if len(ranks) == 1:
        return [*ranks.values()] * len(specials)
    return [ranks[each] for each in specials]
