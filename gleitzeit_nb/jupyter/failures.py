"""How an expected error looks below a cell: a few lines that say what to do. The cell still fails.

The whole trace is shown by `%tb` in a later cell, or always with `%config GleitzeitNB.debug = True`.
"""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable
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


def shorten(error: BaseException, front: Front, text: str | None = None) -> None:
    """Let IPython show `error` in a few lines: its message, or `text`."""
    if not front.settings.debug and not hasattr(error, "_render_traceback_"):
        error._render_traceback_ = _ShortTrace(error, front.shell, text)  # type: ignore[attr-defined]


def brief_lines(error: BaseException, text: str | None = None) -> list[str]:
    """At most six lines: the error's name and message, wrapped, and where to find the rest."""
    message = clean(str(error) if text is None else text).strip() or "no message"
    lines = [part for line in message.split("\n") for part in textwrap.wrap(line, WIDTH, subsequent_indent="  ") or [""]]
    room = MOST_LINES - 1
    if len(lines) > room:
        hidden = len(lines) - room + 1
        lines = [*lines[: room - 1], f"  … and {hidden} more lines"]
    return [f"{type(error).__name__}: {lines[0]}", *lines[1:], _WHOLE_TRACE]


class _ShortTrace:
    """IPython calls this for the lines to show: few while the failing cell runs, all of them when asked again later."""

    def __init__(self, error: BaseException, shell: InteractiveShell, text: str | None) -> None:
        self._error = error
        self._shell = shell
        self._text = text
        self._cell = shell.execution_count

    def __call__(self) -> list[str]:
        if self._shell.execution_count != self._cell:
            trace = self._shell.InteractiveTB.structured_traceback(type(self._error), self._error, self._error.__traceback__)
            return list(trace)
        first, *others = brief_lines(self._error, self._text)
        name, _, rest = first.partition(":")
        return [f"{_BOLD}{name}{_PLAIN}:{rest}", *others]
