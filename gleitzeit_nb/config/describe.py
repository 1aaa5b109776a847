"""Settings by the keys that a configuration file uses, for people to read: nothing secret, nothing that cannot be JSON."""

from __future__ import annotations

from typing import Any

from gleitzeit_nb.config.access_sections import AccessFields, TlsSection
from gleitzeit_nb.config.instance_sections import InstanceSection
from gleitzeit_nb.config.limit_sections import LIMIT_KEYS, LimitFields, size_text
from gleitzeit_nb.config.network_sections import NetworkLimitsSection
from gleitzeit_nb.config.ollama_sections import BalancingSection, BreakerSection, CacheSection, QueueSection, ReceiptSection, TimeoutSection
from gleitzeit_nb.config.sandbox_sections import ContainerPoolSection, ModeSection
from gleitzeit_nb.config.section import Section
from gleitzeit_nb.core.access import AccessSettings, Secret, TlsSettings
from gleitzeit_nb.core.aliases import Alias
from gleitzeit_nb.core.execution import ModeSettings, SandboxSettings
from gleitzeit_nb.core.instances import InstanceSettings
from gleitzeit_nb.core.keep_alive import KeepAlive
from gleitzeit_nb.core.models import display
from gleitzeit_nb.core.settings import PoolSettings
from gleitzeit_nb.core.volumes import Volume

MASK = "***"


def described(pool: PoolSettings, sandbox: SandboxSettings) -> dict[str, Any]:
    balancing = _by_keys(BalancingSection, pool.balancing) | {"circuit_breaker": _by_keys(BreakerSection, pool.breaker)}
    return {
        "ollama": {
            "default_model": pool.default_model,
            "keep_alive": _times(pool.keep_alive),
            "preload": list(pool.preload),
            "require_tags": list(pool.require_tags),
            "aliases": {display(name): _alias(alias) for name, alias in pool.aliases.items()},
            "cache": _by_keys(CacheSection, pool.cache),
            "record": pool.record,
            "replay": pool.replay,
            "share_slots": pool.share_slots,
            **_access(pool.access),
            "instances": [describe_instance(instance) for instance in pool.instances],
            "load_balancing": balancing,
            "queue": _by_keys(QueueSection, pool.admission),
            "timeouts": _by_keys(TimeoutSection, pool.timeouts),
            "receipts": _by_keys(ReceiptSection, pool.receipts),
        },
        "python": {
            "default_mode": sandbox.default_mode,
            "modes": {mode_id: _mode(mode) for mode_id, mode in sandbox.modes.items()},
            "volume_roots": list(sandbox.volume_roots),
            "wheelhouse": sandbox.wheelhouse,
            "container_pool": _by_keys(ContainerPoolSection, sandbox.container_pool),
        },
    }


def _times(keep_alive: KeepAlive) -> dict[str, float] | float | None:
    """As it is written: one time, or one for each model."""
    if not keep_alive.by_model:
        return keep_alive.others_s
    default = {} if keep_alive.others_s is None else {"default": keep_alive.others_s}
    return default | dict(keep_alive.by_model)


def _alias(alias: Alias) -> dict[str, str] | list[str]:
    return dict(zip(alias.instances, alias.models, strict=True)) if alias.instances else list(alias.models)


def describe_instance(instance: InstanceSettings) -> dict[str, Any]:
    found = _by_keys(InstanceSection, instance)
    return {key: value for key, value in found.items() if key not in AccessFields.model_fields} | _access(instance)


def _access(access: AccessSettings) -> dict[str, Any]:
    """What was said of how a server is approached; of headers only the names."""
    proxy = access.proxy
    mask = f"http://{MASK}@" if proxy is not None and proxy.basic_auth is not None else "http://"
    found = {
        "api_key": _plain("api_key", access.api_key),
        "basic_auth": _plain("basic_auth", access.basic_auth),
        "headers": {name: MASK for name, _ in access.headers},
        "tls": _by_keys(TlsSection, access.tls) if access.tls != TlsSettings() else None,
        "proxy": proxy.url.replace("http://", mask, 1) if proxy is not None else None,
    }
    return {name: value for name, value in found.items() if value}


def _mode(mode: ModeSettings) -> dict[str, Any]:
    """Values of environment variables are masked: people put keys there, although the code inside can read them."""
    found = {"type": mode.kind} | _by_keys(ModeSection, mode) | _by_keys(LimitFields, mode.limits)
    found["network_limits"] = _by_keys(NetworkLimitsSection, mode.network_limits)
    found["ceiling"] = {LIMIT_KEYS[name]: _plain(name, most) for name, most in mode.ceiling.items()}
    return found | {"environment": dict.fromkeys(mode.environment, MASK)}


def _by_keys(section: type[Section], settings: object) -> dict[str, Any]:
    """Every field of `settings` that the section has a key for, by the first (canonical) of its keys."""
    canonical = {name: key for key, name in reversed(section.keys().items())}
    return {key: _plain(name, getattr(settings, name)) for name, key in reversed(canonical.items()) if hasattr(settings, name)}


def _plain(name: str, value: object) -> Any:
    if isinstance(value, Secret):
        return MASK
    if name.endswith("_bytes") and isinstance(value, int):
        return size_text(value)
    if isinstance(value, tuple):
        return [each.text if isinstance(each, Volume) else each for each in value]
    return value
