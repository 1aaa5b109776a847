"""The dashboard as HTML. Pure: a snapshot in, markup out; the look is in `dashboard.css` beside it.

Every string of the snapshot is cleaned, cut and escaped. Nothing takes focus or scrolls by itself, since what changed is replaced as a
whole. States are told by a word and an icon as well as by colour; bars and sparklines stand beside their numbers.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources
from typing import Literal

from gleitzeit_nb.jupyter.dashboard import tables
from gleitzeit_nb.rendering import words
from gleitzeit_nb.snapshot import InstanceView, Snapshot

ONE_PIECE = 12  # instances: up to so many, the picture is one piece
PAGE = 10  # instances in a piece of a larger one

Pill = Literal["live", "paused", "stopped"]


@dataclass(frozen=True)
class Piece:
    """A part of the picture that is replaced as a whole. `of`: what it shows; two pieces of the same are equal."""

    of: object
    draw: Callable[[], str] = field(compare=False)


@functools.cache
def style() -> str:
    """The style element that `live` needs beside it, once on a page."""
    written = resources.files("gleitzeit_nb.jupyter.dashboard").joinpath("dashboard.css").read_text(encoding="utf-8")
    return f"<style>{' '.join(re.sub(r'/[*].*?[*]/', '', written, flags=re.DOTALL).split())}</style>"


def live(snapshot: Snapshot, pill: Pill) -> tuple[Piece, ...]:
    """The pieces that are replaced when they change, from top to bottom. The page's own script may hold each still by its class `gz-live`.

    A large pool is drawn in pages, so that what changes in one does not send, or draw, the others again.
    """
    shown = f'<span class="gz-pill gz-{pill}">{pill}</span>'
    count = len(snapshot.instances)
    if count <= ONE_PIECE:
        return (_drawn(_section("", " gz-live", f"{_head(snapshot, shown)}{tables.instances(snapshot.instances)}{_rest(snapshot)}")),)
    pages = [_page(snapshot.instances[first : first + PAGE], first, count) for first in range(0, count, PAGE)]
    rest = _section(", the sandbox and events", f"{_PIECE} gz-last", _rest(snapshot))
    return (_drawn(_section("", _PIECE, _head(snapshot, shown))), *pages, _drawn(rest))


def _drawn(markup: str) -> Piece:
    return Piece(markup, lambda: markup)


def _page(views: tuple[InstanceView, ...], first: int, count: int) -> Piece:
    which = f"{first + 1} to {first + len(views)} of {count}"
    joined = f"{_PIECE} gz-next" if first else _PIECE

    def draw() -> str:
        return _section(f", instances {which}", joined, tables.instances(views, caption=f"Ollama instances {which}", many=True))

    return Piece((views, which), draw)


def static(snapshot: Snapshot) -> str:
    """A picture of one moment, for saved notebooks and for readers without widgets."""
    shown = f'<span class="gz-pill">as of {words.clock_time(snapshot.at)}</span>'
    many = len(snapshot.instances) > ONE_PIECE
    inside = f"{_head(snapshot, shown)}{tables.instances(snapshot.instances, many=many)}{_rest(snapshot)}"
    return f'{style()}<div class="gz-scroll">{_section("", "", inside)}</div>'


_PIECE = " gz-live gz-piece"


def _section(which: str, more: str, inside: str) -> str:
    return f'<section class="gz-dash{more}" aria-label="Gleitzeit dashboard{which}">{inside}</section>'


def _head(snapshot: Snapshot, pill: str) -> str:
    return f'<div class="gz-head"><b>Gleitzeit</b><span class="gz-where">{words.summary(snapshot)}</span>{pill}</div>'


def _rest(snapshot: Snapshot) -> str:
    pairs = [(tables.modes(snapshot.modes), tables.failovers(snapshot.failovers))]
    pairs.append((tables.containers(snapshot), tables.sessions(snapshot)))
    beside = "".join(_beside(*pair) for pair in pairs)
    return f"{tables.running(snapshot)}{beside}{tables.security(snapshot.security)}"


def _beside(left: str, right: str) -> str:
    """Two tables, or the one that there is."""
    return f'<div class="gz-cols">{left}{right}</div>' if left and right else left or right
