"""Several answers side by side: columns of one display that wrap where there is no room, or one below the other on a terminal.

Columns are HTML of ours around text of the models', which is written anew as `markdown_html` says. Drawn on the cell's thread.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TextIO

from gleitzeit_nb.core.plain import clean, one_line
from gleitzeit_nb.core.requests import Chunk
from gleitzeit_nb.errors import GleitzeitError, StreamInterruptedError
from gleitzeit_nb.jupyter.display.answer import (
    LAST_PAINT_WAIT_S,
    PLAIN_CHARS,
    Publish,
    TerminalView,
    Written,
    harmless_json,
    message_bytes,
    publisher,
)
from gleitzeit_nb.jupyter.display.pace import ANSWERS_BYTES_PER_S, Budget, Pace
from gleitzeit_nb.jupyter.display.places import RUNNING
from gleitzeit_nb.jupyter.display.quiet import QUIET, quiet_lines
from gleitzeit_nb.jupyter.llm.thinking import thinking_bundle
from gleitzeit_nb.jupyter.markdown.harmless import MAX_CHARS, harmless
from gleitzeit_nb.jupyter.markdown.html_writer import html_of
from gleitzeit_nb.jupyter.values import LLMReply

if TYPE_CHECKING:
    from gleitzeit_nb.jupyter.front import Front

State = Literal["waiting", "answering", "whole", "failed", "interrupted"]
REPAINT_S = 0.1  # all columns at once: ten times a second reads as smooth
_MARKS: dict[State, str] = {"waiting": "…", "answering": "…", "whole": "✓", "failed": "✗", "interrupted": "■"}
_ROW = "display:flex;flex-wrap:wrap;gap:12px;align-items:stretch"
_COLUMN = (
    "flex:1 1 17em;min-width:0;max-width:100%;box-sizing:border-box;padding:6px 12px;overflow-wrap:anywhere;"
    "border:1px solid var(--jp-border-color1,#bdbdbd);border-radius:2px"
)


@dataclass
class Column:
    """One answer on its way. `status`: why nothing has come yet."""

    number: int
    of: int
    pieces: list[str] = field(default_factory=list)
    thought: int = 0
    restarts: int = 0
    status: str = ""
    state: State = "waiting"
    reply: LLMReply | None = None
    error: GleitzeitError | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def is_open(self) -> bool:
        return self.state in ("waiting", "answering")

    def take(self, item: Chunk | GleitzeitError) -> None:
        """What came of it: a piece, the whole, or the error that ended it."""
        if isinstance(item, GleitzeitError):
            self.state, self.error = "failed", item
            return
        if item.restart:
            self.restarts += 1
            self.pieces.clear()
            self.thought = 0
        self.thought += len(item.thinking)
        if item.text:
            self.pieces.append(item.text)
            self.state = "answering"
        if item.reply is not None:
            self.state, self.reply = "whole", LLMReply(item.reply)
            self.pieces[:] = [item.reply.text]

    def footer(self) -> str:
        """Who answered; else how it stands."""
        if self.reply is not None:
            return self.reply.footer()
        if self.error is not None:
            first = one_line(str(self.error).partition("\n")[0], 300)
            cut = "the answer was cut here; " if isinstance(self.error, StreamInterruptedError) else ""
            return f"{cut}{type(self.error).__name__}: {first}"
        if self.state == "interrupted":
            return "interrupted"
        thinking = f"thinking, {self.thought} characters" if self.thought and not self.pieces else ""
        return thinking or one_line(self.status) or ("answering" if self.pieces else "waiting")


class ColumnsView(Protocol):
    def show(self, columns: Sequence[Column]) -> None:
        """Something may have changed."""
        ...

    def finish(self, columns: Sequence[Column], metadata: dict[str, Any]) -> None:
        """Nothing changes any more."""
        ...


def columns_view(front: Front, *, stream: bool, quiet: bool, as_json: bool = False) -> ColumnsView:
    if quiet:
        return NoColumns()
    if not front.in_kernel:
        return PrintedColumns(sys.stdout, stream=stream)
    return DrawnColumns(publisher(front.places), harmless_json if as_json else harmless, stream=stream, budget=front.budget)


class NoColumns:
    def show(self, columns: Sequence[Column]) -> None:
        return

    def finish(self, columns: Sequence[Column], metadata: dict[str, Any]) -> None:
        return


class DrawnColumns:
    """One display, drawn anew while answers arrive, as often as its size allows."""

    def __init__(
        self,
        publish: Publish,
        written: Written = harmless,
        *,
        stream: bool = True,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        budget: Budget | float = ANSWERS_BYTES_PER_S,
    ) -> None:
        self._publish = publish
        self._written = written
        self._stream = stream
        self._clock = clock
        self._sleep = sleep
        self._pace = Pace(budget, REPAINT_S)
        self._drawn = ""

    def show(self, columns: Sequence[Column]) -> None:
        if not self._stream or self._pace.wait_s(self._clock()):
            return
        began = time.thread_time()
        drawn = columns_html(columns, self._written)
        is_new = drawn != self._drawn
        if is_new:
            self._send({"text/html": drawn, "text/plain": _progress(columns)}, RUNNING)
        self._pace.sent(message_bytes(drawn) if is_new else 0, self._clock(), time.thread_time() - began)

    def finish(self, columns: Sequence[Column], metadata: dict[str, Any]) -> None:
        try:
            self._sleep(min(self._pace.wait_s(self._clock()), LAST_PAINT_WAIT_S) if self._drawn else 0.0)
        finally:  # an interrupt now must not cost the end of whole answers
            self._send({"text/html": columns_html(columns, self._written), "text/plain": columns_text(columns)}, metadata)

    def _send(self, data: dict[str, Any], metadata: dict[str, Any]) -> None:
        self._publish(data, metadata, bool(self._drawn))
        self._drawn = data["text/html"]


class PrintedColumns:
    """One below the other, in their order: what is printed cannot be drawn anew. The first that is not whole is printed as it comes."""

    def __init__(self, out: TextIO, *, stream: bool = True) -> None:
        self._out = out
        self._stream = stream
        self._printed = 0  # columns, to their end
        self._begin()

    def _begin(self) -> None:
        self._view: TerminalView | None = None
        self._chars = self._restarts = 0

    def show(self, columns: Sequence[Column]) -> None:
        for column in columns[self._printed :]:
            if column.is_open:
                if self._stream and column.pieces:
                    self._print(column)
                return
            self._end(column)

    def finish(self, columns: Sequence[Column], metadata: dict[str, Any]) -> None:
        for column in columns[self._printed :]:
            self._end(column)

    def _print(self, column: Column) -> TerminalView:
        """What has come of it since the last time."""
        if self._view is None:
            self._out.write(f"[{column.number} of {column.of}]\n")
            self._view = TerminalView(self._out)
        if column.restarts > self._restarts:
            self._view.restart()
            self._chars, self._restarts = 0, column.restarts
        self._view.add(column.text[self._chars :])
        self._chars = len(column.text)
        return self._view

    def _end(self, column: Column) -> None:
        self._print(column).finish({})
        notes = column.reply.notes() if column.reply is not None else ()
        self._out.write("\n".join((f"{_MARKS[column.state]} {column.footer()}", *notes)) + "\n")
        self._out.flush()
        self._printed += 1
        self._begin()


def columns_html(columns: Sequence[Column], written: Written = harmless) -> str:
    drawn = "".join(_column_html(column, written, MAX_CHARS // max(1, len(columns))) for column in columns)
    return f'<div role="group" aria-label="{len(columns)} answers" style="{_ROW}">{drawn}</div>'


def _column_html(column: Column, written: Written, most: int) -> str:
    text, name = column.text, f"Answer {column.number} of {column.of}"
    body = html_of(written(text[:most])) if text.strip() else ""
    if len(text) > most:
        body += f"<p><em>… {len(text) - most:,} more characters are not shown here.</em></p>"
    notes: tuple[str, ...] = ()
    if column.reply is not None:
        thinking = column.reply.thinking
        body = body or "<p><em>(an empty answer)</em></p>"
        body += thinking_bundle(thinking)["text/html"] if thinking.strip() else ""
        notes = column.reply.notes()
    lines = quiet_lines((f"{_MARKS[column.state]} {column.footer()}", *notes))
    head = f'<div style="{QUIET}"><strong>{column.number}</strong></div>'
    return f'<section aria-label="{name}" style="{_COLUMN}">{head}{body}{lines}</section>'


def columns_text(columns: Sequence[Column]) -> str:
    """One below the other, for readers without HTML."""
    return "\n\n".join(map(_column_text, columns))


def _column_text(column: Column) -> str:
    text = column.text
    shown = clean(text[:PLAIN_CHARS]) + (f"\n… {len(text) - PLAIN_CHARS:,} more characters" if len(text) > PLAIN_CHARS else "")
    notes = column.reply.notes() if column.reply is not None else ()
    head = f"[{column.number} of {column.of}] {_MARKS[column.state]} {column.footer()}"
    return "\n".join(part for part in (head, shown, *notes) if part)


def _progress(columns: Sequence[Column]) -> str:
    return f"{sum(not column.is_open for column in columns)} of {len(columns)} answers"
