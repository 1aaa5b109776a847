"""The shape of the configuration: pydantic models whose fields carry core's names, and whose aliases are the keys that people write.

No default stands here. Only what was written is kept (`model_dump(exclude_unset=True)`), and it is laid over the dataclasses in `core`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, model_validator

from gleitzeit_nb.config.values import DURATION_EXPECTED, SIZE_EXPECTED, parse_duration, parse_size
from gleitzeit_nb.core.execution import DOCKER_MODE, LOCAL_MODE, MIB, RESTRICTED_MODE, ModeKind
from gleitzeit_nb.core.instances import Secret
from gleitzeit_nb.core.strategies import STRATEGIES
from gleitzeit_nb.errors import ConfigError

UNSET: Any = None
"""The default of every field, never read: an unwritten key leaves what lies below it."""


def _parsed(parse: Callable[[object], Any], expected: str) -> Callable[[object], Any]:
    def validate(value: object) -> Any:
        try:
            return parse(value)
        except ConfigError:
            raise ValueError(f"should be {expected}") from None

    return validate


def _list(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _section(value: object) -> object:
    """A section whose keys are all commented out reads as nothing, and means nothing."""
    return {} if value is None else value


Duration = Annotated[float, PlainValidator(_parsed(parse_duration, f"{DURATION_EXPECTED}, more than 0"))]
Size = Annotated[int, PlainValidator(_parsed(parse_size, SIZE_EXPECTED))]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Names = Annotated[tuple[Name, ...], Field(strict=False)]


def _key(*names: str, **more: Any) -> Any:
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


def _strategy(value: str) -> str:
    if value not in STRATEGIES:
        known = value in ("auto", "model_affinity", "latency_based", "weighted")
        raise ValueError(f"should be one of {', '.join(STRATEGIES)}" + (f"; this version does not have {value!r} yet" if known else ""))
    return value


def _no_network(value: str) -> str:
    if value != "none":
        raise ValueError("should be none: this version gives a sandbox no network at all")
    return value


def _roomy(value: int) -> int:
    if value < 16 * MIB:
        raise ValueError("should be at least 16m, which Python itself needs")
    return value


def _key_text(value: object) -> str | Secret | None:
    if value is not None and not isinstance(value, (str, Secret)):
        raise ValueError("should be env:NAME or keyring:NAME, in quotes if it looks like a number")
    return value


def _variables(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        if not name or "=" in name or "\0" in name + text:
            raise ValueError("should hold names without '=' and texts without NUL")
    return value


def _sealed(value: bool) -> bool:
    if not value:
        raise ValueError("should be true: the root file system is always read-only")
    return value


class InstanceSection(Section):
    id: Id
    url: Name
    models: Names = UNSET
    max_concurrent: Count | None = UNSET
    tags: Names = _key("tags", "instance_tags")
    priority: int = UNSET
    weight: float = Field(default=UNSET, gt=0, allow_inf_nan=False)
    specialization: Name | None = UNSET
    api_key: Annotated[Any, PlainValidator(_key_text)] = UNSET


def _each_once(instances: list[InstanceSection]) -> list[InstanceSection]:
    seen: set[str] = set()
    for instance in instances:
        if instance.id in seen:
            raise ValueError(f"should name each instance once, and names {instance.id!r} twice")
        seen.add(instance.id)
    return instances


class BreakerSection(Section):
    failure_threshold: Count = UNSET
    recovery_timeout_s: Duration = _key("recovery_timeout")
    half_open_requests: Count = UNSET
    first_ejection_s: Duration = _key("first_ejection")


class BalancingSection(Section):
    strategy: Annotated[str, AfterValidator(_strategy)] = UNSET
    failover: bool = UNSET
    retry_attempts: int = Field(default=UNSET, ge=0, le=100)
    health_check_interval_s: Duration = _key("health_check_interval")
    breaker: Annotated[BreakerSection, BeforeValidator(_section)] = _key("circuit_breaker")


class QueueSection(Section):
    max_queue: Count = UNSET
    queue_timeout_s: Duration | None = _key("queue_timeout")


class TimeoutSection(Section):
    connect_s: Duration = _key("connect")
    first_token_warm_s: Duration = _key("first_token_warm")
    first_token_cold_s: Duration = _key("first_token_cold")
    between_tokens_s: Duration = _key("between_tokens")


class OllamaSection(Section):
    type: Literal["ollama", "ollama_pool"] = UNSET
    instances: Annotated[list[InstanceSection], BeforeValidator(_list), AfterValidator(_each_once)] = UNSET
    balancing: Annotated[BalancingSection, BeforeValidator(_section)] = _key("load_balancing")
    health_check_interval_s: Duration = _key("health_check_interval")
    breaker: Annotated[BreakerSection, BeforeValidator(_section)] = _key("circuit_breaker", "circuit_breaker_config")
    admission: Annotated[QueueSection, BeforeValidator(_section)] = _key("queue")
    timeouts: Annotated[TimeoutSection, BeforeValidator(_section)] = UNSET
    default_model: Name | None = _key("default_model", "model")

    def partial(self) -> dict[str, Any]:
        """What was written, in the parts of core's PoolSettings; the outer of two places for a setting beats the inner."""
        written = self.written()
        balancing = written["balancing"].written() if "balancing" in written else {}
        breaker = balancing.pop("breaker").written() if "breaker" in balancing else {}
        breaker |= written["breaker"].written() if "breaker" in written else {}
        if "health_check_interval_s" in written:
            balancing["health_check_interval_s"] = written["health_check_interval_s"]
        parts: dict[str, Any] = {"balancing": balancing, "breaker": breaker}
        parts |= {name: written[name].written() for name in ("admission", "timeouts") if name in written}
        parts |= {name: written[name] for name in ("instances", "default_model") if name in written}
        return {name: part for name, part in parts.items() if part != {}}


