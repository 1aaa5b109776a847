"""How an expected error looks below a cell, from a magic or from plain Python: a few lines that say what to do. The cell still fails.

The whole trace is shown by `%tb` in a later cell, or always with `%config GleitzeitNB.debug = True`.
"""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from gleitzeit_nb.core.plain import clean
from gleitzeit_nb.errors import GleitzeitError

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from gleitzeit_nb.jupyter.front import Front

MOST_LINES = 6
WIDTH = 120
_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"  # red would not be readable on the dark theme's error background
_WHOLE_TRACE = "The whole trace: %tb"

Magic = TypeVar("Magic", bound=Callable[..., Any])


def fails_briefly(magic: Magic) -> Magic:
    """For a magic's method: expected errors and interrupts leave it with a short rendering. `self.front` is the Front."""

    @functools.wraps(magic)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return magic(self, *args, **kwargs)
        except GleitzeitError as error:
            shorten(error, self.front)
            raise
        except KeyboardInterrupt as interrupt:
            shorten(interrupt, self.front, "interrupted: what was asked for is cancelled.")
            raise

    return guarded  # type: ignore[return-value]


class BriefErrors:
    """This package's errors in a few lines wherever a cell raises them: the shell's one handler of custom exceptions, until `undo`.

    A handler that was there before goes on handling what it handled. One that is set later replaces this one, as is IPython's way: the
    magics' errors are brief even then.
    """

    def __init__(self, front: Front) -> None:
        shell = self._shell = front.shell
        self._front: Front | None = front
        self._before = (shell.custom_exceptions, shell.CustomTB)
        shell.set_custom_exc((*shell.custom_exceptions, GleitzeitError), self._handle)  # type: ignore[no-untyped-call]
        self._installed = shell.CustomTB

    def undo(self) -> None:
        """Leave the shell as it was. Where another handler has come on top of this one, only stand aside."""
        self._front = None
        if self._shell.CustomTB == self._installed:
            self._shell.custom_exceptions, self._shell.CustomTB = self._before

    def _handle(
        self, shell: InteractiveShell, kind: type[BaseException], error: BaseException, trace: TracebackType, tb_offset: int | None = None
    ) -> None:
        if isinstance(error, GleitzeitError) and self._front is not None:
            shorten(error, self._front, line=line_in_cell(trace, shell.user_ns))
        exceptions, handle = self._before
        if isinstance(error, exceptions):
            handle(kind, error, trace, tb_offset)
        else:
            shell.showtraceback((kind, error, trace), tb_offset=tb_offset)


def line_in_cell(trace: TracebackType | None, names: dict[str, Any]) -> int | None:
    """Of the running cell, whose names those are: the outermost of its frames is the cell itself."""
    while trace is not None:
        if trace.tb_frame.f_globals is names:
            return trace.tb_lineno
        trace = trace.tb_next
    return None


def shorten(error: BaseException, front: Front, text: str | None = None, line: int | None = None) -> None:
    """Let IPython show `error` in a few lines: its message, or `text`, and the cell's line that raised it, where that says something."""
    before = getattr(error, "_render_traceback_", None)
    is_free = before is None or (isinstance(before, _ShortTrace) and before.is_past)  # which may be raised again in a later cell
    if is_free and not front.settings.debug:
        error._render_traceback_ = _ShortTrace(error, front.shell, text, line)  # type: ignore[attr-defined]


def brief_lines(error: BaseException, text: str | None = None, line: int | None = None, *, width: int = WIDTH) -> list[str]:
    """At most six lines: the error's name and message, wrapped at `width`, and where to find the rest."""
    message = clean(str(error) if text is None else text).strip() or "no message"
    lines = [part for each in message.split("\n") for part in textwrap.wrap(each, width, subsequent_indent="  ") or [""]]
    room = MOST_LINES - 1
    if len(lines) > room:
        hidden = len(lines) - room + 1
        lines = [*lines[: room - 1], f"  … and {hidden} more lines"]
    place = f"Line {line} of the cell. " if line is not None else ""
    return [f"{type(error).__name__}: {lines[0]}", *lines[1:], f"{place}{_WHOLE_TRACE}"]


def in_bold(lines: Sequence[str]) -> list[str]:
    """The lines of an error, with its name in bold."""
    name, _, rest = lines[0].partition(":")
    return [f"{_BOLD}{name}{_PLAIN}:{rest}", *lines[1:]]


class _ShortTrace:
    """IPython calls this for the lines to show: few while the failing cell runs, all of them when asked again later."""

    def __init__(self, error: BaseException, shell: InteractiveShell, text: str | None, line: int | None) -> None:
        self._error = error
        self._shell = shell
        self._text = text
        self._line = line
        self._cell = shell.execution_count

    @property
    def is_past(self) -> bool:
        """The cell that failed is over."""
        return self._shell.execution_count != self._cell

    def __call__(self) -> list[str]:
        if self.is_past:
            trace = self._shell.InteractiveTB.structured_traceback(type(self._error), self._error, self._error.__traceback__)
            return list(trace)
        return in_bold(brief_lines(self._error, self._text, self._line))
