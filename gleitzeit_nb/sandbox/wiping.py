"""Emptying a directory that untrusted code has filled. Travels to the guest: standard library only, Python 3.8."""

from __future__ import annotations

import os
import stat

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def empty_directory(path: str, mode: int) -> bool:
    """Remove everything in `path`, following no link. True when it is empty afterwards. Nothing else may be running in it.

    Directories are moved up into `path` and emptied there one by one, so that neither depth nor path length can defeat it.
    """
    try:
        if stat.S_IMODE(os.stat(path).st_mode) != mode:
            os.chmod(path, mode)  # the code changed its own directory's permissions
        top = os.open(path, _DIRECTORY)
    except OSError:
        return False
    prefix = f".wiped-{os.urandom(8).hex()}-"  # no name that the code could have taken
    try:
        waiting = _clear(top, top, prefix, 0)
        made = len(waiting)
        while waiting:
            name = waiting.pop()
            inner = os.open(name, _DIRECTORY, dir_fd=top)
            try:
                found = _clear(inner, top, prefix, made)
            finally:
                os.close(inner)
            made += len(found)
            waiting.extend(found)
            os.rmdir(name, dir_fd=top)
        return not os.listdir(top)
    except OSError:
        return False
    finally:
        os.close(top)


def _clear(directory: int, top: int, prefix: str, made: int) -> list[str]:
    """Unlink what is no directory, move what is one up into `top` under a new name; return those names."""
    moved: list[str] = []
    for name in os.listdir(directory):
        if not stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=directory)
            continue
        os.chmod(name, 0o700, dir_fd=directory)  # mode 000 would stop both the move and the look inside
        moved.append(f"{prefix}{made + len(moved)}")
        os.rename(name, moved[-1], src_dir_fd=directory, dst_dir_fd=top)
    return moved