class LimitFields(Section):
    timeout_s: Duration = _key("timeout")
    memory_bytes: Annotated[Size, AfterValidator(_roomy)] = _key("memory_limit", "memory")
    cpus: float = _key("cpu_limit", "cpu", gt=0, le=1024, allow_inf_nan=False)
    pids: Count = _key("pids_limit", "pids")
    output_bytes: Size = _key("max_output")
    file_bytes: Size = _key("max_file_size")
    open_files: Count = _key("max_open_files")
    workspace_bytes: Size = _key("workspace_size")
    workspace_inodes: Count = _key("workspace_files")
    value_bytes: Size = _key("max_value")


class ModeSection(LimitFields):
    later = {
        "volumes": "mounts nothing into a sandbox: pass values in and out by name",
        "mount_data": "mounts nothing into a sandbox: pass values in and out by name",
        "gpu": "gives a sandbox no GPU",
    }

    type: Literal["native", "container", "docker", "restricted", "local"] = UNSET
    trusted: bool = UNSET
    enabled: bool = UNSET
    label: Annotated[str, Field(min_length=1, max_length=40)] = UNSET
    image: Name | None = UNSET
    network: Annotated[str, AfterValidator(_no_network)] = UNSET
    read_only_root: Annotated[bool, AfterValidator(_sealed)] = UNSET
    environment: Annotated[dict[str, str], AfterValidator(_variables)] = UNSET
    allow_weaker: bool = UNSET
    allowed_modules: Names | None = UNSET

    @model_validator(mode="before")
    @classmethod
    def _switched_off(cls, value: object) -> object:
        """`gpu: false` and empty `volumes` ask for nothing that is missing."""
        if not isinstance(value, dict):
            return value
        return {key: item for key, item in value.items() if not (key in cls.later and not item)}

    def kind(self, mode_id: str) -> ModeKind | None:
        """Who enforces it, as far as this layer says; None leaves it to the layers below."""
        if "type" not in self.model_fields_set:
            known: dict[str, ModeKind] = {DOCKER_MODE: "docker", RESTRICTED_MODE: "restricted", LOCAL_MODE: "local"}
            return known.get(mode_id) or ("docker" if self.image or mode_id.startswith("docker-") else None)
        if self.type == "container":
            return "docker"
        if self.type == "native":
            return "local" if self.trusted or mode_id == LOCAL_MODE else "restricted"
        return self.type

    def partial(self, mode_id: str) -> dict[str, Any]:
        """What was written, in the parts of core's ModeSettings. `trusted: true` is how the older form switches `local` on."""
        written = self.written()
        limits = {name: written[name] for name in LimitFields.model_fields if name in written}
        plain = ("enabled", "label", "image", "network", "environment", "allow_weaker", "allowed_modules")
        part: dict[str, Any] = {name: written[name] for name in plain if name in written}
        kind = self.kind(mode_id)
        if kind == "local" and "trusted" in written:
            part.setdefault("enabled", written["trusted"])
        if kind is not None:
            part["kind"] = kind
        return part | ({"limits": limits} if limits else {})


