"""The keys of one Ollama instance."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from gleitzeit_nb.config.access_sections import AccessFields
from gleitzeit_nb.config.section import UNSET, Count, Id, Name, Names, keyed

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class InstanceSection(AccessFields):
    id: Id
    url: Name
    models: Names = UNSET
    max_concurrent: Count | None = UNSET
    tags: Names = keyed("tags", "instance_tags")
    priority: int = Field(default=UNSET, ge=-(10**6), le=10**6)
    weight: float = Field(default=UNSET, gt=0, allow_inf_nan=False)
    specialization: Name | None = UNSET
    requests_per_minute: Rate | None = UNSET
    tokens_per_minute: Rate | None = UNSET
    adaptive: bool = UNSET

    @model_validator(mode="after")
    def _adapts_to_something(self) -> InstanceSection:
        if self.adaptive and not self.max_concurrent:
            raise ValueError("should name max_concurrent, below which an adaptive limit stays")
        return self


def each_once(instances: list[InstanceSection]) -> list[InstanceSection]:
    seen: set[str] = set()
    for instance in instances:
        if instance.id in seen:
            raise ValueError(f"should name each instance once, and names {instance.id!r} twice")
        seen.add(instance.id)
    return instances
