"""The one loader: every layer in its order, and the value that the engine is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gleitzeit_nb.config import environment
from gleitzeit_nb.config.check import Checked, checked
from gleitzeit_nb.config.credentials import read_key
from gleitzeit_nb.config.describe import described
from gleitzeit_nb.config.layers import Layer, layer_of_file, layer_of_mapping
from gleitzeit_nb.config.merge import instance_of, pool_settings_of, sandbox_settings_of
from gleitzeit_nb.config.trust import refuse_untrusted
from gleitzeit_nb.core.access import AccessSettings, Secret
from gleitzeit_nb.core.execution import SandboxSettings
from gleitzeit_nb.core.instances import InstanceSettings
from gleitzeit_nb.core.settings import PoolSettings
from gleitzeit_nb.errors import ConfigError

CONFIG_FILE = "config.yaml"


@dataclass(frozen=True)
class Config:
    """All settings of one engine.

    `explicit_instances`: some layer lists instances (even none); else `discovery_urls` are asked. `sources` says where each layer
    came from, lowest first. `stream` False: magics show final answers only.
    """

    pool: PoolSettings = field(default_factory=PoolSettings)
    sandbox: SandboxSettings = field(default_factory=SandboxSettings)
    explicit_instances: bool = False
    discovery_urls: tuple[str, ...] = ()
    sources: tuple[str, ...] = ("defaults",)
    stream: bool = True

    def describe(self) -> dict[str, Any]:
        """Everything by the keys of a configuration file, with keys and user info masked; plain JSON types."""
        return {
            **described(self.pool, self.sandbox),
            "stream": self.stream,
            "discovery": [] if self.explicit_instances else list(self.discovery_urls),
            "sources": list(self.sources),
        }


def load(
    ollama_config: Mapping[str, Any] | None = None,
    python_config: Mapping[str, Any] | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    use_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    home: Path | None = None,
) -> Config:
    """Defaults < the user's file < GLEITZEIT_CONFIG's file < `use_file` < environment < `overrides` < the two dictionaries.

    `use_file` is not trusted, unless it is one of the two files before it. Raises ConfigError; reads files, asks no network.
    """
    environ = environment.process_environment() if environ is None else environ
    files = trusted_files(environ, home)
    layers = [checked(layer_of_file(path)) for _, path in files]
    sources = ["defaults", *(source for source, _ in files)]
    written = [environment.layer_of_environment(environ), *_argument_layers(ollama_config, python_config, overrides)]
    above = [checked(layer) for layer in written if layer.data]
    if use_file is not None:
        layers.append(_used(use_file, [path for _, path in files], layers, above))
        sources.append(f"{use_file} (used; {'trusted' if layers[-1].layer.trusted else 'not trusted'})")
    layers += above
    sources += [_source(one.layer) for one in above]
    pool, explicit = pool_settings_of(layers, environ)
    streams = [one.root.stream for one in layers if "stream" in one.root.model_fields_set]
    return Config(
        pool=pool,
        sandbox=sandbox_settings_of(layers),
        explicit_instances=explicit,
        discovery_urls=() if explicit else environment.discovery_urls(environ),
        sources=tuple(sources),
        stream=streams[-1] if streams else True,
    )


def check_file(path: Path, *, environ: Mapping[str, str] | None = None, home: Path | None = None) -> str | None:
    """Read `path` as a configuration of its own, over the user's. Raises ConfigError when it is not valid.

    Returns None, or why it would be refused as an untrusted file.
    """
    environ = environment.process_environment() if environ is None else environ
    below = [checked(layer_of_file(each)) for _, each in trusted_files(environ, home)]
    layer = checked(layer_of_file(path))
    pool_settings_of([*below, layer], environ)
    sandbox_settings_of([*below, layer])
    try:
        refuse_untrusted(layer, below)
    except ConfigError as refusal:
        return str(refusal)
    return None


def named_secret(text: str, *, name: str, environ: Mapping[str, str] | None = None) -> Secret:
    """The secret that `env:NAME` or `keyring:NAME` names; `name` begins the messages."""
    return read_key(text, name=name, environ=environment.process_environment() if environ is None else environ)


def trusted_files(environ: Mapping[str, str], home: Path | None = None) -> list[tuple[str, Path]]:
    """(source, path) of the files that belong to the user. The one that GLEITZEIT_CONFIG names must exist."""
    found: list[tuple[str, Path]] = []
    try:
        own = environment.config_directory(environ, home) / CONFIG_FILE
        found += [(str(own), own)] if own.exists() else []
    except ConfigError:
        pass  # no home directory: a user without one has no file there, and needs none
    named = environ.get(environment.CONFIG_VARIABLE, "").strip()
    if named:
        try:
            path = Path(named).expanduser()
        except RuntimeError as exc:
            raise ConfigError(f"{environment.CONFIG_VARIABLE}: no home directory is known for {named!r}") from exc
        if not path.exists():
            raise ConfigError(f"{environment.CONFIG_VARIABLE} names {named!r}, which does not exist")
        found.append((f"{path} ({environment.CONFIG_VARIABLE})", path))
    return found


def _used(path: Path, trusted: Sequence[Path], below: Sequence[Checked], above: Sequence[Checked]) -> Checked:
    is_trusted = any(path.exists() and path.samefile(other) for other in trusted)
    layer = checked(layer_of_file(path, trusted=is_trusted))
    if not is_trusted:
        refuse_untrusted(layer, below, above)
    return layer


def _argument_layers(
    ollama_config: Mapping[str, Any] | None, python_config: Mapping[str, Any] | None, overrides: Mapping[str, Any] | None
) -> list[Layer]:
    layers = [layer_of_mapping(overrides, "overrides")] if overrides else []
    if ollama_config is not None:
        layers.append(layer_of_mapping({"ollama": ollama_config}, "ollama_config"))
    if python_config is not None:
        layers.append(layer_of_mapping({"python": python_config}, "python_config"))
    return layers


def _source(layer: Layer) -> str:
    variables = sorted(set(layer.places.values()))
    return f"{layer.origin}: {', '.join(variables)}" if variables else layer.origin


def instance_settings(
    mapping: Mapping[str, Any], *, origin: str = "instance", access: AccessSettings | None = None, environ: Mapping[str, str] | None = None
) -> InstanceSettings:
    """One instance from a dictionary, as `add_instance` takes it. `origin` begins the messages; `access` is what its pool has."""
    environ = environment.process_environment() if environ is None else environ
    layer = layer_of_mapping({"ollama": {"instances": [mapping]}}, origin or "instance")
    section, path = checked(layer).root.section("ollama")
    return instance_of(section.instances[0], layer, (*path, "instances", 0), environ, access or AccessSettings())


def pool_settings(
    instances: Sequence[Mapping[str, Any]] | None = None,
    load_balancing: Mapping[str, Any] | None = None,
    health_check_interval: float | None = None,
    circuit_breaker_config: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
) -> PoolSettings:
    """A pool's settings from its constructor's arguments alone: no file and no environment, save for keys that are named."""
    given = {
        "instances": instances,
        "load_balancing": load_balancing,
        "health_check_interval": health_check_interval,
        "circuit_breaker_config": circuit_breaker_config,
    }
    data = {"ollama": {name: value for name, value in given.items() if value is not None}}
    environ = environment.process_environment() if environ is None else environ
    return pool_settings_of([checked(layer_of_mapping(data, "OllamaPoolManager"))], environ)[0]


def sandbox_settings(mapping: Mapping[str, Any] | None = None) -> SandboxSettings:
    """A sandbox's settings from a dictionary alone, by the keys of the python section."""
    return sandbox_settings_of([checked(layer_of_mapping({"python": mapping or {}}, "python_config"))])
