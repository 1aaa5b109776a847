"""The frozen records that every view renders: the notebook's dashboard, the side panel, the command line.

A snapshot is what was true at one moment. Views keep no books of their own. Rates are fractions (0 to 1), durations seconds,
sizes bytes, times of day s since the epoch; None means unknown and is shown as unknown, never as zero. A series has at most 30 points
over the last minute, the oldest first, and none before there was anything to tell.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class WarmModel:
    """A loaded model. `gpu_share` is size_vram / size of `/api/ps`: 0 is CPU only, 1 wholly on the GPU."""

    name: str
    gpu_share: float | None
    vram_bytes: int | None = None  # of GPU memory
    size_bytes: int | None = None  # of all memory
    expires_at: float | None = None  # when its server unloads it unless it is asked again; wall clock


@dataclass(frozen=True)
class InstanceView:
    id: str
    url: str
    tags: tuple[str, ...]
    state: str  # healthy, degraded, unhealthy, unknown
    reason: str  # one line on why it is not healthy, or not safe to reach; "" when it is
    draining: bool
    breaker: str  # closed, open, half_open
    retry_in_s: float | None  # until the next probe of an open breaker
    in_flight: int
    max_concurrent: int
    latency_s: float | None  # median of recent answers
    error_rate: float | None  # of recent requests; None before the first
    total_requests: int
    failed_requests: int
    tokens_per_s: tuple[float, ...]  # the last minute, oldest first; for a sparkline
    warm: tuple[WarmModel, ...]
    models: tuple[str, ...]
    load: tuple[float, ...] = ()  # series: share of its slots that were in use
    latencies_s: tuple[float | None, ...] = ()  # series: mean of the answers that ended then; None: none did


@dataclass(frozen=True)
class CountView:
    """How often something happened."""

    name: str
    count: int


@dataclass(frozen=True)
class ModeView:
    """`enabled` False: switched off. `note`: one line such as "disabled", "no Docker daemon" or what is weaker."""

    id: str
    label: str
    level: int  # 1 local, 2 restricted, 3 docker sandbox, 4 user-defined container
    enabled: bool
    available: bool | None  # None: not tried yet
    active: int
    queued: int
    containers: int
    max_containers: int
    memory_bytes: int | None
    note: str
    outcomes: tuple[CountView, ...] = ()  # how runs ended
    discards: tuple[CountView, ...] = ()  # why workers were given up


@dataclass(frozen=True)
class ContainerView:
    """A container or guest process. `state`: starting, idle, running, session. `id` is "" while it starts, and can then not be stopped."""

    id: str
    mode: str
    image: str  # "" where a mode has none
    state: str
    memory_bytes: int | None
    made_at: float  # wall clock, s since the epoch
    runs: int
    session: str = ""  # whose it is
    run: str = ""  # the id of the run that is going on in it


@dataclass(frozen=True)
class SessionView:
    """Variables that are kept between runs. `state`: starting, running, idle. `used_at`: wall clock, s since the epoch."""

    name: str
    mode: str
    state: str
    runs: int
    used_at: float
    memory_bytes: int | None
    peak_bytes: int | None  # the most that was seen
    container: str


@dataclass(frozen=True)
class FailoverView:
    at: float  # wall clock, s since the epoch
    source: str
    target: str
    reason: str
    model: str


@dataclass(frozen=True)
class ShareView:
    """How much of a job an instance did: a fraction."""

    name: str
    share: float


@dataclass(frozen=True)
class ProgressView:
    """How far a job of many items is."""

    done: int
    total: int | None  # None: nobody knows how many there are
    failed: int
    eta_s: float | None  # until it is done, if it goes on as before
    shares: tuple[ShareView, ...] = ()


@dataclass(frozen=True)
class RunView:
    """A request, run or job that is going on. `state` is one line: "queued 3rd", "loading llama3.2 on gpu-1, 8 s", "running"."""

    id: str
    kind: str  # llm, sandbox, job
    label: str
    where: str  # instance or mode; "" while queued
    state: str
    elapsed_s: float
    tokens: int
    model: str = ""
    tokens_per_s: float | None = None  # now; None before the first token, and of what has none
    rates: tuple[float, ...] = ()  # series: tokens per second
    progress: ProgressView | None = None
    container: str = ""  # of a sandbox run, once it has one
    cancellable: bool = True


@dataclass(frozen=True)
class SecurityCount:
    """`kind`: timeout, oom, system call, network, verification, discarded."""

    kind: str
    mode: str
    count: int


@dataclass(frozen=True)
class SecurityNote:
    """One such event. `reason` may hold what untrusted code wrote."""

    at: float  # wall clock, s since the epoch
    kind: str
    mode: str
    reason: str


@dataclass(frozen=True)
class SecurityView:
    """What the sandbox stopped since it started: all of it counted, the last few told."""

    counts: tuple[SecurityCount, ...] = ()
    recent: tuple[SecurityNote, ...] = ()  # newest first


@dataclass(frozen=True)
class Snapshot:
    schema_version: int
    seq: int
    at: float  # wall clock, s since the epoch
    instances: tuple[InstanceView, ...]
    queue_depth: int
    in_flight: int
    tokens_per_s: float
    modes: tuple[ModeView, ...]
    default_mode: str  # what "auto" resolved to, "" before it did
    containers: int
    runs: tuple[RunView, ...]
    failovers: tuple[FailoverView, ...]  # newest first
    sessions: tuple[SessionView, ...] = ()
    security: SecurityView = SecurityView()
    container_list: tuple[ContainerView, ...] = ()
    runs_total: int = 0  # `runs` holds the first of them
    version: str = ""  # of this package

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types (tuples become lists when encoded)."""
        return asdict(self)


def json_schema() -> dict[str, Any]:
    """JSON Schema of `Snapshot`, from which the front end's types are checked."""
    from pydantic import TypeAdapter

    return TypeAdapter(Snapshot).json_schema()
