"""What is run in a sandbox, under which limits, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gleitzeit_nb.core.displays import Display
from gleitzeit_nb.core.network import NetworkKind, NetworkLimits, NetworkRecord
from gleitzeit_nb.core.run_limits import MIB as MIB  # noqa: PLC0414 - what a run is made of is found here
from gleitzeit_nb.core.run_limits import Limits as Limits  # noqa: PLC0414
from gleitzeit_nb.core.volumes import Volume

ModeKind = Literal["docker", "restricted", "local"]
ResultStatus = Literal["ok", "error", "timeout", "oom", "killed", "lost"]

AUTO_MODE = "auto"
UNNAMED = "<sandbox>"  # what tracebacks call code to which nobody gave a name
DOCKER_MODE = "docker-sandbox"
RESTRICTED_MODE = "restricted"
LOCAL_MODE = "local"
DATASCIENCE_MODE = "docker-datascience"
DATASCIENCE_IMAGE = "gleitzeit/datascience:latest"


@dataclass(frozen=True)
class ModeSettings:
    """One way of running code, as configured. `kind` says who enforces it: a Docker daemon, the kernel, or nobody.

    `limits` are what a run gets that asks for nothing; `ceiling` names the most of each that a run may ask for, where there is a most.
    `allow_weaker` (restricted only): accept the form without namespaces where the system refuses them.
    `allow`: rules of a restricted network (see `core.allowlist`); `allow_private`: ranges beyond the public internet that they may lead to.
    `allowed_modules` (restricted and local): a courtesy for the reader of the code, never the boundary.
    `volumes`, `gpu` (all that the daemon has) and `runtime` (the daemon's name for it; None: its default) are for containers only.
    `preload` (containers only): modules that are imported once per worker, so that a run finds them imported; None leaves it to the image.
    """

    id: str
    kind: ModeKind
    label: str
    enabled: bool = True
    image: str | None = None
    limits: Limits = Limits()
    ceiling: Mapping[str, float] = field(default_factory=dict)
    network: NetworkKind = "none"
    allow: tuple[str, ...] = ()
    allow_private: tuple[str, ...] = ()
    network_limits: NetworkLimits = NetworkLimits()
    environment: Mapping[str, str] = field(default_factory=dict)
    allow_weaker: bool = False
    allowed_modules: tuple[str, ...] | None = None
    preload: tuple[str, ...] | None = None
    volumes: tuple[Volume, ...] = ()
    gpu: bool = False
    runtime: str | None = None


@dataclass(frozen=True)
class ContainerPoolSettings:
    """Warm workers: at most `max_containers` per kernel, and beside them `max_sessions` that keep their variables.

    `min_warm` are kept ready per mode once it was used, and `min_fresh` that never ran anything once such a one was asked for.
    `max_waiting`: runs that may wait for one; `max_wait_s`: how long, None: as long as it takes.
    """

    max_containers: int = 10
    idle_timeout_s: float = 300.0
    reuse_containers: bool = True
    min_warm: int = 1
    min_fresh: int = 1
    max_uses: int = 200
    max_waiting: int = 4096
    max_wait_s: float | None = None
    max_sessions: int = 4
    session_idle_timeout_s: float = 1800.0


def default_modes() -> dict[str, ModeSettings]:
    """The modes that exist without any configuration."""
    return {
        DOCKER_MODE: ModeSettings(DOCKER_MODE, "docker", "Sandbox"),
        DATASCIENCE_MODE: ModeSettings(
            DATASCIENCE_MODE, "docker", "Data science", image=DATASCIENCE_IMAGE, limits=Limits(memory_bytes=2048 * MIB, cpus=2.0)
        ),
        RESTRICTED_MODE: ModeSettings(RESTRICTED_MODE, "restricted", "Restricted"),
        LOCAL_MODE: ModeSettings(LOCAL_MODE, "local", "Local", enabled=False),
    }


@dataclass(frozen=True)
class SandboxSettings:
    """All modes by id, which of them is the default, and the pool's bounds. `default_mode` "auto" never resolves to `local`.

    `volume_roots`: the folders beneath which volumes may lie. `wheelhouse`: the folder of the wheels for a run's requirements; None
    is the cache.
    """

    modes: Mapping[str, ModeSettings] = field(default_factory=default_modes)
    default_mode: str = AUTO_MODE
    container_pool: ContainerPoolSettings = ContainerPoolSettings()
    volume_roots: tuple[str, ...] = ()
    wheelhouse: str | None = None


@dataclass(frozen=True)
class ExecutionRequest:
    """What is to be run. `mode` None means the configured default; `limits` are already merged from mode and call.

    `inputs` are bound as variables before the code runs; `outputs` name the variables to bring back.
    `filename` is what tracebacks call the code. `trust_html`: HTML that the code makes is passed on, live. `network` None is the
    mode's, or restricted where `allow` names something. `volumes` and `gpu` come on top of what the mode has. `files`: name in the work
    directory → content, or where it is read; `artifacts`: bring back the files that the code leaves there.
    `requirements` are lines of `core.requirements`.
    """

    id: str
    code: str
    mode: str | None = None
    image: str | None = None
    limits: Limits | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    fresh: bool = False
    session: str | None = None
    network: NetworkKind | None = None
    allow: tuple[str, ...] = ()
    filename: str = UNNAMED
    label: str = ""
    trust_html: bool = False
    volumes: tuple[Volume, ...] = ()
    gpu: bool = False
    files: Mapping[str, Any] = field(default_factory=dict)
    artifacts: bool = False
    requirements: tuple[str, ...] = ()


@dataclass(frozen=True)
class Timings:
    """Seconds spent waiting for a worker, making one (0 when warm), and running."""

    queue_s: float = 0.0
    start_s: float = 0.0
    run_s: float = 0.0


@dataclass(frozen=True)
class Usage:
    """CPU seconds of all processes of a run, and the most memory at once: with `whole` of everything inside together, files in memory
    and the waiting guest included, as its control group counts it; else of the largest process."""

    cpu_s: float
    peak_bytes: int
    whole: bool = False


@dataclass(frozen=True)
class ExecutionResult:
    """How a run ended. All text is untrusted.

    `status`: "ok"; "error" (the code raised, or left with a non-zero exit code); "timeout"; "oom"; "killed" (interrupted or
    stopped by the user); "lost" (the sandbox went away under it). `exit_code` is negative for a signal, as in subprocess.
    `traceback` is the user's own frames. `displays` are what it showed: the value of its last expression, figures, `display()`;
    `displays_dropped` counts those that were malformed or too much. `artifacts` are the files that it left, where they were asked for,
    and `left_out` those that could not be brought out, with the reason. `truncated` holds the bytes dropped per stream. `network`: what
    the code tried to reach, where it may. `usage` is None where the guest went away.
    `isolation` says in one line what held it.
    """

    status: ResultStatus
    mode: str
    stdout: str = ""
    stderr: str = ""
    exit_code: int | None = None
    traceback: str = ""
    displays: tuple[Display, ...] = ()
    displays_dropped: int = 0
    outputs: Mapping[str, Any] = field(default_factory=dict)
    artifacts: Mapping[str, bytes] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    truncated: Mapping[str, int] = field(default_factory=dict)
    network: tuple[NetworkRecord, ...] = ()
    timings: Timings = Timings()
    usage: Usage | None = None
    container: str | None = None
    isolation: str = ""
    detail: str = ""  # one line on why it is not ok
    session: str = ""  # its name, and what became of it; "" for a run without one
    cold: str = ""  # what stood in the way of a warm worker; "" when there was one

    @property
    def ok(self) -> bool:
        return self.status == "ok"
