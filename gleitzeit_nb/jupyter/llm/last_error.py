"""The notebook's last error, as somebody has to see it who is to explain it: the cell, the trace, the message."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from gleitzeit_nb.core.plain import clean
from gleitzeit_nb.errors import RunFailedError

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

MOST_CELLS = 3
MOST_FRAMES = 16
MOST_CAUSES = 3
CELL_CHARS = 8_000
TRACE_CHARS = 6_000
MESSAGE_CHARS = 2_000
_OURS = ("/gleitzeit_nb/", "/IPython/", "/ipykernel/", "<frozen ")
_CELL_NUMBER = re.compile(r"\[(\d+)\]")
_LIBRARY = re.compile(r".*[/\\](?:site|dist)-packages[/\\]|.*[/\\]lib[/\\]python3\.\d+[/\\]")


@dataclass(frozen=True)
class Failure:
    """`cells`: (number, source) of those that the trace goes through, the one that was run first. `name`: of the error's class."""

    name: str
    trace: str
    cells: tuple[tuple[int, str], ...]


def last_failure(shell: InteractiveShell) -> tuple[BaseException, Failure] | None:
    """None: nothing has failed in this notebook yet. A KeyboardInterrupt is a failure too; who asks may think otherwise."""
    error = getattr(sys, "last_value", None)
    if not isinstance(error, BaseException):
        return None
    reader = _Reader(shell)
    if not isinstance(error, SyntaxError) and not any(reader.number(frame) for frame in _files(error.__traceback__)):
        return None  # of another shell in this process, or of nobody's cell
    return error, reader.failure(error)


def _files(trace: TracebackType | None) -> Iterator[str]:
    while trace is not None:
        yield trace.tb_frame.f_code.co_filename
        trace = trace.tb_next


class _Reader:
    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._cells: dict[int, str] = {}

    def number(self, filename: str) -> int | None:
        """Of the cell that is compiled under that name."""
        named = self._shell.compile.format_code_name(filename)
        found = _CELL_NUMBER.search(named[1]) if named is not None else None
        return int(found[1]) if found is not None else None

    def failure(self, error: BaseException) -> Failure:
        parts: list[str] = []
        each: BaseException | None = error
        for _ in range(MOST_CAUSES):
            if each is None:
                break
            parts.insert(0, self._told(each))
            each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
        if isinstance(error, SyntaxError) and error.filename is not None:
            self._remember(self.number(error.filename))
        trace = "\n\nThen, while that was handled:\n\n".join(parts)
        return Failure(type(error).__name__, _shortened(trace, TRACE_CHARS), tuple(self._cells.items())[:MOST_CELLS])

    def _told(self, error: BaseException) -> str:
        """Its frames, then what it says; of a run in the sandbox its own trace."""
        frames = [line for line in map(self._frame, traceback.extract_tb(error.__traceback__)) if line]
        if len(frames) > MOST_FRAMES:
            frames = [*frames[:4], f"  … {len(frames) - MOST_FRAMES} frames are left out", *frames[4 - MOST_FRAMES :]]
        message = "".join(traceback.format_exception_only(type(error), error)).strip()
        if isinstance(error, SyntaxError) and error.filename is not None:
            message = message.replace(error.filename, self._place(error.filename))
        inside = error.result.traceback if isinstance(error, RunFailedError) else ""
        run = f"In the sandbox:\n{clean(inside).strip()}" if isinstance(inside, str) and inside.strip() else ""
        return "\n".join(part for part in (*frames, run, _shortened(clean(message), MESSAGE_CHARS)) if part)

    def _frame(self, frame: traceback.FrameSummary) -> str:
        number = self.number(frame.filename)
        self._remember(number)
        if number is None and any(part in frame.filename.replace("\\", "/") for part in _OURS):
            return ""
        source = f"\n    {frame.line.strip()}" if frame.line else ""
        return f"  {self._place(frame.filename)}, line {frame.lineno}, in {frame.name}{clean(source)}"

    def _place(self, filename: str) -> str:
        number = self.number(filename)
        return f"In [{number}]" if number is not None else _LIBRARY.sub("", clean(filename))

    def _remember(self, number: int | None) -> None:
        history = self._shell.history_manager
        if number is not None and number not in self._cells and history is not None and number < len(history.input_hist_raw):
            self._cells[number] = _shortened(clean(history.input_hist_raw[number]).strip(), CELL_CHARS)


def _shortened(text: str, limit: int) -> str:
    """Of a long one the beginning and the end."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters are left out …\n{text[-half:]}"
