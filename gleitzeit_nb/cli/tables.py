"""A snapshot as plain text: the dashboard's three tables."""

from __future__ import annotations

import time
from collections.abc import Sequence

from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.snapshot import FailoverView, InstanceView, ModeView, Snapshot

UNKNOWN = "–"
_SIGNS = {"healthy": "●", "degraded": "◐", "unhealthy": "○", "unknown": "?"}
_BAR_WIDTH = 8


def snapshot_text(snapshot: Snapshot) -> str:
    """The instances, the modes, and the failovers where there were some."""
    healthy = sum(each.state in ("healthy", "degraded") for each in snapshot.instances)
    parts = [
        f"Ollama instances ({healthy} of {len(snapshot.instances)} answer, {snapshot.in_flight} in flight, {snapshot.queue_depth} waiting)",
        _table(["Instance", "Status", "Load", "Latency", "Errors", "Warm", "Address"], [_instance(each) for each in snapshot.instances])
        or "  none: configure one (see docs/configuration.md), or start one with `gleitzeit-nb embedded serve`",
        "",
        f"Python execution (default: {snapshot.default_mode or 'not settled yet'})",
        _table(["Mode", "Active", "Queued", "Containers", "Note"], [_mode(each) for each in snapshot.modes]),
    ]
    if snapshot.failovers:
        rows = [_failover(each) for each in snapshot.failovers]
        parts += ["", "Recent failovers", _table(["Time", "From", "To", "Reason"], rows)]
    return "\n".join(parts)


def _instance(view: InstanceView) -> list[str]:
    state = "draining" if view.draining else view.state
    reason = f" ({one_line(view.reason, 50)})" if view.reason else ""
    return [
        view.id,
        f"{_SIGNS.get(view.state, '?')} {state}{reason}",
        _load(view),
        UNKNOWN if view.latency_s is None else f"{view.latency_s * 1000:.0f} ms",
        UNKNOWN if view.error_rate is None else f"{view.error_rate:.1%}",
        one_line(", ".join(model.name for model in view.warm), 40) or UNKNOWN,
        view.url,
    ]


def _load(view: InstanceView) -> str:
    share = min(1.0, view.in_flight / view.max_concurrent) if view.max_concurrent else 0.0
    filled = round(share * _BAR_WIDTH)
    return f"{'█' * filled}{'░' * (_BAR_WIDTH - filled)} {view.in_flight}/{view.max_concurrent}"


def _mode(view: ModeView) -> list[str]:
    containers = f"{view.containers}/{view.max_containers}" if view.enabled else UNKNOWN
    return [view.id, str(view.active), str(view.queued), containers, one_line(view.note, 80)]


def _failover(view: FailoverView) -> list[str]:
    at = time.strftime("%H:%M:%S", time.localtime(view.at))
    return [at, view.source, view.target or UNKNOWN, one_line(view.reason, 60)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns, two spaces apart; "" without rows."""
    if not rows:
        return ""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [[*head], ["─" * width for width in widths], *rows]
    return "\n".join("  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)
