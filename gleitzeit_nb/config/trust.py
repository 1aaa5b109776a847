"""What a file that merely lay in a working directory may not say.

Such a file (`%gleitzeit config use FILE`) may choose instances without keys (and whose certificates theirs are), balancing, images and
tighter limits. It may make no sandbox weaker than the user's own configuration has it, and nothing of it counts for the user's own
servers: a cloned repository must not be able to, even when its owner is told to use it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace

from gleitzeit_nb.config.access_sections import AccessFields
from gleitzeit_nb.config.check import Checked
from gleitzeit_nb.config.instance_sections import InstanceSection
from gleitzeit_nb.config.layers import Key
from gleitzeit_nb.config.limit_sections import LIMIT_KEYS, limit_text
from gleitzeit_nb.config.merge import mode_place, sandbox_place, sandbox_settings_of
from gleitzeit_nb.config.values import parse_address
from gleitzeit_nb.core.execution import AUTO_MODE, Limits, ModeSettings, SandboxSettings
from gleitzeit_nb.core.network import MOST
from gleitzeit_nb.errors import ConfigError

_TLS_OF_THE_USER = ("client_cert", "client_key", "client_key_password", "verify")
_REASONS = {
    "api_key": "carries a key or names one",
    "basic_auth": "carries a key or names one",
    "headers": "sets headers, which may be keys",
    "proxy": "sends its requests through a proxy",
}
_ANSWERS = {
    "cache": "says what is kept on this machine",
    "record": "writes a file",
    "replay": "answers from a file, in place of your servers",
}
_MODELS = {
    "aliases": "lets names stand for other models",
    "default_model": "chooses the model where none is named",
    "preload": "loads models",
    "keep_alive": "says how long models stay loaded",
}
"""Only on servers that the same file lists: on the user's own they would send prompts to other models, such as those of a cloud, or
take up memory."""
_RANK = {"local": 0, "restricted": 1, "docker": 3}
_AUTO_RANK = 2  # docker where there is a daemon, else restricted


def refuse_untrusted(layer: Checked, below: Sequence[Checked], above: Sequence[Checked] = ()) -> None:
    """Raises ConfigError with every line of `layer` that only the user's own configuration (`below` and `above` it) may hold."""
    problems = [*_keys(layer), *_models(layer, above), *_required_tags(layer, below), *_sandbox(layer, below)]
    if problems:
        raise ConfigError(
            "\n".join(problems) + "\nA file that is used from a working directory may not do that. "
            "Put what you trust into ~/.config/gleitzeit/config.yaml, or name the whole file in GLEITZEIT_CONFIG."
        )


def _keys(layer: Checked) -> Iterator[str]:
    section, path = layer.root.section("ollama")
    if section is None:
        return
    for key in AccessFields.model_fields:
        if key in section.model_fields_set:
            yield f"{_place(layer, section, path, key)}: {key} for the whole pool, where it would count for servers of yours"
    if "receipts" in section.model_fields_set:
        yield f"{layer.layer.place((*path, 'receipts'))}: receipts of your requests go where you say, and nowhere else"
    for key, reason in _ANSWERS.items():
        if key in section.model_fields_set:
            yield f"{layer.layer.place((*path, key))}: {key} {reason}"
    for index, instance in enumerate(section.instances or []):
        here: Key = (*path, "instances", index)
        for key, reason in _approaches(instance):
            yield f"{_place(layer, instance, here, key)}: instance {instance.id!r} {reason}"
        if "tls" in instance.model_fields_set:
            for key in _TLS_OF_THE_USER:
                if key in instance.tls.model_fields_set and getattr(instance.tls, key) is not True:
                    yield f"{layer.layer.place((*here, 'tls', key))}: the tls of instance {instance.id!r} sets {key}"
        if parse_address(instance.url).user_info is not None:
            yield f"{layer.layer.place((*here, 'url'))}: the url of instance {instance.id!r} carries user info"


def _approaches(instance: InstanceSection) -> Iterator[tuple[str, str]]:
    for key, reason in _REASONS.items():
        if getattr(instance, key, None):
            yield key, reason


def _place(layer: Checked, section: AccessFields, path: Key, field: str) -> str:
    aliases = [alias for alias, name in section.keys().items() if name == field]
    keys = [(*path, alias) for alias in aliases]
    return next((layer.layer.places[key] for key in keys if key in layer.layer.places), layer.layer.place(path))


def _models(layer: Checked, above: Sequence[Checked]) -> Iterator[str]:
    section, path = layer.root.section("ollama")
    if section is None:
        return
    overruled = any(each is not None and "instances" in each.model_fields_set for each, _ in (one.root.section("ollama") for one in above))
    if "instances" in section.model_fields_set and section.instances and not overruled:
        return
    why = "its instances are overruled, so that would be on yours" if overruled else "it lists no instances, so that would be on yours"
    for name, reason in _MODELS.items():
        if name in section.model_fields_set:
            keys = [key for key, field in section.keys().items() if field == name and (*path, key) in layer.layer.places]
            yield f"{layer.layer.place((*path, *keys[:1]))}: {name} {reason}; {why}"


