"""The keywords of one run, made into one ExecutionRequest; what this version does not have is refused by name, never ignored."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from gleitzeit_nb.core.execution import UNNAMED, ExecutionRequest
from gleitzeit_nb.core.network import NetworkKind
from gleitzeit_nb.core.requirements import Requirements
from gleitzeit_nb.errors import ConfigError
from gleitzeit_nb.sandbox.network.policy import host_list, network_kind
from gleitzeit_nb.sandbox.volumes import volumes_of

_SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class LimitOptions(TypedDict, total=False):
    """By the keys of a mode's configuration, with sizes in bytes or as "512m"; None means what the mode has."""

    timeout: float | str | None
    memory_limit: str | int | None
    cpu_limit: float | None
    pids_limit: int | None
    max_output: str | int | None
    max_file_size: str | int | None
    max_open_files: int | None
    workspace_size: str | int | None
    workspace_files: int | None
    shm_size: str | int | None
    max_value: str | int | None
    max_display: str | int | None


class RunOptions(LimitOptions, total=False):
    """`timeout` in seconds or as "30s", sizes in bytes or as "512m"; what is not given comes from the mode's configuration.

    `inputs` are bound as variables before the code runs, `outputs` name the variables to bring back. `fresh`: a worker that has
    never run anything. `session` names variables that are kept for the next run of that name. `id` is what `cancel` and
    `describe` know the run by. `filename` is what tracebacks call the code, `label` what the views call the run. `trust_html`:
    HTML that the code makes is passed on, and a browser will run what it holds. `files` are put into the work directory (name →
    content, or path), `artifacts` brings back the files that are there at the end and were not put there. `network`: "none" or
    "restricted", which reaches the hosts that `allow` and the mode's configuration name, such as "example.org", "*.example.org" or
    "example.org:8443"; `allow` alone means restricted. `volumes` and `gpu` come on top of what the mode has: "host:guest[:rw]" each, or
    {host: {"bind": guest, "mode": "rw"}}. `requirements`: packages on top of the image, as the text of a requirements file or one by one.
    """

    image: str | None
    requirements: str | Sequence[str] | None
    inputs: Mapping[str, Any] | None
    outputs: Sequence[str]
    fresh: bool
    id: str
    filename: str
    label: str
    trust_html: bool
    files: Mapping[str, bytes | os.PathLike[str]] | None
    artifacts: bool
    volumes: Mapping[str, Any] | Sequence[str] | None
    network: NetworkKind | None
    allow: Sequence[str]
    gpu: bool
    session: str | None


def make_request(code: str, mode: str | None, options: RunOptions) -> tuple[ExecutionRequest, Mapping[str, Any]]:
    """The request, and the limits that it names itself, by the keys of the configuration. Raises ConfigError."""
    unknown = set(options) - set(RunOptions.__annotations__)
    if unknown:
        raise TypeError(f"unknown keywords for a run: {', '.join(sorted(unknown))}")
    request = ExecutionRequest(
        id=options.get("id") or uuid.uuid4().hex,
        code=code,
        mode=mode,
        image=options.get("image"),
        inputs=options.get("inputs") or {},
        outputs=_names(options.get("outputs") or ()),
        fresh=options.get("fresh", False),
        session=options.get("session"),
        network=network_kind(options.get("network")),
        allow=host_list(options.get("allow", ())),
        filename=options.get("filename", UNNAMED),
        label=options.get("label", ""),
        trust_html=options.get("trust_html", False),
        volumes=volumes_of(options.get("volumes") or ()),
        gpu=bool(options.get("gpu")),
        files=dict(options.get("files") or {}),
        artifacts=options.get("artifacts", False),
        requirements=_requirements(options.get("requirements") or ()),
    )
    return request, {key: options[key] for key in LimitOptions.__annotations__ if key in options}  # type: ignore[literal-required]


def check_session(request: ExecutionRequest) -> None:
    """Raises ConfigError for a name that cannot be, or for what a session cannot have."""
    name = request.session
    if name is not None and not _SESSION.fullmatch(name):
        raise ConfigError(f"{name[:80]!r} is no name for a session: up to 64 letters, digits, '.', '_' and '-', a letter or digit first.")
    if name is not None and request.fresh:
        raise ConfigError("A session keeps what earlier runs left, and fresh asks for the opposite. Leave one of them out.")


def _names(outputs: Sequence[str]) -> tuple[str, ...]:
    if isinstance(outputs, str):  # whose letters would be names
        raise TypeError(f"outputs must be a list of names: [{outputs[:60]!r}]")
    return tuple(outputs)


def _requirements(given: str | Sequence[str]) -> tuple[str, ...]:
    try:
        return Requirements.of(given).lines
    except ValueError as exc:
        raise ConfigError(f"requirements: {exc}.") from exc
