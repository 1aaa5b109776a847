"""The process's environment: the one place that reads it. Variables become a layer; XDG variables become directories."""

from __future__ import annotations

import difflib
import logging
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gleitzeit_nb.config.layers import Key, Layer
from gleitzeit_nb.config.values import DEFAULT_OLLAMA_URL, normalise_url
from gleitzeit_nb.core.access import Secret
from gleitzeit_nb.core.execution import DOCKER_MODE
from gleitzeit_nb.errors import ConfigError

logger = logging.getLogger("gleitzeit_nb")

CONFIG_VARIABLE = "GLEITZEIT_CONFIG"
CACHE_VARIABLE = "GLEITZEIT_CACHE_DIR"
DISCOVERY_VARIABLES = ("OLLAMA_HOST", "OLLAMA_BASE_URL")

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")


def process_environment() -> Mapping[str, str]:
    return os.environ


def _text(value: str) -> str:
    return value


def _switch(value: str) -> bool:
    if value.lower() in _TRUE + _FALSE:
        return value.lower() in _TRUE
    raise ConfigError(f"should be true or false (also 1, yes, on; 0, no, off), not {value[:40]!r}")


def _instances(value: str) -> list[dict[str, str]]:
    """`id:url,id:url`, as in local:http://localhost:11434,gpu:http://gpu:11434."""
    found = []
    for entry in filter(None, (part.strip() for part in value.split(","))):
        name, colon, url = entry.partition(":")
        if not colon or not url or url.startswith("//"):
            raise ConfigError("should be a list such as local:http://localhost:11434,gpu:http://gpu:11434: each entry is id:url")
        found.append({"id": name.strip(), "url": url.strip()})
    return found


def _key(value: str) -> str | Secret:
    """The variable is the key itself, unless it names another source."""
    return value if value.startswith(("env:", "keyring:")) else Secret(value)


_SANDBOX: Key = ("python", "modes", DOCKER_MODE)
VARIABLES: dict[str, tuple[Key, Callable[[str], Any]]] = {
    "GLEITZEIT_OLLAMA_INSTANCES": (("ollama", "instances"), _instances),
    "GLEITZEIT_OLLAMA_API_KEY": (("ollama", "api_key"), _key),
    "GLEITZEIT_OLLAMA_CA_FILE": (("ollama", "tls", "ca_file"), _text),
    "GLEITZEIT_OLLAMA_PROXY": (("ollama", "proxy"), _key),
    "GLEITZEIT_OLLAMA_STRATEGY": (("ollama", "load_balancing", "strategy"), _text),
    "GLEITZEIT_OLLAMA_FAILOVER": (("ollama", "load_balancing", "failover"), _switch),
    "GLEITZEIT_OLLAMA_HEALTH_CHECK_INTERVAL": (("ollama", "load_balancing", "health_check_interval"), _text),
    "GLEITZEIT_RECORD": (("ollama", "record"), _text),
    "GLEITZEIT_REPLAY": (("ollama", "replay"), _text),
    "GLEITZEIT_MODEL": (("ollama", "default_model"), _text),
    "GLEITZEIT_PYTHON_MODE": (("python", "default_mode"), _text),
    "GLEITZEIT_DOCKER_IMAGE": ((*_SANDBOX, "image"), _text),
    "GLEITZEIT_DOCKER_MEMORY": ((*_SANDBOX, "memory_limit"), _text),
    "GLEITZEIT_DOCKER_NETWORK": ((*_SANDBOX, "network"), _text),
    "GLEITZEIT_NB_STREAM": (("stream",), _switch),
}
_READ_ELSEWHERE = (CONFIG_VARIABLE, CACHE_VARIABLE, "GLEITZEIT_DEMO_OLLAMA")


def layer_of_environment(environ: Mapping[str, str]) -> Layer:
    """What the variables say; an empty one says nothing. A variable that looks misspelt is logged."""
    data: dict[str, Any] = {}
    places: dict[Key, str] = {}
    for name, (path, read) in VARIABLES.items():
        value = environ.get(name, "").strip()
        if not value:
            continue
        try:
            item = read(value)
        except ConfigError as exc:
            raise ConfigError(f"{name}: {exc}") from exc
        _put(data, path, item)
        places[path] = name
    for name, nearest in misspelt(environ):
        logger.warning("the environment variable %s means nothing to this version; was %s meant?", name, nearest)
    return Layer("environment", data, True, places)


