"""Files that a run left: received under checked names, and written into a directory of yours, where no link leads out of it."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gleitzeit_nb.core import filenames
from gleitzeit_nb.core.execution import Limits
from gleitzeit_nb.errors import TransferError
from gleitzeit_nb.sandbox import protocol
from gleitzeit_nb.sandbox.protocol import FrameError

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_KINDS = (protocol.FILE, protocol.FILE_DATA, protocol.LEFT_OUT)
MAX_LEFT_OUT = 1000
LISTED = 5


class ArtifactReader:
    """What the guest says of files, as it comes. A name that may not be is left out with the reason; too much breaks the protocol."""

    def __init__(self, limits: Limits) -> None:
        self.files: dict[str, bytes] = {}
        self.left_out: dict[str, str] = {}
        self._bytes_left = limits.workspace_bytes
        self._count_left = limits.workspace_inodes
        self._names = filenames.Names()
        self._name: str | None = None  # of the file whose data is coming; None: that of one that is left out
        self._data = bytearray()

    def frame(self, kind: bytes, payload: bytes) -> None:
        """One frame of FILE_KINDS. Raises FrameError."""
        if kind == protocol.FILE_DATA:
            self._take(payload)
        elif kind == protocol.FILE:
            self._begin(protocol.json_payload(payload))
        else:
            self._left(protocol.json_payload(payload))

    def _begin(self, content: Mapping[str, Any]) -> None:
        self._end()
        self._count_left -= 1
        if self._count_left < 0:
            raise FrameError("it sent more files than its work directory can hold")
        name = content.get("name")
        if not isinstance(name, str):
            raise FrameError("it sent a file without a name")
        reason = filenames.problem(name) or self._names.add(name)
        if reason:
            self._leave_out(name, reason)
        else:
            self._name = name

    def _take(self, payload: bytes) -> None:
        self._bytes_left -= len(payload)
        if self._bytes_left < 0:
            raise FrameError("it sent more of files than its work directory can hold")
        if self._name is not None:
            self._data += payload

    def _left(self, content: Mapping[str, Any]) -> None:
        """The guest's own reason why it did not send a file."""
        self._end()
        name, reason = content.get("name"), content.get("reason")
        self._leave_out(str(name), str(reason))

    def finish(self, *, whole: bool) -> dict[str, bytes]:
        """All files; `whole`: the guest said so by ending the run, else what came of the last one is no file."""
        if whole:
            self._end()
        return self.files

    def _end(self) -> None:
        """Another frame came: the file is whole."""
        if self._name is not None:
            self.files[self._name] = bytes(self._data)
        self._name = None
        self._data.clear()

    def _leave_out(self, name: str, reason: str) -> None:
        if len(self.left_out) < MAX_LEFT_OUT:
            self.left_out[_printable(name)] = _printable(reason)


def _printable(text: str) -> str:
    return text[:300].encode("utf-8", "replace").decode("utf-8")


# -- into a directory -----------------------------------------------------------------------------------------------------------

State = Literal["new", "same", "ours", "other", "blocked"]


@dataclass(frozen=True)
class Saved:
    """A file that was written, or was there already with the same content."""

    name: str
    bytes: int
    state: State


