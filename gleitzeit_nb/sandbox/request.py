"""The keywords of one run, made into one ExecutionRequest; what this version does not have is refused by name, never ignored."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypedDict

from gleitzeit_nb.config import parse_duration, parse_size
from gleitzeit_nb.core.execution import ExecutionRequest, Limits
from gleitzeit_nb.errors import ConfigError

MAX_OUTPUT_BYTES = 64 << 20

_ABSENT = {
    "volumes": "cannot be had: this version mounts nothing into a sandbox. Pass values with inputs and outputs.",
    "network": "cannot be had: this version gives a sandbox no network at all, so network must be 'none'.",
    "gpu": "cannot be had: this version gives a sandbox no GPU.",
    "session": "cannot be had: this version keeps no variables between runs. Pass values with inputs and outputs.",
}


class RunOptions(TypedDict, total=False):
    """`timeout` in seconds or as "30s", sizes in bytes or as "512m"; what is not given comes from the mode's configuration.

    `inputs` are bound as variables before the code runs, `outputs` name the variables to bring back. `fresh`: a worker that has
    never run anything. `filename` is what tracebacks call the code, `label` what the views call the run.
    """

    image: str | None
    timeout: float | str | None
    memory_limit: str | int | None
    cpu_limit: float | None
    pids_limit: int | None
    max_output: str | int | None
    inputs: Mapping[str, Any] | None
    outputs: Sequence[str]
    fresh: bool
    filename: str
    label: str
    volumes: Mapping[str, Any] | Sequence[str] | None
    network: str
    gpu: bool
    session: str | None


def make_request(code: str, mode: str | None, options: RunOptions) -> tuple[ExecutionRequest, Mapping[str, Any]]:
    """The request, and the limits that it names itself. Raises ConfigError."""
    unknown = set(options) - set(RunOptions.__annotations__)
    if unknown:
        raise TypeError(f"unknown keywords for a run: {', '.join(sorted(unknown))}")
    _refuse_absent(options)
    request = ExecutionRequest(
        id=uuid.uuid4().hex,
        code=code,
        mode=mode,
        image=options.get("image"),
        inputs=dict(options.get("inputs") or {}),
        outputs=tuple(options.get("outputs", ())),
        fresh=options.get("fresh", False),
        filename=options.get("filename", "<sandbox>"),
        label=options.get("label", ""),
    )
    return request, _own_limits(options)


def limits_of(base: Limits, own: Mapping[str, Any]) -> Limits:
    """The mode's limits with the run's own in their place. Raises ConfigError for what cannot be."""
    try:
        limits = replace(base, **own)
    except (ValueError, TypeError) as exc:
        raise ConfigError(f"This run cannot have these limits: {exc}.") from exc
    if limits.output_bytes > MAX_OUTPUT_BYTES:  # the guest holds the last quarter in its own memory
        raise ConfigError(f"This run cannot have these limits: at most {MAX_OUTPUT_BYTES} bytes of output are kept per stream.")
    return limits


def refuse_session(request: ExecutionRequest) -> None:
    if request.session is not None:
        raise ConfigError(f"session {_ABSENT['session']}")


def _own_limits(options: RunOptions) -> dict[str, Any]:
    own: dict[str, Any] = {}
    timeout, memory, output = options.get("timeout"), options.get("memory_limit"), options.get("max_output")
    if timeout is not None:
        own["timeout_s"] = parse_duration(timeout)
    if memory is not None:
        own["memory_bytes"] = parse_size(memory)
    if output is not None:
        own["output_bytes"] = parse_size(output)
    if options.get("cpu_limit") is not None:
        own["cpus"] = options["cpu_limit"]
    if options.get("pids_limit") is not None:
        own["pids"] = options["pids_limit"]
    return own


def _refuse_absent(options: RunOptions) -> None:
    asked = {
        "volumes": bool(options.get("volumes")),
        "network": options.get("network", "none") != "none",
        "gpu": bool(options.get("gpu")),
        "session": options.get("session") is not None,
    }
    for name in filter(asked.__getitem__, asked):
        raise ConfigError(f"{name} {_ABSENT[name]}")