class ListedModeSection(ModeSection):
    id: Id


class ContainerPoolSection(Section):
    max_containers: Count = UNSET
    idle_timeout_s: Duration = _key("idle_timeout")
    reuse_containers: bool = UNSET
    min_warm: int = Field(default=UNSET, ge=0)
    max_uses: Count = UNSET


class PythonSection(Section):
    later = {
        "volume_roots": "mounts nothing into a sandbox",
        "docker_host": "finds the Docker daemon by DOCKER_HOST or the Docker context, not by a key",
    }

    default_mode: Id = UNSET
    modes: Annotated[dict[Id, Annotated[ModeSection, BeforeValidator(_section)]], BeforeValidator(_section)] = UNSET
    execution_modes: Annotated[list[ListedModeSection], BeforeValidator(_list)] = UNSET
    container_pool: Annotated[ContainerPoolSection, BeforeValidator(_section)] = UNSET

    def listed(self) -> list[tuple[str, ModeSection, tuple[str | int, ...]]]:
        """(id, mode, where it was written) of both forms."""
        found: list[tuple[str, ModeSection, tuple[str | int, ...]]] = []
        found += [(mode_id, mode, ("modes", mode_id)) for mode_id, mode in (self.modes or {}).items()]
        found += [(mode.id, mode, ("execution_modes", index)) for index, mode in enumerate(self.execution_modes or [])]
        return found

    @model_validator(mode="after")
    def _each_once(self) -> PythonSection:
        ids = [mode_id for mode_id, _, _ in self.listed()]
        for mode_id in ids:
            if ids.count(mode_id) > 1:
                raise ValueError(f"should name each mode once, and names {mode_id!r} twice")
        return self

    def partial(self) -> dict[str, Any]:
        """What was written, in the parts of core's SandboxSettings."""
        parts: dict[str, Any] = {}
        if "default_mode" in self.model_fields_set:
            parts["default_mode"] = self.default_mode
        modes = {mode_id: mode.partial(mode_id) for mode_id, mode, _ in self.listed()}
        if modes:
            parts["modes"] = modes
        if "container_pool" in self.model_fields_set and self.container_pool.model_fields_set:
            parts["container_pool"] = self.container_pool.written()
        return parts


class ProvidersSection(Section):
    later = {"mcp": "has the providers ollama and python"}

    ollama: Annotated[OllamaSection, BeforeValidator(_section)] = UNSET
    python: Annotated[PythonSection, BeforeValidator(_section)] = UNSET


class RootSection(ProvidersSection):
    later = dict.fromkeys(("workflow", "tasks", "batch", "fleet"), "has no such section") | ProvidersSection.later

    providers: Annotated[ProvidersSection, BeforeValidator(_section)] = UNSET
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
