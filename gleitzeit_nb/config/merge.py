"""Layers into settings: what was written, later over earlier, laid over the defaults in `core`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from gleitzeit_nb.config.access import Written, instance_access, pool_access
from gleitzeit_nb.config.access_sections import AccessFields
from gleitzeit_nb.config.check import Checked, dotted
from gleitzeit_nb.config.credentials import warn_literal
from gleitzeit_nb.config.instance_sections import InstanceSection
from gleitzeit_nb.config.layers import Key, Layer
from gleitzeit_nb.config.limit_sections import refuse_exceeding
from gleitzeit_nb.config.ollama_sections import SINGLE
from gleitzeit_nb.config.recordings import check_recordings
from gleitzeit_nb.config.sandbox_sections import PythonSection
from gleitzeit_nb.config.values import parse_address
from gleitzeit_nb.config.volumes import anchored
from gleitzeit_nb.core.access import AccessSettings
from gleitzeit_nb.core.execution import AUTO_MODE, ContainerPoolSettings, Limits, ModeSettings, SandboxSettings, default_modes
from gleitzeit_nb.core.instances import InstanceSettings
from gleitzeit_nb.core.network import NetworkLimits
from gleitzeit_nb.core.runtimes import has_own_kernel
from gleitzeit_nb.core.settings import PoolSettings
from gleitzeit_nb.core.volumes import problem
from gleitzeit_nb.errors import ConfigError


def overlaid(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings merge key by key, everything else is replaced. So a later list of instances replaces an earlier one as a whole."""
    merged = dict(lower)
    for key, item in upper.items():
        below = merged.get(key)
        merged[key] = overlaid(below, item) if isinstance(item, Mapping) and isinstance(below, Mapping) else item
    return merged


def pool_settings_of(layers: Sequence[Checked], environ: Mapping[str, str]) -> tuple[PoolSettings, bool]:
    """(settings, whether any layer lists instances). Keys are read only for the list that counts."""
    merged: dict[str, Any] = {}
    instances: tuple[InstanceSettings, ...] = ()
    lister: Checked | None = None
    for one in layers:
        section, _ = one.root.section("ollama")
        if section is None:
            continue
        written = section.partial()
        merged = overlaid(merged, written)
        lister = one if "instances" in written else lister
    access, defaults = pool_access(layers, lister, environ)
    if lister is not None:
        section, path = lister.root.section("ollama")
        instances = _instances(section.instances, lister.layer, (*path, "instances"), environ, defaults)
    base = PoolSettings()
    grouped = ("balancing", "breaker", "admission", "cache", "timeouts", "receipts")
    parts = {name: replace(getattr(base, name), **merged.get(name, {})) for name in grouped}
    parts |= {name: merged[name] for name in SINGLE if name in merged}
    settings = PoolSettings(instances=instances, access=access, **parts)
    check_recordings(settings, layers)
    return settings, lister is not None


def _instances(
    sections: Sequence[InstanceSection], layer: Layer, path: Key, environ: Mapping[str, str], pool: AccessSettings
) -> tuple[InstanceSettings, ...]:
    found = tuple(instance_of(section, layer, (*path, index), environ, pool) for index, section in enumerate(sections))
    owner: dict[str, str] = {}
    for index, instance in enumerate(found):
        if instance.url in owner:
            raise ConfigError(
                f"{layer.place((*path, index, 'url'))}: the instances {owner[instance.url]!r} and {instance.id!r} have the same address "
                f"{instance.url}. List a server once; its max_concurrent says how much it takes"
            )
        owner[instance.url] = instance.id
    return found


def instance_of(section: InstanceSection, layer: Layer, path: Key, environ: Mapping[str, str], pool: AccessSettings) -> InstanceSettings:
    """One instance, with its address normalised and its keys read. `pool`: what counts for it unless it says otherwise."""
    where = layer.place((*path, "url"))
    try:
        address = parse_address(section.url)
    except ConfigError as exc:
        raise ConfigError(f"{where}: url of instance {section.id!r}: {exc}") from exc
    access = instance_access(Written(section, layer, path, f"of instance {section.id!r}", environ), address, pool)
    if address.user_info is not None and not where.startswith("GLEITZEIT_"):
        warn_literal(f"{where}: the user info in the url of instance {section.id!r}")
    own = {name: value for name, value in section.written().items() if name not in AccessFields.model_fields}
    reached = {each.name: getattr(access, each.name) for each in fields(access)}
    return InstanceSettings(**{**own, "url": address.url, **reached})


def sandbox_settings_of(layers: Sequence[Checked]) -> SandboxSettings:
    """All modes: those that exist without configuration, as changed, and those that were added."""
    merged: dict[str, Any] = {}
    for one in layers:
        section, _ = one.root.section("python")
        merged = overlaid(merged, _anchored(section, one)) if section is not None else merged
    modes = default_modes()
    for mode_id, part in merged.get("modes", {}).items():
        modes[mode_id] = _mode(mode_id, part, modes.get(mode_id), layers)
    settings = SandboxSettings(
        modes=modes,
        default_mode=merged.get("default_mode", AUTO_MODE),
        volume_roots=merged.get("volume_roots", ()),
        wheelhouse=merged.get("wheelhouse"),
        container_pool=replace(ContainerPoolSettings(), **merged.get("container_pool", {})),
    )
    _check_sandbox(settings, layers)
    return settings


