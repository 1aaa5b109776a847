"""Snapshots to draw: the pool of the seeds' mock-up, an empty one, and one whose every string is hostile."""

from __future__ import annotations

from dataclasses import replace

from gleitzeit_nb.snapshot import (
    SCHEMA_VERSION,
    ContainerView,
    CountView,
    FailoverView,
    InstanceView,
    ModeView,
    ProgressView,
    RunView,
    SecurityCount,
    SecurityNote,
    SecurityView,
    SessionView,
    ShareView,
    Snapshot,
    WarmModel,
)

HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)">\x1b[31m\u202e"\'&'


def instance(name: str = "local", **changes: object) -> InstanceView:
    made = InstanceView(
        id=name,
        url="http://127.0.0.1:11434",
        tags=("cpu",),
        state="healthy",
        reason="",
        draining=False,
        breaker="closed",
        retry_in_s=None,
        in_flight=2,
        max_concurrent=5,
        latency_s=0.12,
        error_rate=0.001,
        total_requests=1000,
        failed_requests=1,
        tokens_per_s=(10.0, 12.0, 14.0, 10.0, 16.0, 14.0, 12.0, 16.0, 18.0),
        warm=(WarmModel("llama3.2", 0.0, 0, 2_800_000_000, 1_770_000_240.0),),
        models=("llama3.2",),
        load=(0.4, 0.2, 0.4, 0.6, 0.4, 0.2, 0.0, 0.2, 0.4),
        latencies_s=(0.11, None, 0.12, 0.13, 0.12, None, 0.1, 0.12, 0.12),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def mode(name: str = "docker-sandbox", label: str = "Sandbox", **changes: object) -> ModeView:
    made = ModeView(
        id=name,
        label=label,
        level=3,
        enabled=True,
        available=True,
        active=3,
        queued=1,
        containers=4,
        max_containers=5,
        memory_bytes=212_000_000,
        note="",
        outcomes=(CountView("error", 2), CountView("ok", 40)),
        discards=(CountView("timeout", 1),),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def session(name: str = "work", **changes: object) -> SessionView:
    made = SessionView(name, "docker-sandbox", "idle", 3, 1_770_000_000.0, 24_000_000, 61_000_000, "3f2a9c1d5b7e")
    return replace(made, **changes)  # type: ignore[arg-type]


def container(name: str = "3f2a9c1d5b7e", **changes: object) -> ContainerView:
    made = ContainerView(name, "docker-sandbox", "gleitzeit/sandbox:latest", "running", 61_000_000, 1_769_999_700.0, 3, run="c1")
    return replace(made, **changes)  # type: ignore[arg-type]


def run(name: str = "r1", **changes: object) -> RunView:
    made = RunView(
        name,
        "llm",
        "[12] %%llm",
        "gpu-1",
        "answering on gpu-1, 312 tokens",
        14.0,
        312,
        model="llama3.2:70b",
        tokens_per_s=41.0,
        rates=(38.0, 40.0, 41.0, 42.0, 41.0),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


EMPTY = Snapshot(
    schema_version=SCHEMA_VERSION,
    seq=1,
    at=1_770_000_000.0,
    instances=(),
    queue_depth=0,
    in_flight=0,
    tokens_per_s=0.0,
    modes=(),
    default_mode="",
    containers=0,
    runs=(),
    failovers=(),
)

MOCK_UP = replace(
    EMPTY,
    queue_depth=2,
    in_flight=6,
    tokens_per_s=63.0,
    default_mode="docker-sandbox",
    containers=4,
    instances=(
        instance(),
        instance(
            "gpu-1",
            tags=("gpu", "48 GB"),
            in_flight=3,
            max_concurrent=3,
            latency_s=0.2,
            error_rate=0.0,
            tokens_per_s=(40.0, 42.0, 41.0, 44.0, 46.0, 45.0, 44.0, 47.0, 48.0),
            warm=(
                WarmModel("llama3.2:70b", 1.0, 41_000_000_000, 41_000_000_000, 1_770_000_180.0),
                WarmModel("mixtral", 0.62, 17_000_000_000, 27_400_000_000, 1_770_000_031.0),
            ),
        ),
        instance(
            "gpu-2",
            tags=("gpu", "vision"),
            draining=True,
            in_flight=1,
            max_concurrent=2,
            latency_s=0.18,
            error_rate=0.0,
            tokens_per_s=(30.0, 31.0, 30.0, 25.0, 20.0, 15.0, 15.0, 10.0, 9.0),
            warm=(WarmModel("llava", 1.0),),
        ),
        instance(
            "backup",
            tags=("remote",),
            state="unhealthy",
            reason="refused 5 times",
            breaker="open",
            retry_in_s=14.0,
            in_flight=0,
            latency_s=None,
            error_rate=1.0,
            tokens_per_s=(0.0,) * 9,
            warm=(),
        ),
    ),
    modes=(
        mode(),
        mode("docker-datascience", "Data science", active=1, queued=0, containers=1, max_containers=2, memory_bytes=640_000_000),
        mode("local", "Local", enabled=False, available=None, active=0, queued=0, containers=0, note="disabled"),
    ),
    runs=(
        run(),
        run(
            "j3",
            kind="job",
            label="[job 3] batch",
            where="",
            model="",
            tokens=0,
            tokens_per_s=None,
            rates=(),
            elapsed_s=90.0,
            progress=ProgressView(128, 500, 3, 120.0, (ShareView("local", 0.31), ShareView("gpu-1", 0.52), ShareView("gpu-2", 0.17))),
        ),
    ),
    runs_total=2,
    container_list=(
        container(),
        container("9b1c2d3e4f50", state="idle", memory_bytes=24_000_000, runs=12, run=""),
        container("77aa12bc34de", state="session", session="work", run=""),
    ),
    version="1.0",
    failovers=(
        FailoverView(1_770_000_000.0, "backup", "gpu-1", "no first token in 5 s", "llama3.2:70b"),
        FailoverView(1_769_999_500.0, "gpu-2", "local", "refused", "llava"),
    ),
)


def hostile() -> Snapshot:
    bad = instance(HOSTILE, url=HOSTILE, tags=(HOSTILE,), warm=(WarmModel(HOSTILE, 0.5),), models=(HOSTILE,))
    down = instance(HOSTILE + "2", state=HOSTILE, reason=HOSTILE, breaker="open", retry_in_s=3.0)
    return replace(
        MOCK_UP,
        instances=(bad, down),
        runs=(
            run(HOSTILE, label=HOSTILE, where=HOSTILE, state=HOSTILE, model=HOSTILE, container=HOSTILE),
            run(HOSTILE, kind=HOSTILE, progress=ProgressView(1, 2, 1, 3.0, (ShareView(HOSTILE, 0.5),))),
        ),
        container_list=(container(HOSTILE, mode=HOSTILE, image=HOSTILE, state=HOSTILE, session=HOSTILE, run=HOSTILE),),
        version=HOSTILE,
        sessions=(session(HOSTILE, mode=HOSTILE, container=HOSTILE),),
        security=SecurityView((SecurityCount(HOSTILE, HOSTILE, 3),), (SecurityNote(1_770_000_000.0, HOSTILE, HOSTILE, HOSTILE),)),
        modes=(mode(HOSTILE, HOSTILE, note=HOSTILE), mode("x", HOSTILE, enabled=False, note=HOSTILE)),
        failovers=(FailoverView(1_770_000_000.0, HOSTILE, HOSTILE, HOSTILE, HOSTILE),),
    )


def large(count: int = 100) -> Snapshot:
    rates = tuple(float(number % 17) for number in range(30))
    shares = tuple(number % 6 / 5 for number in range(30))
    latencies = tuple(None if number % 9 == 4 else 0.1 + number % 4 / 20 for number in range(30))
    views = (instance(f"gpu-{number}", tokens_per_s=rates, load=shares, latencies_s=latencies) for number in range(count))
    return replace(MOCK_UP, instances=tuple(views))
