"""Volumes on this machine: found beneath the allowed roots over no link, held while a guest starts, and compared with what it sees.

The daemon walks a volume's path once more, as root, after this has. So what was found is remembered by device and inode, and a guest
that sees anything else at its mount point is refused before it runs a line.
"""

from __future__ import annotations

import ctypes
import errno
import os
import pwd
import stat
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gleitzeit_nb.config import absolute
from gleitzeit_nb.core.execution import ExecutionResult, ModeSettings, SandboxSettings
from gleitzeit_nb.core.volumes import Volume, below_writable, is_within, overlap, problem, read_volumes
from gleitzeit_nb.errors import ConfigError, SandboxUnavailableError
from gleitzeit_nb.sandbox.bundle import USER_ID

OPENAT2 = 437  # the same number on every architecture (openat2(2), Linux 5.6)
NO_MAGICLINKS, NO_SYMLINKS, BENEATH = 0x02, 0x04, 0x08  # RESOLVE_* of linux/openat2.h
O_PATH = getattr(os, "O_PATH", 0)  # Linux only, as is everything that holds a guest by namespaces

SYSTEM = ("/etc", "/proc", "/sys", "/dev", "/boot", "/run/user", "/var/lib/docker", "/var/lib/containerd", "/var/lib/containers")
SOCKETS = ("/run/docker.sock", "/var/run/docker.sock", "/run/podman/podman.sock", "/run/containerd/containerd.sock")
DOORS_LOOKED_FOR = 20_000  # entries of a volume: a look at each start that takes some 20 ms at most
# Below a home: keys, and what this user's programs run or obey when they start.
PRIVATE = (".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".netrc", ".config", ".jupyter", ".ipython", ".local/share/jupyter")


def volumes_of(written: Any) -> tuple[Volume, ...]:
    """The `volumes` of a call; relative paths count from the working directory. Raises ConfigError."""
    try:
        found = read_volumes(written)
        anchored = tuple(replace(each, host=absolute(each.host, os.getcwd())) for each in found)
    except ValueError as exc:
        raise ConfigError(f"volumes {exc}.") from None
    _refuse(problem(anchored))
    return anchored


class VolumeKeeper:
    """Which volumes may be had here. Remembers every writable one, so that nothing is ever mounted from inside it."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._roots = settings.volume_roots
        configured = [each.host for mode in settings.modes.values() for each in mode.volumes if each.writable]
        self._writable = {*configured, *map(os.path.realpath, configured)}

    def __repr__(self) -> str:
        return f"<VolumeKeeper beneath {', '.join(self._roots) or 'no root'}, {len(self._writable)} writable>"

    def find(self, volumes: Sequence[Volume]) -> tuple[Volume, ...]:
        """The same with their real paths and identities. Asks the file system. Raises ConfigError for the first that cannot be had."""
        if sys.platform != "linux":
            raise ConfigError("Volumes are mounted on Linux only, where what a container sees can be compared with what is here.")
        _refuse(problem(volumes))
        found = tuple(self._find(each) for each in volumes)
        _refuse(overlap(found))
        for each in found:
            above = below_writable(each.host, self._writable)
            _refuse(f"{each.host} lies below {above}, which code in a sandbox may write" if above else "")
        self._writable |= {each.host for each in found if each.writable}
        return found

    def _find(self, volume: Volume) -> Volume:
        fd = _open_beneath_a_root(volume.host, self._roots)
        try:
            status = os.fstat(fd)
            path = os.readlink(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)
        if not (stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)):
            raise ConfigError(f"The volume {volume.host} is neither a folder nor a file. Sockets, pipes and devices are not mounted.")
        refuse_private(path, (status.st_dev, status.st_ino))
        return replace(volume, host=path, identity=(status.st_dev, status.st_ino))


@dataclass(frozen=True)
class Held:
    """Volumes whose files are open, so that their inodes belong to nobody else while a guest starts."""

    volumes: tuple[Volume, ...] = ()
    descriptors: tuple[int, ...] = ()

    @property
    def seen(self) -> dict[str, tuple[int, int, bool]]:
        """What the guest must see: mount point → (device, inode, read-only)."""
        return {each.guest: (*each.identity, not each.writable) for each in self.volumes if each.identity}

    @property
    def mounts(self) -> list[dict[str, Any]]:
        """For the daemon. Not recursive: what is mounted below a volume stays outside, where a read-only volume would leave it writable."""
        options = {"Propagation": "rprivate", "NonRecursive": True}
        return [
            {"Type": "bind", "Source": each.host, "Target": each.guest, "ReadOnly": not each.writable, "BindOptions": options}
            for each in self.volumes
        ]

    def release(self) -> None:
        for fd in self.descriptors:
            os.close(fd)


def hold(volumes: Sequence[Volume], sockets: Iterable[str] = ()) -> Held:
    """Open what was found before. `sockets` are the daemon's own. Raises SandboxUnavailableError when something else is there now."""
    descriptors: list[int] = []
    try:
        for each in volumes:
            fd = _open_beneath("/", each.host)
            descriptors.append(fd)
            status = os.fstat(fd)
            if each.identity != (status.st_dev, status.st_ino):
                raise SandboxUnavailableError(f"The volume {each.host} was replaced while the sandbox started. Run the cell again.")
            refuse_private(each.host, each.identity, sockets)
    except BaseException:
        Held(descriptors=tuple(descriptors)).release()
        raise
    return Held(tuple(volumes), tuple(descriptors))


def refuse_doors(held: Held) -> None:
    """Raises ConfigError when a volume holds a socket or a pipe that others may write.

    A read-only mount stops neither, and both reach whoever listens on this machine, from a container without any network.
    """
    for volume, fd in zip(held.volumes, held.descriptors, strict=True):
        door = _door_in(fd) if stat.S_ISDIR(os.fstat(fd).st_mode) else ""
        if door:
            raise ConfigError(
                f"The volume {volume.host} holds {door}, a socket or pipe through which code in the sandbox could reach this machine.\n"
                "Close it to others (chmod o-w), or mount a folder that does not hold it."
            )


def _door_in(fd: int) -> str:
    """The relative path of the first one among the volume's first entries; "" when there is none."""
    waiting, looked_at = deque([""]), 0
    while waiting:
        folder = waiting.popleft()
        try:
            entries = os.scandir(os.path.join(f"/proc/self/fd/{fd}", folder))
        except OSError:
            continue  # closed to this user
        with entries:
            for entry in entries:
                looked_at += 1
                if looked_at > DOORS_LOOKED_FOR:
                    return ""
                path = os.path.join(folder, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                elif not (entry.is_file(follow_symlinks=False) or entry.is_symlink()):
                    status = entry.stat(follow_symlinks=False)
                    if _is_written_by_guests(status) and (stat.S_ISSOCK(status.st_mode) or stat.S_ISFIFO(status.st_mode)):
                        return path
    return ""


def _is_written_by_guests(status: os.stat_result) -> bool:
    owner = status.st_mode & stat.S_IWUSR and status.st_uid == USER_ID
    group = status.st_mode & stat.S_IWGRP and status.st_gid == USER_ID
    return bool(owner or group or status.st_mode & stat.S_IWOTH)


def refuse_private(path: str, identity: tuple[int, int] | None = None, sockets: Iterable[str] = ()) -> None:
    """Raises ConfigError for what no guest is shown: the system's own folders, the daemon, the home itself, and whatever holds them.

    By path and by identity, since a bind mount gives one folder two paths.
    """
    homes = _homes()
    whole = [*SYSTEM, *(os.path.join(home, name) for home in homes for name in PRIVATE)]  # with everything in them
    for forbidden in ["/", *homes, "/run", *whole, *SOCKETS, *sockets]:
        real = os.path.realpath(forbidden)
        holds = is_within(real, path) or (identity is not None and identity == _identity(real))
        if holds or (forbidden in whole and is_within(path, real)):
            raise ConfigError(
                f"The volume {path} {'would show' if holds else 'lies in'} {forbidden}, which no code in a sandbox is shown.\n"
                "Put what the code needs into a folder of its own, and mount that."
            )


def hinted(result: ExecutionResult, mode: ModeSettings) -> ExecutionResult:
    """The same; a run that failed at a file of a volume for want of permission says so."""
    last = result.traceback.strip().rpartition("\n")[2]
    if not last.startswith(("PermissionError", "OSError: [Errno 30]")):  # EROFS
        return result
    for volume in mode.volumes:
        if f"'{volume.guest}/" in last or f"'{volume.guest}'" in last:
            needs = "the file needs chmod o+w" if volume.writable else "it is read-only, and a file needs chmod o+r"
            return replace(result, detail=f"{result.detail}; {volume.guest} is {volume.host} seen as another user: {needs}")
    return result


# -- walking --------------------------------------------------------------------------------------------------------------


def _open_beneath_a_root(host: str, roots: Sequence[str]) -> int:
    if not roots:
        refuse_private(os.path.realpath(host))  # else the advice would be of no use
        raise ConfigError(
            f"The volume {host} cannot be had: no folder is named beneath which volumes may lie.\n"
            f"Name it, or one that holds it, in your configuration: python.volume_roots: [{host}]"
        )
    for root in roots:
        real = os.path.realpath(root)
        for start in (root, real):
            if is_within(host, start):
                return _open_beneath(real, os.path.normpath(os.path.join(real, os.path.relpath(host, start))))
    raise ConfigError(
        f"The volume {host} lies beneath none of the folders that volumes may come from: {', '.join(roots)}.\n"
        "Choose one beneath them, or add its folder to python.volume_roots in your own configuration."
    )


def _open_beneath(root: str, path: str) -> int:
    """A descriptor of `path`, reached from `root` over no symbolic link. Raises ConfigError."""
    try:
        start = os.open(root, O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        raise ConfigError(f"Volumes may lie beneath {root}, which cannot be opened: {exc.strerror}.") from exc
    inner = os.path.relpath(path, root)
    try:
        return _openat2(start, inner) if _has_openat2() else _walk(start, inner)
    except OSError as exc:
        raise ConfigError(f"The volume {path} cannot be mounted: {_reason(exc)}.") from exc
    finally:
        os.close(start)


def _openat2(start: int, inner: str) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    how = (ctypes.c_uint64 * 3)(O_PATH | os.O_CLOEXEC, 0, NO_MAGICLINKS | NO_SYMLINKS | BENEATH)  # flags, mode, resolve
    fd: int = libc.syscall(
        ctypes.c_long(OPENAT2), ctypes.c_int(start), ctypes.c_char_p(os.fsencode(inner)), ctypes.byref(how), ctypes.c_size_t(24)
    )
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return fd


def _has_openat2() -> bool:
    """Not before Linux 5.6, nor where a filter that is older than it refuses it."""
    try:
        fd = os.open("/", O_PATH | os.O_CLOEXEC)
        try:
            os.close(_openat2(fd, "."))
        finally:
            os.close(fd)
    except OSError:
        return False
    return True


def _walk(start: int, inner: str) -> int:
    """The same for a normal path, part by part: every folder on the way is opened as what it is, never as where a link leads."""
    fd = os.dup(start)
    parts = [part for part in inner.split("/") if part not in ("", ".")]
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        flags = O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC | (0 if last else os.O_DIRECTORY)
        try:
            if part == "..":
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            following = os.open(part, flags, dir_fd=fd)
        finally:
            os.close(fd)
        fd = following
        if stat.S_ISLNK(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return fd


def _reason(exc: OSError) -> str:
    if exc.errno in (errno.ELOOP, errno.ENOTDIR):
        return "the way to it goes over a symbolic link or a file; name the folder itself"
    if exc.errno == errno.ENOENT:
        return "it does not exist, and nothing is made for it"
    return exc.strerror or "it cannot be opened"


def _homes() -> set[str]:
    """By the environment and by the user database, of which either may be absent or wrong."""
    found = {os.path.expanduser("~")}
    try:
        found.add(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return found  # a user without an entry, as in many containers
    return found


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _refuse(why: str) -> None:
    if why:
        raise ConfigError(f"These volumes cannot be mounted: {why}.")