def _anchored(section: PythonSection, one: Checked) -> dict[str, Any]:
    try:
        return anchored(section.partial(), one.layer.folder)
    except ValueError as exc:
        raise ConfigError(f"{sandbox_place([one], 'modes')}: a volume {exc}") from exc


def _mode(mode_id: str, part: Mapping[str, Any], base: ModeSettings | None, layers: Sequence[Checked]) -> ModeSettings:
    where = mode_place(layers, mode_id)
    if mode_id == AUTO_MODE:
        raise ConfigError(f"{where}: {AUTO_MODE!r} is not a mode but the choice among them; give the mode another name")
    changes = dict(part)
    limits = replace(base.limits if base else Limits(), **changes.pop("limits", {}))
    if "network_limits" in changes:
        changes["network_limits"] = replace(base.network_limits if base else NetworkLimits(), **changes["network_limits"])
    kind = changes.pop("kind", None)
    if base is not None:
        if kind not in (None, base.kind):
            raise ConfigError(f"{where}: the mode {mode_id!r} is always of the kind {base.kind}; give a mode of another kind another name")
        mode = replace(base, limits=limits, **changes)
    else:
        if kind is None:
            raise ConfigError(f"{where}: the mode {mode_id!r} needs a type: container (with an image), or native")
        changes = {"label": mode_id, "enabled": kind != "local"} | changes
        mode = ModeSettings(id=mode_id, kind=kind, limits=limits, **changes)
    _check_mode(mode, where)
    return mode


def _check_mode(mode: ModeSettings, where: str) -> None:
    """Keys that would do nothing in a mode of this kind are refused, not ignored."""
    if mode.image and mode.kind != "docker":
        raise ConfigError(f"{where}: the mode {mode.id!r} has an image, but nothing of the kind {mode.kind} runs in one")
    refuse_exceeding(mode.limits, mode.ceiling, f"{where}: the mode {mode.id!r} gives more than its own ceiling")
    why = problem(mode.volumes)
    if why:
        raise ConfigError(f"{where}: the volumes of the mode {mode.id!r} cannot be mounted: {why}")
    for name in ("volumes", "gpu", "runtime"):
        if getattr(mode, name) and mode.kind != "docker":
            raise ConfigError(f"{where}: the mode {mode.id!r} sets {name}, which only containers have")
    if mode.volumes and has_own_kernel(mode.runtime):
        raise ConfigError(
            f"{where}: the mode {mode.id!r} has volumes, which cannot be compared inside {mode.runtime}: take one of them out"
        )
    if mode.allow_weaker and mode.kind != "restricted":
        raise ConfigError(f"{where}: the mode {mode.id!r} sets allow_weaker, which only a restricted mode knows")
    if mode.network != "none" and mode.kind == "local":
        raise ConfigError(f"{where}: the mode {mode.id!r} has a restricted network, but nothing holds code of the kind local to it")
    if mode.allowed_modules is not None and mode.kind == "docker":
        raise ConfigError(f"{where}: the mode {mode.id!r} sets allowed_modules, which only restricted and local modes know")
    if mode.preload is not None and mode.kind != "docker":
        raise ConfigError(f"{where}: the mode {mode.id!r} sets preload, which only containers know")


def _check_sandbox(settings: SandboxSettings, layers: Sequence[Checked]) -> None:
    named = settings.default_mode
    where = sandbox_place(layers, "default_mode")
    if named != AUTO_MODE:
        if named not in settings.modes:
            known = ", ".join([AUTO_MODE, *settings.modes])
            raise ConfigError(f"{where}: default_mode names {named!r}, which is no mode. Known: {known}")
        if not settings.modes[named].enabled:
            raise ConfigError(f"{where}: default_mode names {named!r}, which is switched off. Set enabled: true there, or name another")
    pool = settings.container_pool
    for name in ("min_warm", "min_fresh"):
        if getattr(pool, name) > pool.max_containers:
            place = sandbox_place(layers, "container_pool")
            raise ConfigError(f"{place}: {name} ({getattr(pool, name)}) is more than max_containers ({pool.max_containers})")


def sandbox_place(layers: Sequence[Checked], *keys: str) -> str:
    """Where the last layer that says it says `keys` of the python section."""
    for one in reversed(layers):
        section, path = one.root.section("python")
        if section is not None and keys[0] in section.model_fields_set:
            return one.layer.place((*path, *keys))
    return dotted(("python", *keys))


def mode_place(layers: Sequence[Checked], mode_id: str, field: str | None = None) -> str:
    """Where the last layer that speaks of the mode does so, at the line of `field` if that is written there."""
    for one in reversed(layers):
        section, path = one.root.section("python")
        for found_id, mode, inner in section.listed() if section is not None else []:
            if found_id == mode_id:
                start = one.layer.place((*path, *inner))
                places = [one.layer.place((*path, *inner, key)) for key, name in mode.keys().items() if name == field]
                return next((place for place in places if place != start), start)
    return dotted(("python", "modes", mode_id))
