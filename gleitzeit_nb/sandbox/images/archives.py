"""Images as files: to a machine without a registry and back. A file is looked into before the daemon is given it."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.errors import SandboxUnavailableError, UsageError
from gleitzeit_nb.sandbox.daemon import DockerDaemon
from gleitzeit_nb.sandbox.images import labels, resolve
from gleitzeit_nb.sandbox.images.building import explained

if TYPE_CHECKING:
    from docker import APIClient

TRANSFER_S = 1800.0
OWN_NAMES = "gleitzeit/"
MOST_MEMBERS = 20_000
MOST_JSON_BYTES = 4 << 20

BytesDone = Callable[[int, int], None]


@dataclass(frozen=True)
class Archived:
    """An image in a file, by what the file says.

    Labels prove nothing about who made it; the file's sha256 does, if it is known from elsewhere.
    """

    names: tuple[str, ...]
    marks: Mapping[str, str]

    @property
    def problem(self) -> str:
        """Why it is not taken for one of ours; "" when it is."""
        if labels.KIND not in self.marks:
            return f"{', '.join(self.names) or 'an image without a name'} carries no label of gleitzeit"
        foreign = [name for name in self.names if not name.startswith(OWN_NAMES)]
        return f"it would take the name {', '.join(foreign)}" if foreign else ""


async def save(image: str, path: Path, daemon: DockerDaemon, progress: BytesDone) -> str:
    """Write `image` to `path`, which appears when it is whole; its sha256. Raises ImageMissingError or SandboxUnavailableError."""
    with explained():
        handle, partial = await asyncio.to_thread(_begin, path)
        try:
            with os.fdopen(handle, "wb") as file:
                work = functools.partial(_save, image=image, file=file, progress=_on_this_loop(progress))
                digest = await daemon.call_apart(f"save {image}", work, timeout_s=TRANSFER_S)
            os.chmod(partial, 0o644)
            os.replace(partial, path)
        except BaseException:
            os.unlink(partial)
            raise
    return digest


def fingerprint(file: IO[bytes], progress: BytesDone) -> str:
    """The sha256 of an open file."""
    total = os.fstat(file.fileno()).st_size
    digest, done = hashlib.sha256(), 0
    file.seek(0)
    while piece := file.read(1 << 20):
        digest.update(piece)
        done += len(piece)
        progress(done, total)
    return digest.hexdigest()


def look_into(file: IO[bytes]) -> tuple[Archived, ...]:
    """The images that a file of `docker save` says it holds. Raises UsageError for anything else."""
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:  # not compressed: what is read is then bounded by the file's size
            return tuple(_archived(tar))
    except (tarfile.TarError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as exc:
        raise UsageError(
            f"This is no file that `gleitzeit-nb images save` or `docker save` has written ({one_line(str(exc), 100)}).\n"
            "A compressed one has to be unpacked first."
        ) from exc


async def load(file: IO[bytes], daemon: DockerDaemon) -> tuple[str, ...]:
    """Give the daemon an open file; what it says that it took, line by line. Raises SandboxUnavailableError."""
    file.seek(0)
    with explained():
        return await daemon.call_apart("load the file", functools.partial(_load, file=file), timeout_s=TRANSFER_S)


def _begin(path: Path) -> tuple[int, str]:
    """A file beside `path`, to take its place in the end."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"{path} cannot be written: there is no folder {folder}")
    return tempfile.mkstemp(prefix=f".{path.name}.", dir=folder)


def _on_this_loop(progress: BytesDone) -> BytesDone:
    loop = asyncio.get_running_loop()

    def hear(done: int, total: int) -> None:
        loop.call_soon_threadsafe(progress, done, total)

    return hear


def _save(api: APIClient, *, image: str, file: IO[bytes], progress: BytesDone) -> str:
    resolve(api, image)
    expected = int(api.inspect_image(image)["Size"])  # type: ignore[no-untyped-call]
    digest, done = hashlib.sha256(), 0
    for piece in api.get_image(image):
        digest.update(piece)
        file.write(piece)
        done += len(piece)
        progress(min(done, expected - 1), expected)  # what the daemon calls the size is not the file's
    progress(expected, expected)
    return digest.hexdigest()


def _load(api: APIClient, *, file: IO[bytes]) -> tuple[str, ...]:
    events = list(api.load_image(file))  # type: ignore[no-untyped-call]
    for failure in (str(event["error"]) for event in events if "error" in event):
        raise SandboxUnavailableError(f"The Docker daemon could not load the file: {one_line(failure, 500)}")
    return tuple(filter(None, (one_line(str(event.get("stream", ""))) for event in events)))


def _archived(tar: tarfile.TarFile) -> Iterator[Archived]:
    members: dict[str, tarfile.TarInfo] = {}
    for member in tar:
        members[member.name] = member
        if len(members) > MOST_MEMBERS:
            raise ValueError("it has too many members")
    for entry in _json(tar, members, "manifest.json"):
        config = _json(tar, members, str(entry["Config"]))
        marks = (config.get("config") or {}).get("Labels") or {}
        names = entry.get("RepoTags") or ()
        yield Archived(tuple(one_line(str(name)) for name in names), {str(key): str(value) for key, value in marks.items()})


def _json(tar: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo], name: str) -> Any:
    member = members[name]
    if not member.isreg() or member.size > MOST_JSON_BYTES:
        raise ValueError(f"{name} is no plain file of a sensible size")
    opened = tar.extractfile(member)
    assert opened is not None
    return json.loads(opened.read())
