"""One Ollama server as the pool sees it: what was configured and what was observed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class InstanceState(str, Enum):
    """What the last health probe and the last requests say of an instance."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class InstanceSettings:
    """One instance as configured. `url` holds no user info: that has become `api_key` or `basic_auth` before.

    `max_concurrent` is the instance's total; None means one request per loaded model, at least 1.
    `models` are what the user says it has; empty means: ask `/api/tags`.
    Lower `priority` is preferred.
    """

    id: str
    url: str
    models: tuple[str, ...] = ()
    max_concurrent: int | None = None
    tags: tuple[str, ...] = ()
    priority: int = 1
    weight: float = 1.0
    specialization: str | None = None
    api_key: Secret | None = None
    basic_auth: Secret | None = None


class Secret:
    """A string that never shows itself: `reveal()` is the only way to read it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Secret is not pickled: pass the name of the variable or of the keyring entry instead")
