"""Which of an alias's models goes first: the one whose instance could answer soonest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gleitzeit_nb.core.aliases import Alias, resolved
from gleitzeit_nb.core.candidates import Hope, judge
from gleitzeit_nb.core.models import canonical
from gleitzeit_nb.core.needs import Needs
from gleitzeit_nb.core.requests import LLMRequest, build_request
from gleitzeit_nb.llm.parts import Parts

_HOPES = (Hope.NOW, Hope.LATER, Hope.EJECTED, Hope.NEVER)


def without_aliases(parts: Parts, request: LLMRequest) -> LLMRequest:
    """The request by the models' own names. Without a model it asks for the configured one, which may be an alias."""
    aliases = parts.settings.aliases
    if not aliases:
        return request
    if not request.model and canonical(parts.settings.default_model or "") in aliases:
        request = replace(request, model=parts.settings.default_model or "")
    return resolved(request, aliases, lambda alias: _ordered(parts, request, alias))


def real_model(parts: Parts, name: str) -> str:
    """What an alias stands for now: the first of its models that somebody has. Any other name stays."""
    request = without_aliases(parts, build_request("alias", "chat", name)) if name else None
    if request is None or not request.alias:
        return name
    chain = (request.model, *request.fallback_models)
    return next((model for model in chain if any(each.has_model(canonical(model)) for each in parts.members.instances)), chain[0])


def _ordered(parts: Parts, request: LLMRequest, alias: Alias) -> Sequence[str]:
    """As written, where an order of preference was; else the model of the least loaded instance that can take it first."""
    if not alias.instances:
        return alias.models
    now = parts.clock()
    instances = {each.id: each for each in parts.members.instances}

    def rank(place: tuple[str, str]) -> tuple[float, ...]:
        model, instance = place[0], instances.get(place[1])
        if instance is None:
            return (len(_HOPES), 0.0, 0.0, 0.0)
        hope = judge(Needs.of(request, model, ""), instance, now).standing.hope
        cold = 0.0 if instance.is_warm(canonical(model), now) else 1.0
        return (_HOPES.index(hope), instance.load.in_flight / instance.slots, cold, parts.rng.random())

    return [model for model, _ in sorted(zip(alias.models, alias.instances, strict=True), key=rank)]
