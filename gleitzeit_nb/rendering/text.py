"""A snapshot as text, for terminals and for readers without HTML; and what the doctor found. Pure.

Every name comes from elsewhere and is cleaned: nothing in it acts on a terminal.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gleitzeit_nb.core.plain import clean, one_line
from gleitzeit_nb.rendering import words
from gleitzeit_nb.rendering.columns import CELL_CHARS, columns
from gleitzeit_nb.rendering.sandbox import sessions_text
from gleitzeit_nb.rendering.security import security_text
from gleitzeit_nb.snapshot import FailoverView, InstanceView, ModeView, Snapshot

if TYPE_CHECKING:
    from gleitzeit_nb.doctor import Finding

FAILOVERS_SHOWN = 8
RUNS_SHOWN = 8
CONTAINERS_SHOWN = 12
NO_INSTANCE = "No instance is known. Start one with `ollama serve` or `gleitzeit-nb embedded serve`, or list yours in the configuration."
_MARKS = {"ok": "ok     ", "warn": "warning", "missing": "missing"}


def status_text(snapshot: Snapshot) -> str:
    """The whole snapshot: a line that counts, then the tables of the dashboard."""
    head = f"{words.tally(snapshot)}\n{words.traffic(snapshot)}"
    parts = [head, _instances(snapshot.instances), _running(snapshot), _modes(snapshot), _containers(snapshot)]
    parts += [sessions_text(snapshot.sessions)]
    parts += [security_text(snapshot.security), _failovers(snapshot.failovers)]
    return "\n\n".join(part for part in parts if part).replace("\u00a0", " ")


def _instances(views: Sequence[InstanceView]) -> str:
    if not views:
        return NO_INSTANCE
    rows = [("Instance", "Status", "Load", "Latency", "Errors", "Models warm", "Address")]
    for view in views:
        warm = ", ".join(" ".join(filter(None, model)) for model in words.warm_models(view))
        state = words.instance_status(view).word
        shown = (words.load(view), words.latency(view), words.errors(view), warm or words.UNKNOWN)
        rows.append((view.id, state, *shown, view.url))
    notes = [(view.id, words.trouble(view)) for view in views if words.trouble(view)]
    told = "".join(f"\n  {one_line(name, CELL_CHARS)}: {note}" for name, note in notes)
    return "Ollama instances\n" + columns(rows, indent="  ") + told


def _running(snapshot: Snapshot) -> str:
    if not snapshot.runs:
        return ""
    rows = [("Cell or job", "Model, where", "State", "Time", "Tokens")]
    for view in snapshot.runs[:RUNS_SHOWN]:
        state = words.progress(view.progress) if view.progress is not None else view.state
        where = " on ".join(filter(None, (view.model, view.where)))
        rows.append((view.label or view.kind, where, state, words.whole_seconds(view.elapsed_s), str(view.tokens or words.UNKNOWN)))
    more = max(snapshot.runs_total, len(snapshot.runs)) - RUNS_SHOWN
    return "Running\n" + columns(rows, indent="  ") + (f"\n  and {more} more" if more > 0 else "")


def _containers(snapshot: Snapshot) -> str:
    views = snapshot.container_list
    if not views:
        return ""
    rows = [("Container", "Mode", "State", "Age", "Runs", "Memory")]
    for view in views[:CONTAINERS_SHOWN]:
        state = f"session {view.session}" if view.session else view.state
        age, held = words.whole_seconds(snapshot.at - view.made_at), words.memory(view.memory_bytes)
        rows.append((view.id[:12] or words.UNKNOWN, view.mode, state, age, str(view.runs), held))
    more = len(views) - CONTAINERS_SHOWN
    return "Containers\n" + columns(rows, indent="  ") + (f"\n  and {more} more" if more > 0 else "")


def _modes(snapshot: Snapshot) -> str:
    if not snapshot.modes:
        return ""
    rows: list[tuple[str, ...]] = [("Mode", "Active", "Queued", "Containers", "Memory", "")]
    for view in snapshot.modes:
        counts: tuple[str, ...] = (words.UNKNOWN,) * 4
        if words.is_usable(view):
            held = f"{view.containers}/{view.max_containers}"
            counts = (str(view.active), str(view.queued), held, _memory(view))
        default = " (default)" if view.id == snapshot.default_mode else ""
        rows.append((f"{one_line(view.label, 36)}{default}", *counts, words.mode_note(view)))
    return "Python execution\n" + columns(rows, indent="  ")


def _memory(view: ModeView) -> str:
    return words.memory(view.memory_bytes) if view.containers else words.UNKNOWN


def _failovers(views: Sequence[FailoverView]) -> str:
    if not views:
        return ""
    rows = [("Time", "From", "To", "Reason")]
    rows += [(words.clock_time(view.at), *words.route(view), view.reason) for view in views[:FAILOVERS_SHOWN]]
    return "Recent failovers\n" + columns(rows, indent="  ")


def findings_text(findings: Sequence[Finding]) -> str:
    """One finding after the other: its level as a word, its name, and its text, which may have several lines."""
    width = max((len(one_line(each.name)) for each in findings), default=0)
    lines = []
    for each in findings:
        first, *rest = clean(each.text).split("\n")
        lines.append(f"{_MARKS.get(each.level, each.level)}  {one_line(each.name):<{width}}  {first}".rstrip())
        lines += textwrap.indent("\n".join(rest), " " * (11 + width)).split("\n") if rest else []
    return "\n".join(lines)
