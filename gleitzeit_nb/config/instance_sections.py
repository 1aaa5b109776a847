"""The keys of one Ollama instance."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, PlainValidator

from gleitzeit_nb.config.section import UNSET, Count, Id, Name, Names, Section, keyed
from gleitzeit_nb.core.instances import Secret


def _key_text(value: object) -> str | Secret | None:
    if value is not None and not isinstance(value, (str, Secret)):
        raise ValueError("should be env:NAME or keyring:NAME, in quotes if it looks like a number")
    return value


class InstanceSection(Section):
    id: Id
    url: Name
    models: Names = UNSET
    max_concurrent: Count | None = UNSET
    tags: Names = keyed("tags", "instance_tags")
    priority: int = UNSET
    weight: float = Field(default=UNSET, gt=0, allow_inf_nan=False)
    specialization: Name | None = UNSET
    api_key: Annotated[Any, PlainValidator(_key_text)] = UNSET


def each_once(instances: list[InstanceSection]) -> list[InstanceSection]:
    seen: set[str] = set()
    for instance in instances:
        if instance.id in seen:
            raise ValueError(f"should name each instance once, and names {instance.id!r} twice")
        seen.add(instance.id)
    return instances
