"""Names of models, and what is known of a loaded one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class LoadedModel:
    """One entry of `/api/ps`, or what an answer has just proved. `gpu_share`: size_vram / size. `size_bytes`: there. None: unknown."""

    name: str
    gpu_share: float | None = None
    context_length: int | None = None
    seen_at: float = 0.0  # on the pool's clock
    digest: str = ""  # of what is in memory, which may be older than what the tag names by now; "": not known
    size_bytes: int | None = None
    vram_bytes: int | None = None
    expires_at: float | None = None  # wall clock, s since the epoch: when its server unloads it unless it is asked again
    runner: tuple[tuple[str, Any], ...] | None = None  # the runner options, save for the context, of our request that loaded it


def canonical(name: str) -> str:
    """The form in which names are compared: `:latest` is implied and case does not count. "" stays "": any model.

    >>> canonical("Llama3.2"), canonical("host:5000/team/phi"), canonical("phi:3b")
    ('llama3.2:latest', 'host:5000/team/phi:latest', 'phi:3b')
    """
    name = name.strip().lower()
    return name if not name or ":" in name.rpartition("/")[2] else f"{name}:latest"


def display(name: str) -> str:
    """The short form for people: without an implied tag."""
    return name.removesuffix(":latest")


def nearest(name: str, known: Iterable[str], count: int = 3) -> tuple[str, ...]:
    """Known names that `name` may have meant, the likeliest first. Another tag of the same model counts as near."""
    names = sorted({display(each) for each in known})
    stem = display(canonical(name)).partition(":")[0]
    same = [each for each in names if each.lower().partition(":")[0] == stem]
    close = difflib.get_close_matches(display(name), names, n=count, cutoff=0.6)
    return tuple(dict.fromkeys([*same, *close]))[:count]