def _put(data: dict[str, Any], path: Key, item: Any) -> None:
    *outer, last = (str(part) for part in path)
    for part in outer:
        data = data.setdefault(part, {})
    data[last] = item


def misspelt(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """(variable, the nearest known one) for names of ours that nobody reads."""
    known = [*VARIABLES, *_READ_ELSEWHERE]
    strange = sorted(name for name in environ if name.startswith("GLEITZEIT_") and name not in known)
    near = [(name, difflib.get_close_matches(name, known, n=1, cutoff=0.85)) for name in strange]
    return [(name, matches[0]) for name, matches in near if matches]


def misspelt_variables() -> list[tuple[str, str]]:
    """The same of this process."""
    return misspelt(process_environment())


def discovery_urls(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Where an Ollama that nobody configured may answer. User info is left out: a key belongs to a configured instance."""
    found: list[str] = []
    for name in DISCOVERY_VARIABLES:
        value = environ.get(name, "").strip()
        if not value:
            continue
        try:
            url = normalise_url(value)
        except ConfigError as exc:
            raise ConfigError(f"{name}: {exc}") from exc
        if url not in found:
            found.append(url)
    return tuple(found) or (DEFAULT_OLLAMA_URL,)


def config_directory(environ: Mapping[str, str] | None = None, home: Path | None = None) -> Path:
    """Where the user's own configuration lies: $XDG_CONFIG_HOME/gleitzeit, or ~/.config/gleitzeit."""
    return _directory("XDG_CONFIG_HOME", ".config", environ, home)


def cache_directory(environ: Mapping[str, str] | None = None, home: Path | None = None) -> Path:
    """What can be fetched again (model weights): $GLEITZEIT_CACHE_DIR, else $XDG_CACHE_HOME/gleitzeit, else ~/.cache/gleitzeit."""
    given = (process_environment() if environ is None else environ).get(CACHE_VARIABLE, "").strip()
    if given:
        return Path(given).expanduser().absolute()
    return _directory("XDG_CACHE_HOME", ".cache", environ, home)


def state_directory(environ: Mapping[str, str] | None = None, home: Path | None = None) -> Path:
    """What should outlive a kernel and is not configuration: $XDG_STATE_HOME/gleitzeit, or ~/.local/state/gleitzeit."""
    return _directory("XDG_STATE_HOME", ".local/state", environ, home)


def runtime_directory(environ: Mapping[str, str] | None = None) -> Path | None:
    """What only the processes of now share: $XDG_RUNTIME_DIR/gleitzeit. None where there is no such directory of this user's own."""
    given = sockets_directory(environ)
    return None if given is None else given / "gleitzeit"


def sockets_directory(environ: Mapping[str, str] | None = None) -> Path | None:
    """$XDG_RUNTIME_DIR, where this user's services have their sockets; None where there is none that nobody else may write to."""
    given = Path((process_environment() if environ is None else environ).get("XDG_RUNTIME_DIR", ""))
    try:
        status = given.stat() if given.is_absolute() else None
    except OSError:
        return None
    if status is None or not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        return None
    return given


def _directory(variable: str, default: str, environ: Mapping[str, str] | None, home: Path | None) -> Path:
    """By the XDG rules a relative path does not count. Never relative to the working directory, which may be a stranger's."""
    given = Path((process_environment() if environ is None else environ).get(variable, ""))
    if given.is_absolute():
        return given / "gleitzeit"
    try:
        base = home or Path.home()
    except RuntimeError:
        base = Path()
    if not base.is_absolute():
        raise ConfigError(f"this user has no home directory: set HOME, or set {variable} to an absolute path")
    return base / default / "gleitzeit"


@contextmanager
def planted_variable(name: str, value: str) -> Iterator[None]:
    """A variable that is there for a while: the self-check plants one and looks for it inside the sandbox."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before
