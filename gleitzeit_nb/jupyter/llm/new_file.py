"""Writing a file whole or not at all, and over another one only when that is meant."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path


def _named(aside: Path, path: Path) -> None:
    """Unlike a rename, a link fails when the name is taken. Not every file system has them."""
    try:
        os.link(aside, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        os.replace(aside, path)


def write_new(path: Path, data: bytes, *, replace: bool) -> None:
    """Raises FileExistsError where a file is in the way and `replace` is off, and OSError; then nothing has changed."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with aside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(aside, path)
        else:
            _named(aside, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            aside.unlink()
