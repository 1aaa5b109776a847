"""Files that go into a run: which are meant, under which names, and that they fit; read here, written in the sandbox."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from gleitzeit_nb.core import filenames
from gleitzeit_nb.core.execution import Limits
from gleitzeit_nb.errors import TransferError, UsageError

PAGE_BYTES = 4096  # what a file takes at least, in the memory that holds the work directory
MAX_FILES = 2000  # their names travel in one frame
NAMES_BYTES = 512 << 10


def named(specifications: Iterable[str], base: Path | None = None) -> dict[str, Path]:
    """Name inside → path here, for each `path[:name]`: a file, a directory with all below it, or a pattern such as `data/*.csv`.

    Without `:name` a path below `base` (default: the working directory) keeps its relative name, any other its last part. Links inside
    a directory are left out. Raises UsageError for what is not there.
    """
    found: dict[str, Path] = {}
    for specification in specifications:
        path, name = _split(specification)
        if not path:
            raise UsageError(f"--file: {specification!r} names no file.\nWrite a path, and behind a colon what it shall be called inside.")
        paths = [Path(each) for each in sorted(glob.glob(path))] if glob.has_magic(path) and not os.path.lexists(path) else [Path(path)]
        if not paths:
            raise UsageError(f"--file: no file matches {path!r}.\nThe working directory is {Path.cwd()}.")
        for each in paths:
            inside = f"{name.rstrip('/')}/{each.name}" if name and (len(paths) > 1 or name.endswith("/")) else name
            found.update(_below(each, inside or _own_name(each, base or Path.cwd())))
    return found


def _split(specification: str) -> tuple[str, str]:
    path, colon, name = specification.rpartition(":")
    if not colon or not path or os.path.lexists(specification):  # a name may hold a colon itself
        return specification, ""
    return path, name


def _own_name(path: Path, base: Path) -> str:
    plain = Path(os.path.normpath(base / path))
    return plain.relative_to(base).as_posix() if plain.is_relative_to(base) else plain.name


def _below(path: Path, name: str) -> dict[str, Path]:
    if not path.exists():
        raise UsageError(f"--file: there is no {str(path)!r}.\nThe working directory is {Path.cwd()}.")
    if not path.is_dir():
        return {name: path}
    found = {}
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for each in sorted(files):
            inner = Path(folder, each)
            if inner.is_file() and not inner.is_symlink() and not each.startswith("."):
                found[Path(name, inner.relative_to(path)).as_posix()] = inner
            if len(found) > MAX_FILES:
                raise UsageError(f"--file: {str(path)!r} holds more than {MAX_FILES} files.\nName the ones that are needed.")
    return found


def read(files: Mapping[str, bytes | os.PathLike[str]], limits: Limits) -> dict[str, bytes]:
    """The contents. Raises TransferError, naming file and size, for what may not or does not go in. Blocks while it reads."""
    taken = filenames.Names()
    for name in files:
        reason = filenames.problem(name) or taken.add(name)
        if reason:
            raise TransferError(f"The file {name[:200]!r} cannot be passed into the sandbox: {reason}. Pass it under another name.")
    if len(files) > min(MAX_FILES, limits.workspace_inodes - 1) or sum(len(name) for name in files) > NAMES_BYTES:
        raise TransferError(f"{len(files)} files are more than go into one run (limit workspace_inodes). Pass them as one archive.")
    room, contents = limits.workspace_bytes, {}
    for name, source in files.items():
        contents[name] = source if isinstance(source, bytes) else _content(name, source, min(room, limits.file_bytes), limits)
        _require_room(name, len(contents[name]), min(room, limits.file_bytes), limits)
        room -= -(-len(contents[name]) // PAGE_BYTES) * PAGE_BYTES
    return contents


def _require_room(name: str, size: int, room: int, limits: Limits) -> None:
    if size > room:
        raise TransferError(
            f"The file {name!r} has {size} bytes, and {max(0, room)} are left for it: one file may have {limits.file_bytes} "
            f"(limit file_bytes), the work directory holds {limits.workspace_bytes} (limit workspace_bytes). "
            "Pass a part of it, or raise the limit."
        )


def _content(name: str, path: os.PathLike[str], room: int, limits: Limits) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe without a writer would hold us up
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise TransferError(f"{os.fspath(path)!r} is no regular file, so it cannot be passed into the sandbox as {name!r}.")
            _require_room(name, status.st_size, room, limits)
            return file.read(room + 1)
    except OSError as exc:
        raise TransferError(f"The file {os.fspath(path)!r} cannot be read: {exc.strerror}.") from exc
