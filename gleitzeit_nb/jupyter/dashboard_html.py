"""The dashboard as HTML. Pure: a snapshot in, markup out; the look is in `dashboard.css` beside it.

Every string of the snapshot is cleaned, cut and escaped. Nothing takes focus or scrolls by itself, since the whole is replaced at every
change. States are told by a word and an icon as well as by colour; bars and sparklines stand beside their numbers.
"""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Sequence
from importlib import resources
from typing import Literal

from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.rendering import words
from gleitzeit_nb.rendering.security import SHOWN, kind_word, tally
from gleitzeit_nb.rendering.text import NO_INSTANCE
from gleitzeit_nb.snapshot import FailoverView, InstanceView, ModeView, SecurityNote, SecurityView, SessionView, Snapshot

FAILOVERS_SHOWN = 8
SPARK_WIDTH, SPARK_HEIGHT = 80, 16
_NONE = f'<span class="gz-mut">{words.UNKNOWN}</span>'

Pill = Literal["live", "paused", "stopped"]


@functools.cache
def style() -> str:
    """The style element that `live` needs beside it, once on a page."""
    written = resources.files("gleitzeit_nb.jupyter").joinpath("dashboard.css").read_text(encoding="utf-8")
    return f"<style>{' '.join(re.sub(r'/[*].*?[*]/', '', written, flags=re.DOTALL).split())}</style>"


def live(snapshot: Snapshot, pill: Pill) -> str:
    """The part that is replaced at every change. The page's own script may hold it still by its class `gz-live`."""
    return _section(snapshot, " gz-live", f'<span class="gz-pill gz-{pill}">{pill}</span>')


def static(snapshot: Snapshot) -> str:
    """A picture of one moment, for saved notebooks and for readers without widgets."""
    section = _section(snapshot, "", f'<span class="gz-pill">as of {words.clock_time(snapshot.at)}</span>')
    return f'{style()}<div class="gz-scroll">{section}</div>'


def _section(snapshot: Snapshot, more: str, pill: str) -> str:
    return (
        f'<section class="gz-dash{more}" aria-label="Gleitzeit dashboard">'
        f'<div class="gz-head"><b>Gleitzeit</b><span class="gz-where">{words.summary(snapshot)}</span>{pill}</div>'
        f"{_instances(snapshot.instances)}"
        f'<div class="gz-cols">{_modes(snapshot.modes, snapshot.sessions)}{_failovers(snapshot.failovers)}</div>'
        f"{_security(snapshot.security)}</section>"
    )


def _text(value: str, limit: int = 120) -> str:
    return html.escape(one_line(value, limit))


def _name(value: str) -> str:
    """A name between others: letters that run from right to left do not reorder its neighbours."""
    return f"<bdi>{_text(value, words.NAME_CHARS)}</bdi>"


def _title(value: str) -> str:
    """What is told when the pointer rests there; nothing for nothing."""
    return f' title="{_text(value, 200)}"' if value else ""


def _table(caption: str, heads: Sequence[str], rows: Sequence[str]) -> str:
    """`heads` and `rows` are markup. The div takes the place of the table in the grid: captions are laid out beside their tables."""
    head = f"<thead><tr>{''.join(heads)}</tr></thead>"
    return f"<div><table><caption>{caption}</caption>{head}<tbody>{''.join(rows)}</tbody></table></div>"


def _head(label: str, css: str = "") -> str:
    return f'<th scope="col"{f" class={css}" if css else ""}>{label}</th>'


# -- Ollama instances -----------------------------------------------------------------------------------------------------


def _instances(views: Sequence[InstanceView]) -> str:
    if not views:
        return f'<div class="gz-hint">{_text(NO_INSTANCE, 200)}</div>'
    heads = [_head("Instance"), _head("Tags"), _head("Status"), _head("Load"), _head("Latency", "gz-num"), _head("Errors", "gz-num")]
    heads += [_head("Tokens/s"), _head("Models warm")]
    return _table("Ollama instances", heads, [_instance(view) for view in views])


def _instance(view: InstanceView) -> str:
    status = words.instance_status(view)
    load = _bar(view.in_flight, view.max_concurrent) if words.is_up(view) else _NONE
    return (
        f'<tr><th scope="row"{_title(view.url)}>{_name(view.id)}</th><td class="gz-mut gz-text">{_text(" ".join(view.tags), 80)}</td>'
        f'<td><span class="gz-state gz-{status.state}"{_title(words.trouble(view))}>{status.word}</span></td>'
        f'<td class="gz-load">{load}</td><td class="gz-num">{words.latency(view)}</td><td class="gz-num">{words.errors(view)}</td>'
        f"{_activity(view)}</tr>"
    )