def _required_tags(layer: Checked, below: Sequence[Checked]) -> Iterator[str]:
    """It may require more of every instance, not less: the user's own servers may still be the ones that are asked."""
    section, path = layer.root.section("ollama")
    if section is None or "require_tags" not in section.model_fields_set:
        return
    own = [
        each for each, _ in (one.root.section("ollama") for one in below) if each is not None and "require_tags" in each.model_fields_set
    ]
    dropped = [tag for tag in (own[-1].require_tags if own else ()) if tag not in section.require_tags]
    if dropped:
        yield f"{layer.layer.place((*path, 'require_tags'))}: require_tags leaves out {', '.join(dropped)}, which you require"


def _sandbox(layer: Checked, below: Sequence[Checked]) -> Iterator[str]:
    if layer.root.section("python")[0] is None:
        return
    trusted, wanted = sandbox_settings_of(below), sandbox_settings_of([*below, layer])
    if _rank(wanted) < _rank(trusted):
        place = sandbox_place([layer], "default_mode")
        yield f"{place}: default_mode {wanted.default_mode!r} isolates less than {trusted.default_mode!r}"
    for mode_id, mode in wanted.modes.items():
        base = trusted.modes.get(mode_id)
        for field, reason in _weaker(mode, base):
            yield f"{mode_place([layer], mode_id, field)}: mode {mode_id!r} {reason}"
    if wanted.volume_roots != trusted.volume_roots:
        yield f"{sandbox_place([layer], 'volume_roots')}: volume_roots says which folders of this machine may be mounted"
    if wanted.wheelhouse != trusted.wheelhouse:
        yield f"{sandbox_place([layer], 'wheelhouse')}: wheelhouse says whose packages are installed"
    yield from _pool(layer, trusted, wanted)


def _rank(settings: SandboxSettings) -> int:
    return _AUTO_RANK if settings.default_mode == AUTO_MODE else _RANK[settings.modes[settings.default_mode].kind]


def _weaker(mode: ModeSettings, trusted: ModeSettings | None) -> Iterator[tuple[str, str]]:
    """(field, how `mode` is weaker than `trusted`; a mode that the user does not have is held against the defaults)."""
    base = trusted or ModeSettings(mode.id, mode.kind, mode.label, enabled=mode.kind != "local")
    if mode.enabled and not base.enabled:
        yield "enabled", "is switched on, which only the user's own configuration may do"
    if mode.allow_weaker and not base.allow_weaker:
        yield "allow_weaker", "accepts weaker isolation"
    yield from _wider_network(mode, base)
    for name in (item.name for item in fields(Limits)):
        asked, allowed = getattr(mode.limits, name), getattr(base.limits, name)
        if asked > allowed:
            yield name, f"raises {name} to {asked:g} from {allowed:g}"
    for name, most in base.ceiling.items():
        asked = mode.ceiling.get(name, math.inf)
        if asked > most:
            yield "ceiling", f"raises the ceiling of {LIMIT_KEYS[name]} to {limit_text(name, asked)} from {limit_text(name, most)}"
    if base.allowed_modules is not None and not set(mode.allowed_modules or ("*",)) <= set(base.allowed_modules):
        yield "allowed_modules", "allows more modules"
    if not set(mode.volumes) <= {*base.volumes, *(replace(each, writable=False) for each in base.volumes)}:
        yield "volumes", "mounts folders of this machine"
    if mode.gpu and not base.gpu:
        yield "gpu", "takes the GPU"
    if mode.runtime != base.runtime:
        yield "runtime", "chooses another runtime"
    if mode.kind != "docker" and mode.environment != base.environment:
        yield "environment", "sets environment variables of a process on this machine"


def _wider_network(mode: ModeSettings, base: ModeSettings) -> Iterator[tuple[str, str]]:
    """A network that the user's own configuration has not, hosts that it does not allow, or more of either."""
    if mode.network == "restricted" and base.network == "none":
        yield "network", "gives code a network, which only the user's own configuration may do"
    if more := set(mode.allow) - set(base.allow):
        yield "allow", f"allows {', '.join(sorted(more)[:5])}"
    if more := set(mode.allow_private) - set(base.allow_private):
        yield "allow_private", f"opens {', '.join(sorted(more)[:5])}, where the user's own servers may be"
    for name in MOST:
        asked, allowed = getattr(mode.network_limits, name), getattr(base.network_limits, name)
        if asked > allowed:
            yield "network_limits", f"raises {name} to {asked:g} from {allowed:g}"


def _pool(layer: Checked, trusted: SandboxSettings, wanted: SandboxSettings) -> Iterator[str]:
    place = sandbox_place([layer], "container_pool")
    for name in ("max_containers", "max_uses", "max_sessions"):
        asked, allowed = getattr(wanted.container_pool, name), getattr(trusted.container_pool, name)
        if asked > allowed:
            yield f"{place}: container_pool raises {name} to {asked} from {allowed}"
    if wanted.container_pool.reuse_containers and not trusted.container_pool.reuse_containers:
        yield f"{place}: container_pool reuses containers, which the user's own configuration does not"
