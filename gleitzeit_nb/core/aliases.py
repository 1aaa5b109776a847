"""One name for several models: in an order of preference, or as each instance spells the same one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from gleitzeit_nb.core.models import canonical
from gleitzeit_nb.core.requests import LLMRequest


@dataclass(frozen=True)
class Alias:
    """`models` in their order of preference; with `instances` the model of that instance each, all equally good."""

    models: tuple[str, ...]
    instances: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.instances:
            return ", ".join(self.models)
        return ", ".join(f"{model} on {instance}" for model, instance in zip(self.models, self.instances, strict=True))


Aliases = Mapping[str, Alias]
"""By canonical name."""


def aliases_of(written: object) -> dict[str, Alias]:
    """What people write: name → model, list of models, or a mapping of instances to models. Raises ValueError: what it should be."""
    if not isinstance(written, Mapping):
        raise ValueError("should be a mapping of names to models")
    found = {canonical(_name(name)): _alias(name, value) for name, value in written.items()}
    for name, alias in found.items():
        for model in alias.models:
            if canonical(model) in found:
                raise ValueError(f"should name models: the alias {name.removesuffix(':latest')!r} names the alias {model!r}")
    return found


def _alias(name: object, value: object) -> Alias:
    if isinstance(value, str):
        return Alias((_name(value),))
    if isinstance(value, Mapping) and value:
        return Alias(tuple(map(_name, value.values())), tuple(map(_name, value)))
    if isinstance(value, (list, tuple)) and value:
        return Alias(tuple(map(_name, value)))
    raise ValueError(f"should give {str(name)[:60]!r} a model, a list of models, or a mapping of instances to models")


def _name(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > 200:
        raise ValueError("should hold names of models only, as texts of up to 200 characters")
    return value.strip()


def resolved(request: LLMRequest, aliases: Aliases, order: Callable[[Alias], Sequence[str]]) -> LLMRequest:
    """`request` with each alias replaced by its models, the first to be asked for and the others to fall back to, by `order`."""
    if not aliases:
        return request
    names = (request.model, *request.fallback_models)
    known = [aliases.get(canonical(name)) for name in names]
    if not any(known):
        return request
    spread = [model for name, alias in zip(names, known, strict=True) for model in ((name,) if alias is None else order(alias))]
    model, *others = dict.fromkeys(spread)
    return replace(request, model=model, fallback_models=tuple(others), alias=request.model if known[0] is not None else "")
