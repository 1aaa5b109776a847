"""Reading files that the configuration names: whole, bounded, and without waiting for anybody."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from gleitzeit_nb.errors import ConfigError


def read_file(path: Path, subject: str, most_bytes: int) -> bytes:
    """Raises ConfigError, beginning with `subject`, for what is absent, unreadable, larger than `most_bytes`, or no file.

    A pipe or a terminal would be waited for without end, so they are refused before a byte is read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISDIR(mode):
                raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
            if not stat.S_ISREG(mode):
                raise ConfigError(f"{subject} cannot be read: it is a pipe or a device, not a file")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                raw = file.read(most_bytes + 1)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "its name holds a NUL"
        raise ConfigError(f"{subject} cannot be read: {reason or exc}") from None
    if len(raw) > most_bytes:
        raise ConfigError(f"{subject} is larger than {most_bytes >> 20} MiB, which no such file is")
    return raw
