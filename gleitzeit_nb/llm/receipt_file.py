"""Receipts as lines of JSON in a file that several kernels may write at once.

Each line is one append under a `flock`, so no two mix and none is half there: what a full disk cut off is taken back. A line that a
killed kernel left unfinished is ended before the next one. Trouble is told once and never fails a request.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gleitzeit_nb.core.receipts import ReceiptSettings

try:
    import fcntl

    HAS_LOCKS = True
except ImportError:  # Windows
    HAS_LOCKS = False

logger = logging.getLogger("gleitzeit_nb.pool")

TRIES = 10
PAUSE_S = 0.0005  # between tries for the lock, which others hold for some 20 µs; it must not hold up the loop


class ReceiptFile:
    """Appends to `path`; moves it to `path.1`, `path.2`, … when it would grow beyond its size."""

    def __init__(self, settings: ReceiptSettings) -> None:
        self.path = Path(settings.file or "").expanduser()
        self.settings = settings
        self._in_trouble = False

    def __repr__(self) -> str:
        return f"<ReceiptFile {self.path}{' in trouble' if self._in_trouble else ''}>"

    def write(self, entry: Mapping[str, Any]) -> None:
        """Append one line. Tells of trouble once, and again after it was over in between."""
        # ASCII: some readers take other characters of Unicode for line ends.
        line = json.dumps(entry, separators=(",", ":"), default=str).encode("ascii") + b"\n"
        try:
            self._append(line)
            self._in_trouble = False
        except OSError as exc:
            if not self._in_trouble:
                self._in_trouble = True
                logger.warning("receipts cannot be written to %s: %s. Requests go on, and writing is tried again", self.path, exc)

    def _append(self, line: bytes) -> None:
        for _ in range(TRIES):
            file = self._open()
            try:
                locked = _lock(file)
                size = os.fstat(file).st_size
                if locked and not self._is_current(file):
                    continue  # another kernel has just moved it away
                if locked and size and size + len(line) > self.settings.max_bytes:
                    self._rotate()
                    continue
                _write_whole(file, line, size, locked=locked)
                return
            finally:
                os.close(file)
        raise OSError(errno.EBUSY, "it is moved away again and again")

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            file = os.open(self.path, flags, 0o600)
        except FileNotFoundError:
            self.path.parent.mkdir(0o700, parents=True, exist_ok=True)
            file = os.open(self.path, flags, 0o600)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise OSError(errno.EINVAL, "it is no regular file")
        return file

    def _is_current(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), os.stat(self.path))
        except FileNotFoundError:
            return False

    def _rotate(self) -> None:
        """The caller holds the lock of the file that is moved."""
        names = [self.path, *(self.path.with_name(f"{self.path.name}.{number}") for number in range(1, self.settings.keep + 1))]
        if len(names) == 1:
            self.path.unlink()
        for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
            with contextlib.suppress(FileNotFoundError):
                newer.replace(older)


def _lock(file: int) -> bool:
    """False: somebody holds it for unusually long. An append alone is whole, too; only moving and taking back need the lock."""
    for _ in range(TRIES if HAS_LOCKS else 0):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(PAUSE_S)
        except OSError:  # a file system without locks
            return False
        else:
            return True
    return False


def _write_whole(file: int, line: bytes, size: int, *, locked: bool) -> None:
    if size:
        os.lseek(file, -1, os.SEEK_END)
        line = line if os.read(file, 1) == b"\n" else b"\n" + line
    try:
        written = os.write(file, line)
        if written < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        if locked:
            os.ftruncate(file, size)
        raise
