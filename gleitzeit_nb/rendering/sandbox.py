"""The sandbox's workers, containers and sessions as text, and what goes on. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from gleitzeit_nb.rendering import words
from gleitzeit_nb.rendering.columns import columns
from gleitzeit_nb.snapshot import ContainerView, CountView, RunView, SessionView, Snapshot


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


def containers_text(views: Sequence[ContainerView]) -> str:
    """ "" when there is none."""
    if not views:
        return ""
    rows = [("Container", "Mode", "State", "Runs", "Memory", "Since", "Session")]
    for view in views:
        size, since = words.memory(view.memory_bytes), words.clock_time(view.made_at)
        rows.append((view.id or words.UNKNOWN, view.mode, view.state, str(view.runs), size, since, view.session or words.UNKNOWN))
    return "Containers\n" + columns(rows, indent="  ")


def runs_text(views: Sequence[RunView]) -> str:
    """ "" when nothing goes on."""
    if not views:
        return ""
    rows = [("ID", "What", "Where", "Since", "State")]
    rows += [(view.id, view.label, view.where or words.UNKNOWN, f"{view.elapsed_s:.0f} s", view.state) for view in views]
    return "Going on\n" + columns(rows, indent="  ")


def _counts(counts: Sequence[CountView]) -> str:
    return ", ".join(f"{each.count} {each.name}" for each in counts) or words.UNKNOWN
