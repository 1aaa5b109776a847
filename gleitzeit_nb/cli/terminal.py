"""Text to a terminal, or to whatever stands in its place: lines, a progress bar, and a reader that goes away."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from gleitzeit_nb.core.plain import OutputText

_BAR_WIDTH = 30
_REDRAW_S = 0.1


def say(text: str = "", *, end: str = "\n") -> None:
    sys.stdout.write(text + end)
    sys.stdout.flush()


def complain(text: str, *, end: str = "\n") -> None:
    """To standard error, after what was said before."""
    sys.stdout.flush()
    sys.stderr.write(text + end)
    sys.stderr.flush()


def is_terminal() -> bool:
    return sys.stdout.isatty()


@contextmanager
def untroubled() -> Iterator[None]:
    """A reader that closes the pipe (`… | head`) ends the command without a traceback, as it does for other tools."""
    try:
        yield
    except BrokenPipeError:
        # What is still buffered must not raise again when the interpreter flushes it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None  # 128 + SIGPIPE


class ProgressBar:
    """`done` of `total` bytes: a bar that redraws itself on a terminal, else one line at the beginning."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._begun = False
        self._drawn_at = float("-inf")
        self._ended = False

    def __call__(self, done: int, total: int) -> None:
        if self._ended:
            return
        self._ended = done >= total
        if self._ended and not self._begun:
            return  # there was nothing to fetch
        if not sys.stderr.isatty():
            self._plain(total)
            return
        self._begun = True
        now = time.monotonic()
        if self._ended or now - self._drawn_at >= _REDRAW_S:
            self._drawn_at = now
            share = min(1.0, done / total) if total else 1.0
            filled = int(share * _BAR_WIDTH)
            bar = "█" * filled + "░" * (_BAR_WIDTH - filled)
            complain(f"\r{self._what}  {bar} {share:4.0%}  {done / 1e6:.0f} of {total / 1e6:.0f} MB", end="\n" if self._ended else "")

    def _plain(self, total: int) -> None:
        if not self._begun:
            self._begun = True
            complain(f"{self._what}: {total / 1e6:.0f} MB …")


class AsItIs:
    """The counterpart of `OutputText` where no terminal could be acted upon: a file or a pipe gets every character."""

    def feed(self, piece: str) -> str:
        return piece

    def flush(self) -> str:
        return ""


def shower(stream: TextIO) -> OutputText | AsItIs:
    """Untrusted text on its way to `stream`: made harmless for a terminal, and left alone otherwise."""
    return OutputText() if stream.isatty() else AsItIs()
