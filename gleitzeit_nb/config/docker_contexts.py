"""Docker's contexts, as its command line stores them: which one is in use, where its daemon is, and with which certificates.

Read here rather than by Docker's SDK, which looks in the working directory when there is no configuration file.
Source of the layout: the Docker CLI, `cli/context/store` (names are hashed with sha256).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gleitzeit_nb.config.environment import process_environment
from gleitzeit_nb.errors import ConfigError

DEFAULT = "default"


@dataclass(frozen=True)
class DockerContext:
    """`certificates`: ca, cert and key, as far as they are there."""

    name: str
    host: str
    skip_verify: bool
    certificates: Mapping[str, Path]


def docker_context(environ: Mapping[str, str] | None = None, home: Path | None = None) -> DockerContext | None:
    """The context that DOCKER_CONTEXT or Docker's configuration names; None for the default one, the usual socket.

    Raises ConfigError for a context that there is not, or that cannot be read.
    """
    variables = process_environment() if environ is None else environ
    folder = _folder(variables, home)
    name = variables.get("DOCKER_CONTEXT", "").strip() or str(_read(folder / "config.json").get("currentContext") or DEFAULT)
    if name == DEFAULT:
        return None
    hashed = hashlib.sha256(name.encode()).hexdigest()
    endpoint = _read(folder / "contexts" / "meta" / hashed / "meta.json").get("Endpoints", {}).get("docker", {})
    if not endpoint.get("Host"):
        raise ConfigError(
            f"There is no Docker context {name!r} with an address. `docker context ls` lists them; `docker context use` chooses."
        )
    files = folder / "contexts" / "tls" / hashed / "docker"
    found = {kind: files / f"{kind}.pem" for kind in ("ca", "cert", "key") if (files / f"{kind}.pem").is_file()}
    return DockerContext(name, str(endpoint["Host"]), bool(endpoint.get("SkipTLSVerify")), found)


def _folder(variables: Mapping[str, str], home: Path | None) -> Path:
    given = Path(variables.get("DOCKER_CONFIG", ""))
    if given.is_absolute():
        return given
    try:
        return (home or Path.home()) / ".docker"
    except RuntimeError as exc:
        raise ConfigError("this user has no home directory: set HOME, or set DOCKER_CONFIG to an absolute path") from exc


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        raise ConfigError(f"Docker's file {path} cannot be read: {exc}") from exc
    return data if isinstance(data, dict) else {}
