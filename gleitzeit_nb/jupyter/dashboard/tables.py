"""The dashboard's tables, as markup. Pure; rows are made anew only for what changed."""

from __future__ import annotations

import functools
import html
from collections.abc import Sequence

from gleitzeit_nb.jupyter.dashboard.parts import (
    FEW_POINTS,
    NONE,
    POINTS,
    SMALL,
    bar,
    head,
    moment,
    muted,
    name,
    number,
    row_head,
    spark,
    table,
    text,
    title,
)
from gleitzeit_nb.rendering import words
from gleitzeit_nb.rendering.security import SHOWN, kind_word, tally
from gleitzeit_nb.rendering.text import CONTAINERS_SHOWN, FAILOVERS_SHOWN, NO_INSTANCE, RUNS_SHOWN
from gleitzeit_nb.snapshot import (
    ContainerView,
    FailoverView,
    InstanceView,
    ModeView,
    ProgressView,
    RunView,
    SecurityNote,
    SecurityView,
    SessionView,
    Snapshot,
)

ROWS_KEPT = 512  # that were drawn before: an instance that does nothing is not drawn again


# -- Ollama instances -----------------------------------------------------------------------------------------------------


def instances(views: Sequence[InstanceView], *, caption: str = "Ollama instances", many: bool = False) -> str:
    """`many`: of a very long table, whose columns have one width on all its pages and whose lines have fewer points."""
    if not views:
        return f'<div class="gz-hint">{text(NO_INSTANCE, 200)}</div>'
    heads = [head("Instance"), head("Tags"), head("Status"), head("Load"), head("Latency", "gz-num"), head("Errors", "gz-num")]
    heads += [head("Tokens/s"), head("Models warm")]
    rows = [_instance(view, FEW_POINTS if many else POINTS) for view in views]
    return table(caption, heads, rows, f"gz-instances{' gz-many' if many else ''}", fixed=many)


@functools.lru_cache(ROWS_KEPT)
def _instance(view: InstanceView, points: int) -> str:
    status = words.instance_status(view)
    load, line = NONE, ""
    if words.is_up(view):
        load = bar(view.in_flight, view.max_concurrent)
        load += spark(view.load, f"load of {_said(view)}", words.share, 1.0, width=SMALL, points=points)
        line = spark(view.latencies_s, f"latency of {_said(view)}", words.seconds, width=SMALL, points=points)
    latency = words.latency(view) + (line or '<span class="gz-gap"></span>')  # so that the numbers stand below each other
    return (
        f"<tr>{row_head(name(view.id), view.url)}{muted(' '.join(view.tags), limit=80)}"
        f'<td><span class="gz-state gz-{status.state}"{title(words.trouble(view))}>{status.word}</span></td>'
        f'<td class="gz-load">{load}</td><td class="gz-num">{latency}</td><td class="gz-num">{words.errors(view)}</td>'
        f"{_activity(view, points)}</tr>"
    )


def _said(view: InstanceView) -> str:
    return text(view.id, words.NAME_CHARS)


def _activity(view: InstanceView, points: int) -> str:
    trouble = words.trouble(view)
    if not words.is_up(view):
        return f'<td colspan="2" class="gz-mut gz-text">{text(trouble, 200) or words.UNKNOWN}</td>'
    lines = [
        f'<span class="gz-model">{html.escape(model)}</span>{f" <span class=gz-mut>{where}</span>" if where else ""}'
        for model, where in words.warm_models(view)
    ]
    lines += [f'<span class="gz-mut gz-text">{text(trouble, 200)}</span>'] if trouble else []
    rates = spark(view.tokens_per_s, f"tokens per second of {_said(view)}", words.rate, points=points)
    return f"<td>{rates or NONE}</td><td>{'<br>'.join(lines)}</td>"


# -- running --------------------------------------------------------------------------------------------------------------


def running(snapshot: Snapshot) -> str:
    """Nothing where nothing goes on."""
    if not snapshot.runs:
        return ""
    heads = [head("Cell or job"), head("Model, where"), head("State"), head("Time", "gz-num"), head("Tokens", "gz-num"), head("Tokens/s")]
    rows = [_run(view) for view in snapshot.runs[:RUNS_SHOWN]]
    more = max(snapshot.runs_total, len(snapshot.runs)) - len(rows)
    rows += [f"<tr>{muted(f'and {more} more', columns=len(heads))}</tr>"] if more > 0 else []
    return table("Running", heads, rows)


def _run(view: RunView) -> str:
    where = " on ".join(filter(None, (view.model, view.where)))
    state = words.progress(view.progress) if view.progress is not None else view.state
    told = _shares(view.progress) if view.progress is not None else ""
    rate = "" if view.tokens_per_s is None else words.rate(view.tokens_per_s)
    line = spark(view.rates, f"tokens per second of {text(view.label, words.NAME_CHARS)}", words.rate)
    return (
        f"<tr>{row_head(f'<bdi class=gz-model>{text(view.label or view.kind, words.NAME_CHARS)}</bdi>')}"
        f'<td class="gz-text">{name(where)}</td>'
        f'<td class="gz-mut gz-text"{title(told)}>{text(state)}</td>{number(words.whole_seconds(view.elapsed_s))}'
        f"{number(str(view.tokens) if view.tokens else words.UNKNOWN)}<td>{line}{f' {rate}' if rate else ''}</td></tr>"
    )