class ArtifactFolder:
    """Writes into directories, and remembers what it wrote: a cell that is run again may replace that, and nothing else unasked."""

    def __init__(self) -> None:
        self._written: dict[tuple[int, int], tuple[int, int]] = {}  # (device, inode) → (size, time of its last change)

    def save(self, directory: str | os.PathLike[str], files: Mapping[str, bytes], *, overwrite: bool = False) -> tuple[Saved, ...]:
        """Write all of them, each at once and whole, below `directory`, which is made where it is missing.

        Raises TransferError, before anything is written, when a file is there that is not of ours (unless `overwrite`), or when a link
        or a directory is in the way. Blocks while it writes.
        """
        path = Path(directory)
        try:
            path.mkdir(parents=True, exist_ok=True)
            top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as exc:
            raise TransferError(f"Nothing can be written into {str(path)!r}: {exc.strerror}.") from exc
        try:
            states = {name: self._look(top, name, content) for name, content in files.items()}
            self._refuse(
                path, {name: state for name, state in states.items() if state == "blocked" or (state == "other" and not overwrite)}
            )
            for name, content in files.items():
                if states[name] != "same":
                    self._write(top, name, content, path)
            return tuple(Saved(name, len(content), states[name]) for name, content in files.items())
        finally:
            os.close(top)

    def _refuse(self, path: Path, refused: Mapping[str, State]) -> None:
        if not refused:
            return
        blocked = [name for name, state in refused.items() if state == "blocked"]
        shown = ", ".join(blocked[:LISTED] or list(refused)[:LISTED]) + (" …" if len(blocked or refused) > LISTED else "")
        if blocked:
            raise TransferError(
                f"No file was written to {str(path)!r}: a link, a directory or a special file is in the way of {shown}.\n"
                "Nothing is written through a link. Take it away, or choose another directory."
            )
        raise TransferError(
            f"No file was written to {str(path)!r}: {shown} is there already, and no earlier run of this session wrote it.\n"
            "Take --overwrite to replace it, or choose another directory."
        )

    def _look(self, top: int, name: str, content: bytes) -> State:
        """What is there now under `name`."""
        try:
            folder, last = _descend(top, name, make=False)
        except FileNotFoundError:
            return "new"
        except OSError:
            return "blocked"
        try:
            return self._look_at(folder, last, content)
        finally:
            os.close(folder)

    def _look_at(self, folder: int, last: str, content: bytes) -> State:
        try:
            status = os.stat(last, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return "new"
        if not stat.S_ISREG(status.st_mode):
            return "blocked"
        if status.st_size == len(content) and _content(folder, last, len(content)) == content:
            return "same"
        return "ours" if self._written.get((status.st_dev, status.st_ino)) == (status.st_size, status.st_mtime_ns) else "other"

    def _write(self, top: int, name: str, content: bytes, path: Path) -> None:
        try:
            folder, last = _descend(top, name, make=True)
            temporary = f"{secrets.token_hex(8)}.part"
            try:
                descriptor = os.open(temporary, _NEW, 0o666, dir_fd=folder)
                try:
                    with open(descriptor, "wb") as file:
                        file.write(content)
                        file.flush()
                        status = os.fstat(descriptor)
                    os.rename(temporary, last, src_dir_fd=folder, dst_dir_fd=folder)
                except BaseException:
                    os.unlink(temporary, dir_fd=folder)
                    raise
            finally:
                os.close(folder)
        except OSError as exc:
            raise TransferError(f"The file {name!r} could not be written to {str(path)!r}: {exc.strerror}.") from exc
        self._written[status.st_dev, status.st_ino] = (status.st_size, status.st_mtime_ns)


def _descend(top: int, name: str, *, make: bool) -> tuple[int, str]:
    """(descriptor of the directory that holds the file, its last part), step by step, through no link. OSError where it cannot be."""
    reason = filenames.problem(name)
    if reason:
        raise TransferError(f"No file may be called {name[:200]!r}: {reason}.")
    *parents, last = name.split("/")
    folder = os.dup(top)
    try:
        for part in parents:
            if make:
                with contextlib.suppress(FileExistsError):  # whether it is a directory, and no link, the next line finds out
                    os.mkdir(part, dir_fd=folder)
            inner = os.open(part, _DIRECTORY, dir_fd=folder)
            os.close(folder)
            folder = inner
    except BaseException:
        os.close(folder)
        raise
    return folder, last


def _content(folder: int, name: str, size: int) -> bytes | None:
    try:
        with open(os.open(name, _READ, dir_fd=folder), "rb") as file:
            return file.read(size + 1)
    except OSError:
        return None  # unreadable: then it is not known to be the same
