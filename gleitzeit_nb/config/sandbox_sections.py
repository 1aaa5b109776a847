"""The keys of the sandbox: the section `python` and what stands in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from gleitzeit_nb.config.limit_sections import LimitFields
from gleitzeit_nb.config.network_sections import NetworkFields
from gleitzeit_nb.config.section import UNSET, Count, Duration, Id, Name, Names, Section, as_list, keyed, or_empty
from gleitzeit_nb.config.volumes import Roots, Volumes
from gleitzeit_nb.core.execution import DOCKER_MODE, LOCAL_MODE, RESTRICTED_MODE, ModeKind
from gleitzeit_nb.core.image_names import image_problem


def _variables(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        if not name or "=" in name or "\0" in name + text:
            raise ValueError("should hold names without '=' and texts without NUL")
    return value


def _image(value: str) -> str:
    why = image_problem(value)
    if why:
        raise ValueError(f"should name an image, and it {why}")
    return value


def _sealed(value: bool) -> bool:
    if not value:
        raise ValueError("should be true: the root file system is always read-only")
    return value


def _modules(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        if not all(part.isidentifier() for part in name.split(".")):
            raise ValueError(f"should name modules, such as numpy or matplotlib.pyplot, and {name[:60]!r} is none")
    return value


class ModeSection(LimitFields, NetworkFields):
    later: ClassVar[Mapping[str, str]] = {"mount_data": "mounts what `volumes` lists"}

    type: Literal["native", "container", "docker", "restricted", "local"] = UNSET
    trusted: bool = UNSET
    enabled: bool = UNSET
    label: Annotated[str, Field(min_length=1, max_length=40)] = UNSET
    image: Annotated[Name, AfterValidator(_image)] | None = UNSET
    ceiling: Annotated[LimitFields, BeforeValidator(or_empty)] = UNSET
    read_only_root: Annotated[bool, AfterValidator(_sealed)] = UNSET
    environment: Annotated[dict[str, str], AfterValidator(_variables)] = UNSET
    allow_weaker: bool = UNSET
    allowed_modules: Names | None = UNSET
    preload: Annotated[Names, AfterValidator(_modules)] | None = UNSET
    volumes: Volumes = UNSET
    gpu: bool = UNSET
    runtime: Name | None = UNSET

    @model_validator(mode="before")
    @classmethod
    def _switched_off(cls, value: object) -> object:
        """`mount_data: false` asks for nothing that is missing."""
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
        own = {"type", "trusted", "ceiling", "read_only_root", *LimitFields.model_fields}  # which say something else there
        part: dict[str, Any] = {name: item for name, item in written.items() if name not in own and name != "id"}
        if "ceiling" in written:
            part["ceiling"] = self.ceiling.written()
        kind = self.kind(mode_id)
        if kind == "local" and "trusted" in written:
            part.setdefault("enabled", written["trusted"])
        if kind is not None:
            part["kind"] = kind
        part |= self.network_part()
        return part | ({"limits": limits} if limits else {})


class ListedModeSection(ModeSection):
    id: Id


class ContainerPoolSection(Section):
    max_containers: Count = UNSET
    idle_timeout_s: Duration = keyed("idle_timeout")
    reuse_containers: bool = UNSET
    min_warm: int = Field(default=UNSET, ge=0)
    min_fresh: int = Field(default=UNSET, ge=0)
    max_uses: Count = UNSET
    max_waiting: Count = UNSET
    max_wait_s: Duration | None = keyed("max_wait")
    max_sessions: Count = UNSET
    session_idle_timeout_s: Duration = keyed("session_idle_timeout")


class PythonSection(Section):
    later: ClassVar[Mapping[str, str]] = {
        "docker_host": "finds the Docker daemon by DOCKER_HOST or the Docker context, not by a key",
    }

    default_mode: Id = UNSET
    modes: Annotated[dict[Id, Annotated[ModeSection, BeforeValidator(or_empty)]], BeforeValidator(or_empty)] = UNSET
    execution_modes: Annotated[list[ListedModeSection], BeforeValidator(as_list)] = UNSET
    container_pool: Annotated[ContainerPoolSection, BeforeValidator(or_empty)] = UNSET
    volume_roots: Roots = UNSET
    wheelhouse: Name | None = UNSET

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
        for name in ("volume_roots", "wheelhouse"):
            if name in self.model_fields_set:
                parts[name] = getattr(self, name)
        modes = {mode_id: mode.partial(mode_id) for mode_id, mode, _ in self.listed()}
        if modes:
            parts["modes"] = modes
        if "container_pool" in self.model_fields_set and self.container_pool.model_fields_set:
            parts["container_pool"] = self.container_pool.written()
        return parts
