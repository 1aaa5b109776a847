"""What the models of the configuration are made of: the base of every section, and the types of values that people write.

No default stands here. Only what was written is kept (`model_fields_set`), and it is laid over the dataclasses in `core`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, PlainValidator

from gleitzeit_nb.config.values import DURATION_EXPECTED, SIZE_EXPECTED, parse_duration, parse_size
from gleitzeit_nb.errors import ConfigError

UNSET: Any = None
"""The default of every field, never read: an unwritten key leaves what lies below it."""


def parsed(parse: Callable[[object], Any], expected: str) -> Callable[[object], Any]:
    def validate(value: object) -> Any:
        try:
            return parse(value)
        except ConfigError:
            raise ValueError(f"should be {expected}") from None

    return validate


def as_list(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def or_empty(value: object) -> object:
    """A section whose keys are all commented out reads as nothing, and means nothing."""
    return {} if value is None else value


def file_name(value: object) -> str | None:
    """An absolute path; a relative one counts from the working directory. Raises ValueError."""
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError("should be the path of a file")
    try:
        return str(Path(value.strip()).expanduser().absolute())
    except RuntimeError:
        raise ValueError("should be a path without ~: no home directory is known") from None


Duration = Annotated[float, PlainValidator(parsed(parse_duration, f"{DURATION_EXPECTED}, more than 0"))]
Size = Annotated[int, PlainValidator(parsed(parse_size, SIZE_EXPECTED))]
Count = Annotated[int, Field(ge=1, le=10**9)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
FileName = Annotated[str | None, PlainValidator(file_name)]
Names = Annotated[tuple[Name, ...], Field(strict=False)]


def keyed(*names: str, **more: Any) -> Any:
    return Field(default=UNSET, validation_alias=AliasChoices(*names), **more)


class Section(BaseModel):
    """`later`: keys of features that this version does not have, with what it has instead."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True, hide_input_in_errors=True)
    later: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def keys(cls) -> dict[str, str]:
        """Every key that may be written here, with the name of its field."""
        found: dict[str, str] = {}
        for name, info in cls.model_fields.items():
            alias = info.validation_alias
            for choice in alias.choices if isinstance(alias, AliasChoices) else [alias or name]:
                found[str(choice)] = name
        return found

    def written(self) -> dict[str, Any]:
        """What was written here, by core's names."""
        return {name: getattr(self, name) for name in self.model_fields_set}
