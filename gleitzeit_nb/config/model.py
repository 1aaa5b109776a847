"""The shape of the whole configuration: pydantic models whose fields carry core's names, and whose aliases are the keys that people write.

`ollama_sections`, `instance_sections` and `sandbox_sections` hold what stands in it, `section` what all of them are made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, model_validator

from gleitzeit_nb.config.ollama_sections import OllamaSection
from gleitzeit_nb.config.sandbox_sections import PythonSection
from gleitzeit_nb.config.section import UNSET, Section, or_empty


class ProvidersSection(Section):
    later: ClassVar[Mapping[str, str]] = {"mcp": "has the providers ollama and python"}

    ollama: Annotated[OllamaSection, BeforeValidator(or_empty)] = UNSET
    python: Annotated[PythonSection, BeforeValidator(or_empty)] = UNSET


class RootSection(ProvidersSection):
    later: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("workflow", "tasks", "batch", "fleet"), "has no such section"),
        **ProvidersSection.later,
    }

    providers: Annotated[ProvidersSection, BeforeValidator(or_empty)] = UNSET
    stream: bool = UNSET

    @model_validator(mode="after")
    def _one_place(self) -> RootSection:
        for name in ("ollama", "python"):
            if name in self.model_fields_set and name in self._nested():
                raise ValueError(f"should hold {name!r} once: at the top or under 'providers', not in both")
        return self

    def section(self, name: Literal["ollama", "python"]) -> tuple[Any, tuple[str, ...]]:
        """(the section or None, where it was written)."""
        if name in self.model_fields_set:
            return getattr(self, name), (name,)
        return (getattr(self.providers, name), ("providers", name)) if name in self._nested() else (None, (name,))

    def _nested(self) -> set[str]:
        return self.providers.model_fields_set if "providers" in self.model_fields_set else set()
