"""The widgets that a dashboard consists of. Imported when one is first shown: ipywidgets is no part of loading the extension.

Nothing here decides: it shows markup, and hands on what was clicked. Text goes into HTML widgets, escaped: a Label typesets formulas.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets

from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.jupyter.dashboard import markup
from gleitzeit_nb.jupyter.dashboard.markup import Piece
from gleitzeit_nb.rendering.words import NAME_CHARS

ENVELOPE_BYTES = 1000
_FLUSH = {"margin": "0", "overflow": "visible", "flex": "0 0 auto"}
LATE = "While a cell runs, this may wait for its end; the Gleitzeit side panel does not."


class DashboardWidgets:
    """The picture and its controls, in one box."""

    def __init__(self, on_pause: Callable[[bool], None], on_steer: Callable[[str, str], None]) -> None:
        self._on_pause = on_pause
        self._on_steer = on_steer
        style = ipywidgets.HTML(markup.style(), layout={"display": "none"})
        # The pieces' own box scrolls, since it stays when they are replaced.
        self._pieces: list[Any] = []
        self._picture = ipywidgets.VBox(layout={"margin": "0", "overflow": "auto", "max_width": "1062px"})
        self._shows: list[object] = []  # by piece: what was last drawn of it
        self._shown_at: list[int] = []  # and the turn in which that was
        self._turn = 0
        self._controls = self._make_controls()
        row = ipywidgets.HBox(self._controls, layout={"flex_flow": "row wrap", "align_items": "center", "margin": "4px 0 0"})
        self._box = ipywidgets.VBox([style, self._picture, row])
        self._answer_where_asked()

    def _make_controls(self) -> list[Any]:
        small = {"width": "auto"}
        self._pause = ipywidgets.ToggleButton(description="Pause", tooltip=f"Hold the picture still. {LATE}", layout=small)
        self._which = ipywidgets.Dropdown(description="Instance", layout={"width": "260px"}, style={"description_width": "auto"})
        self._drain = ipywidgets.Button(description="Drain", tooltip=f"Give the chosen instance nothing new. {LATE}", layout=small)
        self._resume = ipywidgets.Button(description="Resume", tooltip=f"Give the chosen instance work again. {LATE}", layout=small)
        self._said = ipywidgets.HTML()
        self._pause.observe(lambda change: self._on_pause(bool(change["new"])), names="value")
        self._drain.on_click(lambda _: self._clicked("drain"))
        self._resume.on_click(lambda _: self._clicked("resume"))
        return [self._pause, self._which, self._drain, self._resume, self._said]

    @property
    def model_id(self) -> str:
        return str(self._box.model_id)

    def show(self, pieces: Sequence[Piece], most_bytes: float = float("inf")) -> int:
        """Replace the pieces that changed, and say how many bytes that took.

        Where they take more than `most_bytes`, the first goes, and the one that has waited longest, and others while there is room; the
        rest waits for the next call, and is not drawn before. A piece is taken to be about as large as it was.
        """
        self._have(len(pieces))
        sent = others = 0
        self._turn += 1
        changed = [index for index, piece in enumerate(pieces) if piece.of != self._shows[index]]
        for index in sorted(changed, key=lambda each: (each > 0, self._shown_at[each])):
            shown = self._pieces[index]
            if others and sent + len(shown.value) + ENVELOPE_BYTES > most_bytes:
                break
            drawn = pieces[index].draw()
            if shown.value != drawn:
                shown.value = drawn
                sent += len(drawn) + ENVELOPE_BYTES
                others += index > 0
            self._shows[index], self._shown_at[index] = pieces[index].of, self._turn
        return sent

    def lags(self, pieces: Sequence[Piece]) -> bool:
        """Whether some of them are not shown yet."""
        return self._shows != [piece.of for piece in pieces]

    @property
    def shown(self) -> tuple[str, ...]:
        return tuple(piece.value for piece in self._pieces)

    def _have(self, count: int) -> None:
        """So many pieces. Those that are there stay, with their scroll and selection."""
        if len(self._pieces) != count:
            self._pieces = self._pieces[:count] + [ipywidgets.HTML(layout=_FLUSH) for _ in range(count - len(self._pieces))]
            for gone in self._picture.children[count:]:
                gone.close()
            self._shows = self._shows[:count] + [None] * (count - len(self._shows))
            self._shown_at = self._shown_at[:count] + [0] * (count - len(self._shown_at))
            self._picture.children = self._pieces
            self._answer_where_asked()

    def offer(self, ids: Sequence[str]) -> None:
        """The instances to choose from; what was chosen stays chosen."""
        chosen = self._which.value
        with self._which.hold_sync():
            self._which.options = [(one_line(each, NAME_CHARS), each) for each in ids]
            self._which.value = chosen if chosen in ids else next(iter(ids), None)
        self._drain.disabled = self._resume.disabled = not ids
        self._answer_where_asked()

    def say(self, text: str) -> None:
        """What became of a click."""
        self._said.value = html.escape(one_line(text))

    def disable(self) -> None:
        for each in (self._pause, self._which, self._drain, self._resume):
            each.disabled = True

    def close(self) -> None:
        _close(self._box)

    def _clicked(self, command: str) -> None:
        if self._which.value is not None:
            self._on_steer(command, self._which.value)

    def _answer_where_asked(self) -> None:
        """Let a front end's messages be handled on its own subshell, so that clicks work while a cell runs.

        ipykernel (7.4) hands the messages of a comm to the shell from which it last published on it, and to that which the front end
        named only where it published on none; what is published by a cell or by a thread counts as the main, busy one.
        """
        for widget in (*self._controls, self._box):
            vars(widget.comm).pop("_reply_subshell_id", None)


def _close(widget: Any) -> None:
    """With its layout and its style, which are widgets with comms of their own."""
    for part in (*getattr(widget, "children", ()), getattr(widget, "layout", None), getattr(widget, "style", None)):
        if isinstance(part, ipywidgets.Widget):
            _close(part)
    widget.close()
