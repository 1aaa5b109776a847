"""What a request asks of an instance."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gleitzeit_nb.core.models import canonical
from gleitzeit_nb.core.requests import LLMRequest


@dataclass(frozen=True)
class Needs:
    """What a request asks of an instance. Equal needs wait in one line. `model` is canonical; "": any."""

    model: str
    strategy: str = "least_loaded"
    tags: frozenset[str] = frozenset()
    instance: str | None = None
    require_gpu: bool = False
    preference: str | None = None
    max_latency_s: float | None = None
    excluded: frozenset[str] = frozenset()  # have failed this request already
    patient: bool = False  # it has tried everybody and comes back: it waits for an ejection to end

    @classmethod
    def of(cls, request: LLMRequest, model: str, strategy: str, excluded: Iterable[str] = (), *, patient: bool = False) -> Needs:
        """What `request` needs when it asks for `model` by that strategy."""
        return cls(
            model=canonical(model),
            strategy=strategy,
            tags=frozenset(request.tags),
            instance=request.instance,
            require_gpu=request.require_gpu,
            preference=request.instance_preference,
            max_latency_s=None if request.max_latency_ms is None else request.max_latency_ms / 1000,
            excluded=frozenset(excluded),
            patient=patient,
        )
