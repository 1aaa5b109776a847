"""The keys of one Ollama instance."""

from __future__ import annotations

from pydantic import Field

from gleitzeit_nb.config.access_sections import AccessFields
from gleitzeit_nb.config.section import UNSET, Count, Id, Name, Names, keyed


class InstanceSection(AccessFields):
    id: Id
    url: Name
    models: Names = UNSET
    max_concurrent: Count | None = UNSET
    tags: Names = keyed("tags", "instance_tags")
    priority: int = UNSET
    weight: float = Field(default=UNSET, gt=0, allow_inf_nan=False)
    specialization: Name | None = UNSET


def each_once(instances: list[InstanceSection]) -> list[InstanceSection]:
    seen: set[str] = set()
    for instance in instances:
        if instance.id in seen:
            raise ValueError(f"should name each instance once, and names {instance.id!r} twice")
        seen.add(instance.id)
    return instances
