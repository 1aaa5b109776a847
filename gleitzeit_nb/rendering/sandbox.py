"""The sandbox's workers and sessions as text. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from gleitzeit_nb.rendering import words
from gleitzeit_nb.rendering.columns import columns
from gleitzeit_nb.snapshot import CountView, SessionView, Snapshot


def sessions_text(views: Sequence[SessionView]) -> str:
    """ "" when there is none."""
    if not views:
        return ""
    rows = [("Session", "Mode", "State", "Runs", "Memory", "Most", "Last run")]
    for view in views:
        sizes = (words.memory(view.memory_bytes), words.memory(view.peak_bytes))
        rows.append((view.name, view.mode, view.state, str(view.runs), *sizes, words.clock_time(view.used_at)))
    return "Sessions\n" + columns(rows, indent="  ")


def workers_text(snapshot: Snapshot) -> str:
    """Per mode what is there, how runs ended, and why workers were given up."""
    rows = [("Mode", "Running", "Queued", "Workers", "Runs", "Given up")]
    for view in snapshot.modes:
        held = f"{view.containers}/{view.max_containers}"
        rows.append((view.id, str(view.active), str(view.queued), held, _counts(view.outcomes), _counts(view.discards)))
    return "Workers\n" + columns(rows, indent="  ")


def _counts(counts: Sequence[CountView]) -> str:
    return ", ".join(f"{each.count} {each.name}" for each in counts) or words.UNKNOWN