def _shares(progress: ProgressView) -> str:
    return ", ".join(f"{each.name} {words.share(each.share)}" for each in progress.shares)


# -- Python execution -----------------------------------------------------------------------------------------------------


def modes(views: Sequence[ModeView]) -> str:
    heads = [head("Mode"), head("Active", "gz-num"), head("Queued", "gz-num"), head("Containers"), head("Memory", "gz-num")]
    return table("Python execution", heads, [_mode(view) for view in views])


@functools.lru_cache(ROWS_KEPT)
def _mode(view: ModeView) -> str:
    note = text(words.mode_note(view), 160)
    start = f"<tr>{row_head(name(view.label))}"
    if not words.is_usable(view):
        return f'{start}{number(words.UNKNOWN) * 2}<td class="gz-mut gz-text" colspan="2">{note}</td></tr>'
    aside = f'<span class="gz-mut gz-text">{note}</span>' if note else ""
    memory = words.memory(view.memory_bytes) if view.containers else words.UNKNOWN
    return (
        f'{start}<td class="gz-num">{view.active}</td><td class="gz-num">{view.queued}</td>'
        f"<td>{bar(view.containers, view.max_containers)}{aside}</td>{number(memory)}</tr>"
    )


def containers(snapshot: Snapshot) -> str:
    """Each with its memory; nothing where there is none."""
    views = snapshot.container_list
    if not views:
        return ""
    labels = {view.id: view.label for view in snapshot.modes}
    heads = [head("Container"), head("Mode"), head("State"), head("Age", "gz-num"), head("Runs", "gz-num"), head("Memory", "gz-num")]
    rows = [_container(view, labels.get(view.mode, view.mode), snapshot.at) for view in views[:CONTAINERS_SHOWN]]
    more = len(views) - len(rows)
    rows += [f"<tr>{muted(f'and {more} more', columns=len(heads))}</tr>"] if more > 0 else []
    return table("Containers", heads, rows)


def _container(view: ContainerView, mode: str, now: float) -> str:
    state = f"session {view.session}" if view.session else view.state
    return (
        f"<tr>{row_head(f'<bdi class=gz-model>{text(view.id[:12] or words.UNKNOWN, 12)}</bdi>', view.image)}"
        f'<td class="gz-text">{name(mode)}</td>{muted(state, limit=words.NAME_CHARS)}{number(words.whole_seconds(now - view.made_at))}'
        f"{number(str(view.runs))}{number(words.memory(view.memory_bytes))}</tr>"
    )


def sessions(snapshot: Snapshot) -> str:
    """Variables that are kept; nothing where there are none."""
    views = snapshot.sessions
    if not views:
        return ""
    labels = {view.id: view.label for view in snapshot.modes}
    heads = [head("Session"), head("Mode"), head("State"), head("Runs", "gz-num"), head("Last run", "gz-num"), head("Memory", "gz-num")]
    return table("Sandbox sessions", heads, [_session(view, labels.get(view.mode, view.mode)) for view in views])


def _session(view: SessionView, mode: str) -> str:
    return (
        f'<tr>{row_head(name(view.name), view.container)}<td class="gz-text">{name(mode)}</td>{muted(view.state)}'
        f"{number(str(view.runs))}{number(words.clock_time(view.used_at))}{number(words.memory(view.memory_bytes))}</tr>"
    )


# -- what happened --------------------------------------------------------------------------------------------------------


def failovers(views: Sequence[FailoverView]) -> str:
    rows = [_failover(view) for view in views[:FAILOVERS_SHOWN]] or ['<tr><td class="gz-mut" colspan="3">None so far</td></tr>']
    return table("Recent failovers", [head("Time"), head("From → to"), head("Reason")], rows)


def _failover(view: FailoverView) -> str:
    route = f"{name(view.source)} → {name(view.target or words.UNKNOWN)}"
    return (
        f'<tr>{moment(view.at, view.model)}<th scope="row" class="gz-text gz-route">{route}</th>'
        f'<td class="gz-text">{text(view.reason)}</td></tr>'
    )


def security(view: SecurityView) -> str:
    """What the sandbox stopped; nothing where nothing was."""
    if not view.counts:
        return ""
    heads = [head("Time"), head("What"), head("Mode"), head("Why")]
    counted = f"<tr>{muted(tally(view), columns=4, limit=300)}</tr>"
    return table("Security events", heads, [*(_note(each) for each in view.recent[:SHOWN]), counted])


def _note(note: SecurityNote) -> str:
    return (
        f'<tr>{moment(note.at)}<th scope="row" class="gz-text gz-route">{text(kind_word(note.kind))}</th>'
        f'<td class="gz-text">{name(note.mode)}</td><td class="gz-text"><bdi>{text(note.reason, 160)}</bdi></td></tr>'
    )
