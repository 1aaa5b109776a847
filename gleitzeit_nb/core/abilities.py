"""What a model can do on an instance, as `/api/show` tells it or a refusal teaches it, and what a request asks of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from gleitzeit_nb.core.wire_numbers import count

if TYPE_CHECKING:
    from gleitzeit_nb.core.requests import LLMRequest

# Ollama's texts of a 400: `"M" does not support thinking`, `<full name of M> does not support tools`.
_REFUSAL = re.compile(r"does not support (\w+)")
_WORDS: Mapping[str, str] = {
    "chat": "completion",
    "generate": "completion",
    "embeddings": "embedding",
    "embedding": "embedding",
    "thinking": "thinking",
    "tools": "tools",
    "vision": "vision",
    "insert": "insert",
    "image": "vision",
    "images": "vision",
}


@dataclass(frozen=True)
class Abilities:
    """`capabilities`, `context_length` (that it was trained for) None: not told. `refused`: what it said that it cannot."""

    digest: str = ""
    capabilities: frozenset[str] | None = None
    context_length: int | None = None
    refused: frozenset[str] = frozenset()

    def lacks(self, wanted: frozenset[str]) -> frozenset[str]:
        """What of it is known to be missing. A model for text may embed all the same, until it refuses to."""
        listed = frozenset() if self.capabilities is None else wanted - self.capabilities - {"embedding"}
        return (wanted & self.refused) | listed

    def refusing(self, capability: str) -> Abilities:
        return replace(self, refused=self.refused | {capability})


def told_by(show: Mapping[str, Any], digest: str) -> Abilities:
    """What an answer of `/api/show` says. It is untrusted: odd parts count as not told."""
    listed, info = show.get("capabilities"), show.get("model_info")
    capabilities = frozenset(each for each in listed if isinstance(each, str)) if isinstance(listed, list) else None
    context = None
    if isinstance(info, Mapping):
        context = info.get(f"{info.get('general.architecture')}.context_length")
    return Abilities(digest, capabilities, count(context) or None)


def refused_in(text: str) -> str | None:
    """The capability that a server's refusal names; None: it names none."""
    match = _REFUSAL.search(text)
    return _WORDS.get(match[1].lower()) if match else None


def wanted_by(request: LLMRequest) -> frozenset[str]:
    """The capabilities that a request needs."""
    wanted = {"embedding"} if request.kind == "embed" else {"completion"}
    if request.images or any(message.get("images") for message in request.messages):
        wanted.add("vision")
    if request.tools:
        wanted.add("tools")
    if request.think:
        wanted.add("thinking")
    if request.suffix is not None:
        wanted.add("insert")
    return frozenset(wanted)


class ContextFit(IntEnum):
    """How well an instance serves a context of some size; the lowest first."""

    HAS = 0  # loaded with it
    CAN = 1  # not loaded, and trained for it
    UNKNOWN = 2
    SMALLER = 3  # loaded with a smaller one
    NEVER = 4  # not trained for it


def context_fit(wanted: int, loaded: int | None, abilities: Abilities | None, *, may_reload: bool) -> ContextFit:
    """`loaded`: the context that the model is loaded with there; None: it is not loaded, or nobody knows."""
    if loaded is not None and loaded >= wanted:
        return ContextFit.HAS
    trained = abilities.context_length if abilities is not None else None
    if trained is not None and trained < wanted:
        return ContextFit.NEVER
    if loaded is not None and not may_reload:
        return ContextFit.SMALLER
    return ContextFit.UNKNOWN if trained is None else ContextFit.CAN