def _activity(view: InstanceView) -> str:
    trouble = words.trouble(view)
    if not words.is_up(view):
        return f'<td colspan="2" class="gz-mut gz-text">{_text(trouble, 200) or words.UNKNOWN}</td>'
    lines = [
        f'<span class="gz-model">{html.escape(name)}</span>{f" <span class=gz-mut>{where}</span>" if where else ""}'
        for name, where in words.warm_models(view)
    ]
    lines += [f'<span class="gz-mut gz-text">{_text(trouble, 200)}</span>'] if trouble else []
    return f"<td>{_spark(view.tokens_per_s)}</td><td>{'<br>'.join(lines)}</td>"


def _bar(used: int, most: int) -> str:
    share = min(100, round(100 * used / most)) if most > 0 else 0
    full = " gz-full" if used >= most > 0 else ""
    return f'<span class="gz-bar{full}"><i><u style="width:{share}%"></u></i>{used}/{most}</span>'


def _spark(rates: Sequence[float]) -> str:
    if len(rates) < 2:
        return _NONE
    top = max(1.0, *rates)
    step, height = SPARK_WIDTH / (len(rates) - 1), SPARK_HEIGHT - 4
    points = " ".join(f"{index * step:.0f},{2 + height * (1 - rate / top):.0f}" for index, rate in enumerate(rates))
    return (
        f'<svg class="gz-spark" width="{SPARK_WIDTH}" height="{SPARK_HEIGHT}" role="img" '
        f'aria-label="tokens per second, last minute: now {rates[-1]:.0f}, at most {max(rates):.0f}"><polyline points="{points}"/></svg>'
    )


# -- Python execution, failovers ----------------------------------------------------------------------------------------------


def _modes(views: Sequence[ModeView], sessions: Sequence[SessionView]) -> str:
    heads = [_head("Mode"), _head("Active", "gz-num"), _head("Queued", "gz-num"), _head("Containers"), _head("Memory", "gz-num")]
    return _table("Python execution", heads, [*map(_mode, views), *map(_session, sessions)])


def _mode(view: ModeView) -> str:
    note = _text(words.mode_note(view), 160)
    name = f'<tr><th scope="row">{_name(view.label)}</th>'
    if not words.is_usable(view):
        unknown = f'<td class="gz-num gz-mut">{words.UNKNOWN}</td>'
        return f'{name}{unknown}{unknown}<td class="gz-mut gz-text" colspan="2">{note}</td></tr>'
    aside = f'<span class="gz-mut gz-text">{note}</span>' if note else ""
    memory = words.memory(view.memory_bytes) if view.containers else words.UNKNOWN
    return (
        f'{name}<td class="gz-num">{view.active}</td><td class="gz-num">{view.queued}</td>'
        f'<td>{_bar(view.containers, view.max_containers)}{aside}</td><td class="gz-num">{memory}</td></tr>'
    )


def _session(view: SessionView) -> str:
    """A row of its own below the modes: variables that are kept."""
    runs = f"{view.runs} {'run' if view.runs == 1 else 'runs'}, {view.state}"
    return (
        f'<tr><th scope="row"{_title(view.container)}>{_name(view.name)}</th><td class="gz-mut gz-text" colspan="3">'
        f'session in {_name(view.mode)}: {_text(runs)}</td><td class="gz-num">{words.memory(view.memory_bytes)}</td></tr>'
    )


def _failovers(views: Sequence[FailoverView]) -> str:
    rows = [_failover(view) for view in views[:FAILOVERS_SHOWN]] or ['<tr><td class="gz-mut" colspan="3">None so far</td></tr>']
    return _table("Recent failovers", [_head("Time"), _head("From → to"), _head("Reason")], rows)


def _failover(view: FailoverView) -> str:
    source, target = _name(view.source), _name(view.target or words.UNKNOWN)
    return (
        f'<tr><td class="gz-mut gz-nowrap"{_title(view.model)}>{words.clock_time(view.at)}</td>'
        f'<td class="gz-text gz-route">{source} → {target}</td><td class="gz-text">{_text(view.reason)}</td></tr>'
    )


# -- what the sandbox stopped -------------------------------------------------------------------------------------------------


def _security(view: SecurityView) -> str:
    """Nothing where nothing was stopped."""
    if not view.counts:
        return ""
    heads = [_head("Time"), _head("What"), _head("Mode"), _head("Why")]
    counted = f'<tr><td class="gz-mut gz-text" colspan="4">{_text(tally(view), 300)}</td></tr>'
    return _table("Security", heads, [*(_note(each) for each in view.recent[:SHOWN]), counted])


def _note(note: SecurityNote) -> str:
    return (
        f'<tr><td class="gz-mut gz-nowrap">{words.clock_time(note.at)}</td><td class="gz-text">{_text(kind_word(note.kind))}</td>'
        f'<td class="gz-text">{_name(note.mode)}</td><td class="gz-text"><bdi>{_text(note.reason, 160)}</bdi></td></tr>'
    )
