"""Folders and files of this machine that a container may see: how they are written, and what no guest may have. Pure.

What only the file system can tell (links, the allowed roots, whether something is there) is `sandbox.volumes`' to find out.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

EXPECTED = "host:guest, host:guest:ro or host:guest:rw, as a list, or as a mapping such as {/data: {bind: /data, mode: ro}}"

# Where a system, its Python among it, lies in an image, and where the guest's own folders are: a volume there could take their place.
GUEST_OWN = tuple(
    "bin boot dev etc home lib lib32 lib64 libx32 nix opt proc root run sbin sys tmp usr var work".split()  # first part of the path
)
MOST = 16  # mounts of one container
_LONGEST = 400


@dataclass(frozen=True)
class Volume:
    """`host` is absolute. `identity`: (device, inode) of what was found there; None before anybody looked."""

    host: str
    guest: str
    writable: bool = False
    identity: tuple[int, int] | None = None

    @property
    def text(self) -> str:
        return f"{self.host}:{self.guest}:{'rw' if self.writable else 'ro'}"


def read_volumes(written: object) -> tuple[Volume, ...]:
    """Both forms of the configuration, and of `execute`. `host` stays as it is written. Raises ValueError with what is expected."""
    if isinstance(written, Mapping):
        return tuple(_of_entry(host, entry) for host, entry in written.items())
    if isinstance(written, (list, tuple)):
        return tuple(_of_text(each) for each in written)
    raise ValueError(f"should be {EXPECTED}")


def problem(volumes: Sequence[Volume]) -> str:
    """Why these cannot be had together, or one of them at all, as far as their words tell; "" when they can."""
    if len(volumes) > MOST:
        return f"at most {MOST} can be mounted, not {len(volumes)}"
    for volume in volumes:
        if found := guest_problem(volume.guest):
            return found
    for index, one in enumerate(volumes):
        for other in volumes[index + 1 :]:
            if is_within(one.guest, other.guest) or is_within(other.guest, one.guest):
                return f"{one.guest} and {other.guest} are the same place inside, or one lies in the other"
    return overlap(volumes)


def overlap(volumes: Sequence[Volume]) -> str:
    """Nothing may be mounted at or below a writable volume: code could plant there what the next run is given."""
    for index, one in enumerate(volumes):
        for position, other in enumerate(volumes):
            if position != index and one.writable and is_within(other.host, one.host):
                return f"{other.host} lies at or below {one.host}, which is writable"
    return ""


def guest_problem(path: str) -> str:
    """Why nothing can be mounted at `path` inside; "" when it can."""
    if not path.startswith("/") or posixpath.normpath(path) != path or path == "/" or path.startswith("//"):
        return f"the place inside should be an absolute path such as /data, not {path[:80]!r}"
    first = path.split("/")[1]
    if first in GUEST_OWN:
        return f"/{first} belongs to the system inside; mount at a name of your own, such as /data or /mnt/data"
    return ""


def is_within(path: str, folder: str) -> bool:
    """Is `path` the folder itself, or below it? Both absolute and without '..'."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def below_writable(path: str, writable: Iterable[str]) -> str:
    """The writable volume that `path` lies below; "" when there is none. The same path is no harm: code cannot replace it."""
    return next((each for each in writable if path != each and is_within(path, each)), "")


def _of_text(text: object) -> Volume:
    parts = text.split(":") if isinstance(text, str) else []
    if len(parts) not in (2, 3):
        raise ValueError(f"should be {EXPECTED}")
    return _volume(parts[0], parts[1], parts[2] if len(parts) == 3 else "ro")


def _of_entry(host: object, entry: object) -> Volume:
    if isinstance(entry, str):
        guest, _, mode = entry.partition(":")
        return _volume(host, guest, mode or "ro")
    if not isinstance(entry, Mapping) or not set(entry) <= {"bind", "mode"} or "bind" not in entry:
        raise ValueError(f"should be {EXPECTED}")
    return _volume(host, entry["bind"], entry.get("mode", "ro"))


def _volume(host: object, guest: object, mode: Any) -> Volume:
    for path in (host, guest):
        if not isinstance(path, str) or not path.strip() or len(path) > _LONGEST or not path.isprintable() or ":" in path:
            raise ValueError(f"should be {EXPECTED}; paths hold no colon and no line break")
    if mode not in ("ro", "rw"):
        raise ValueError(f"should end with ro (read-only, the default) or rw, and {str(mode)[:40]!r} is neither")
    normal = posixpath.normpath(str(guest)) if str(guest).startswith("/") else str(guest)
    return Volume(str(host).strip(), normal, mode == "rw")
