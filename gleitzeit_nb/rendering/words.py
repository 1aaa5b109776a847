"""What a snapshot says, in words and numbers, for every way of drawing it. Pure; unknown is shown as unknown, never as zero.

The words are those of the side panel (`labextension/src/format.ts`).
"""

from __future__ import annotations

import time
from typing import Literal, NamedTuple

from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.snapshot import FailoverView, InstanceView, ModeView, ProgressView, Snapshot

UNKNOWN = "–"
NAME_CHARS = 60
WARM_SHOWN = 6
_THIN = "\u00a0"  # between a number and its unit: they never part at a line's end

State = Literal["ok", "degraded", "probing", "draining", "failed", "unknown"]


class Status(NamedTuple):
    state: State
    word: str


_HEALTH = {"healthy": Status("ok", "OK"), "degraded": Status("degraded", "Degraded"), "unhealthy": Status("failed", "Failed")}


def instance_status(view: InstanceView) -> Status:
    """What a person did (drain) comes first, then what the breaker knows, then health."""
    if view.draining:
        return Status("draining", "Draining")
    if view.breaker == "open":
        return Status("failed", "Failed")
    if view.breaker == "half_open":
        return Status("probing", "Probing")
    return _HEALTH.get(view.state, Status("unknown", "Unknown"))


def is_up(view: InstanceView) -> bool:
    """It answers, also while a person drains it."""
    return view.state in ("healthy", "degraded") and view.breaker != "open"


def trouble(view: InstanceView) -> str:
    """One line on why an instance is not well, and when it is tried again; "" when it is well."""
    parts = [one_line(view.reason)] if view.reason else []
    if view.retry_in_s is not None and view.breaker == "open":
        parts.append(f"next probe in {whole_seconds(view.retry_in_s)}" if view.retry_in_s >= 0.5 else "next probe due")
    return ", ".join(parts)


def tally(snapshot: Snapshot) -> str:
    """The first line of every text: "Pool: 3 up, 1 down"."""
    up = sum(map(is_up, snapshot.instances))
    unknown = sum(instance_status(view).state == "unknown" for view in snapshot.instances)
    down = len(snapshot.instances) - up - unknown
    parts = [f"{up} up", *([f"{down} down"] if down else []), *([f"{unknown} unknown"] if unknown else [])]
    return "Pool: " + (", ".join(parts) if snapshot.instances else "no instance")


def summary(snapshot: Snapshot) -> str:
    up, total = sum(map(is_up, snapshot.instances)), len(snapshot.instances)
    return " · ".join([f"{up} of {total} {'instance' if total == 1 else 'instances'} up", traffic(snapshot)])


def traffic(snapshot: Snapshot) -> str:
    queued = f", {snapshot.queue_depth} queued" if snapshot.queue_depth else ""
    containers = f"{snapshot.containers} {'container' if snapshot.containers == 1 else 'containers'}"
    return f"{snapshot.in_flight} in flight{queued} · {snapshot.tokens_per_s:.0f} tok/s · sandbox {containers}"


def latency(view: InstanceView) -> str:
    """The median of the recent answers."""
    return seconds(view.latency_s)


def seconds(count: float | None) -> str:
    """A duration, as exact as it matters."""
    if count is None:
        return UNKNOWN
    if count < 0.9995:
        return f"{max(count, 0) * 1000:.0f}{_THIN}ms"
    return f"{count:.1f}{_THIN}s" if count < 9.95 else whole_seconds(count)


def whole_seconds(seconds: float) -> str:
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole}{_THIN}s"
    return f"{whole / 60:.0f}{_THIN}min" if whole < 7200 else f"{whole / 3600:.0f}{_THIN}h"


def errors(view: InstanceView) -> str:
    """The share of recent requests that failed."""
    if view.error_rate is None:
        return UNKNOWN
    return f"{view.error_rate * 100:.{0 if view.error_rate == 1 else 1}f}{_THIN}%"


def share(fraction: float) -> str:
    return f"{fraction * 100:.0f}{_THIN}%"


def rate(per_second: float) -> str:
    """Of tokens; the unit stands elsewhere."""
    return f"{per_second:.1f}" if 0 < per_second < 9.95 else f"{per_second:.0f}"


def progress(view: ProgressView) -> str:
    """How far a job of many items is: "128 of 500, 3 failed, 2 min left"."""
    parts = [f"{view.done} of {view.total}" if view.total is not None else f"{view.done} done"]
    parts += [f"{view.failed} failed"] if view.failed else []
    parts += [f"{whole_seconds(view.eta_s)} left"] if view.eta_s is not None else []
    return ", ".join(parts)


def load(view: InstanceView) -> str:
    return f"{view.in_flight}/{view.max_concurrent}"


def memory(size_bytes: int | None) -> str:
    """In powers of ten, as the side panel and Ollama show sizes."""
    if size_bytes is None:
        return UNKNOWN
    value, unit = float(size_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.{1 if value < 9.95 and unit != 'B' else 0}f}{_THIN}{unit}"


def warm_models(view: InstanceView) -> list[tuple[str, str]]:
    """(name, where it lies) of the loaded models; of very many the first, and how many more."""
    shown = [(one_line(model.name, NAME_CHARS), placement(model.gpu_share)) for model in view.warm[:WARM_SHOWN]]
    hidden = len(view.warm) - WARM_SHOWN
    return [*shown, (f"{hidden} more", "")] if hidden > 0 else shown


def placement(gpu_share: float | None) -> str:
    if gpu_share is None:
        return ""
    return "CPU" if gpu_share <= 0 else f"GPU{_THIN}{gpu_share * 100:.0f}{_THIN}%"


def is_usable(view: ModeView) -> bool:
    """Its counts mean something. A mode that was not tried yet may well work."""
    return view.enabled and view.available is not False


def mode_note(view: ModeView) -> str:
    """Why a mode cannot be used, or what is weaker about it; "" when there is nothing to say."""
    if is_usable(view):
        return one_line(view.note)
    return one_line(view.note or ("not available" if view.enabled else "disabled"))


def route(view: FailoverView) -> tuple[str, str]:
    return one_line(view.source, NAME_CHARS), one_line(view.target, NAME_CHARS) or UNKNOWN


def clock_time(at: float) -> str:
    """Time of day where the kernel is."""
    return time.strftime("%H:%M:%S", time.localtime(at))
