"""Files in a directory that untrusted code owns: put there before a run, taken from there after it.

Travels to the guest: standard library only, Python 3.8. Nothing of the code runs meanwhile (but in a session), and it may have left
anything: links, pipes, directories without permissions or without end, files of any size. Nothing is followed, and nothing is read that
is no regular file.
"""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
MAX_DEPTH = 16
MAX_LEFT_OUT = 200
HOUSEKEEPING = frozenset((".cache", ".config", ".local", ".ipython", "__pycache__"))  # what libraries leave in a home: nobody's result


def create(work: str, name: str) -> int:
    """A descriptor for writing `name` below `work`, in place of what has that name. OSError where a link or file is in the way."""
    *parents, last = name.split("/")
    folder = os.open(work, DIRECTORY)
    try:
        for part in parents:
            try:
                inner = os.open(part, DIRECTORY, dir_fd=folder)  # made for the file before this one
            except FileNotFoundError:
                os.mkdir(part, 0o755, dir_fd=folder)
                inner = os.open(part, DIRECTORY, dir_fd=folder)
            os.close(folder)
            folder = inner
        _take_away(last, folder)
        return os.open(last, NEW_FILE, 0o644, dir_fd=folder)
    finally:
        os.close(folder)


def _take_away(name: str, folder: int) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return  # as it should be


def mark(status: os.stat_result) -> tuple[int, ...]:
    """Changes when anything writes to the file, or puts another in its place: the change time cannot be set back."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def everything(work: str) -> dict[str, tuple[int, ...]]:
    """Every file that is there now, with its mark."""
    return {name: mark(status) for name, status in _walk(work)}


def left_by_code(work: str, known: dict[str, tuple[int, ...]], most_bytes: int, most_files: int) -> Iterator[tuple[str, int, str]]:
    """(name, descriptor, "") of every file that is not as `known` has it, (name, -1, reason) of what is left out. Close the descriptors.

    Sorted by name within each directory, so that of too many the same ones come.
    """
    found = left_out = 0
    for name, status in _walk(work):
        if known.get(name) == mark(status):
            continue
        descriptor = -1
        try:
            reason = _reason(status, most_bytes, found >= most_files)
            descriptor = -1 if reason else _opened(os.path.join(work, name))
        except OSError as exc:
            reason = f"it cannot be read ({exc.strerror})"
        if descriptor >= 0:
            found += 1
            most_bytes -= status.st_size
        else:
            left_out += 1
        if descriptor >= 0 or left_out <= MAX_LEFT_OUT:
            yield name, descriptor, reason


def _walk(work: str) -> Iterator[tuple[str, os.stat_result]]:
    """(name below `work`, status) of everything that is no directory."""
    waiting = [""]
    while waiting:
        for name in _entries(work, waiting.pop(0)):
            try:
                status = os.lstat(os.path.join(work, name))
            except OSError:
                continue  # a process of a session took it away in this moment
            if not stat.S_ISDIR(status.st_mode):
                yield name, status
            elif name.count("/") + 1 < MAX_DEPTH and os.path.basename(name) not in HOUSEKEEPING:
                waiting.append(name)


def _entries(work: str, folder: str) -> list[str]:
    """Names below `work` of what is in `folder`."""
    path = os.path.join(work, folder)
    try:
        if stat.S_IMODE(os.lstat(path).st_mode) & 0o500 != 0o500:
            os.chmod(path, 0o700)
        return [f"{folder}/{name}" if folder else name for name in sorted(os.listdir(path))]
    except OSError:
        return []  # a directory that cannot be looked into holds nothing that could be brought out


def _reason(status: os.stat_result, most_bytes: int, full: bool) -> str:
    if stat.S_ISLNK(status.st_mode):
        return "it is a link"
    if not stat.S_ISREG(status.st_mode):
        return "it is no regular file"
    if full:
        return "there are too many files"
    if status.st_size > most_bytes:
        return f"it takes {status.st_size} bytes, and {most_bytes} are left of what may be brought out"
    return ""


def _opened(path: str) -> int:
    try:
        descriptor = os.open(path, READ)
    except PermissionError:
        os.chmod(path, 0o600)  # it is our own user's: only its permissions stand in the way
        descriptor = os.open(path, READ)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "another kind of file took its place")
