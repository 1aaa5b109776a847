"""A control group of its own for each guest: the only bound on the memory that all its processes use together.

Groups are made below this process's own group (version 1), or beside it below the nearest ancestor that hands the controllers on
(version 2, where a group with processes has no children with controllers), so that limits that hold for this process hold for its guests.
A group's name says who owns it (process, start time, pid namespace); `sweep` removes what provably nobody owns any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gleitzeit_nb.core.execution import Limits

PREFIX = "gleitzeit"
CPU_PERIOD_US = 100_000
_OWN_PROCESSES = 1  # bwrap's outer process, which is in the group too


@dataclass(frozen=True)
class Hierarchy:
    """Where groups can be made: a directory per controller (version 1), or the same one for all (version 2). `cpu` None: not there."""

    version: int
    memory: Path
    pids: Path
    cpu: Path | None = None

    @property
    def controllers(self) -> str:
        return "memory+pids+cpu" if self.cpu else "memory+pids"


def find_hierarchy(proc: Path = Path("/proc/self")) -> tuple[Hierarchy | None, str]:
    """Where this process may make groups; None and the reason where it may not."""
    paths = dict(_own_paths((proc / "cgroup").read_text("utf-8", "surrogateescape")))
    mounts = dict(_mounts((proc / "mountinfo").read_text("utf-8", "surrogateescape")))
    places: dict[str, Path] = {name: _place(*mounts[name], paths[name]) for name in mounts if name in paths}
    if "memory" in places:
        return _version_1(places)
    if "" in places:
        return _version_2(places[""], Path(mounts[""][1]))
    return None, "no cgroup file system with the memory controller is mounted"


def _version_1(places: Mapping[str, Path]) -> tuple[Hierarchy | None, str]:
    if "pids" not in places:
        return None, "the cgroup controller pids is not mounted"
    for name in ("memory", "pids"):
        if not _may_make(places[name]):
            return None, f"{places[name]} cannot be written to (not delegated)"
    cpu = places.get("cpu")
    return Hierarchy(1, places["memory"], places["pids"], cpu if cpu and _may_make(cpu) else None), ""


def _version_2(own: Path, top: Path) -> tuple[Hierarchy | None, str]:
    for place in (own, *own.parents):
        if place.is_relative_to(top):
            handed_on = (place / "cgroup.subtree_control").read_text("ascii").split()
            if {"memory", "pids"} <= set(handed_on) and _may_make(place) and os.access(place / "cgroup.procs", os.W_OK):
                return Hierarchy(2, place, place, place if "cpu" in handed_on else None), ""
    return None, f"no writable group above {own} hands on the controllers memory and pids (not delegated)"


def _may_make(place: Path) -> bool:
    return os.access(place, os.W_OK)  # False also for root where the file system is mounted read-only


def _own_paths(text: str) -> Iterator[tuple[str, str]]:
    """(controller, path) of /proc/self/cgroup; version 2 has the empty name."""
    for line in text.splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            yield name, path


def _mounts(text: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """(controller, (path at the root of the mount, mount point)) of /proc/self/mountinfo."""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        root, point = before.split(" ")[3:5]
        if kind == "cgroup2":
            yield "", (root, point)
        elif kind == "cgroup":
            for name in options.split(","):
                yield name, (root, point)


def _place(root: str, point: str, path: str) -> Path:
    """The directory of group `path`; the mount point itself where the mount shows another part of the tree (in containers)."""
    relative = os.path.relpath(path, root)
    return Path(point) if relative.startswith("..") else Path(os.path.normpath(os.path.join(point, relative)))


class Cgroup:
    """One guest's group. Made with its limits, entered by the guest itself through `entrances`, removed once it is empty."""

    def __init__(self, hierarchy: Hierarchy, name: str) -> None:
        self._hierarchy = hierarchy
        self._memory = hierarchy.memory / name
        self._peak: int | None = None
        self._folders = dict.fromkeys(place / name for place in (hierarchy.memory, hierarchy.pids, hierarchy.cpu) if place)

    def __repr__(self) -> str:
        return f"<Cgroup {self._memory}>"

    @classmethod
    def make(cls, hierarchy: Hierarchy, name: str, limits: Limits) -> Cgroup:
        """OSError when the kernel refuses; then nothing is left. FileExistsError when somebody has the name."""
        group = cls(hierarchy, name)
        made: list[Path] = []
        try:
            for folder in group._folders:
                folder.mkdir()
                made.append(folder)
            for path, value in group._settings(limits):
                path.write_text(value, "ascii")
        except OSError:
            for folder in made:
                folder.rmdir()
            raise
        return group

    def _settings(self, limits: Limits) -> Iterator[tuple[Path, str]]:
        pids, cpu = self._hierarchy.pids / self._memory.name, self._hierarchy.cpu and self._hierarchy.cpu / self._memory.name
        quota = max(1000, round(limits.cpus * CPU_PERIOD_US))
        yield pids / "pids.max", str(limits.pids + _OWN_PROCESSES)
        if self._hierarchy.version == 1:
            yield self._memory / "memory.limit_in_bytes", str(limits.memory_bytes)
            if (self._memory / "memory.memsw.limit_in_bytes").exists():  # only where the kernel counts swap
                yield self._memory / "memory.memsw.limit_in_bytes", str(limits.memory_bytes)
            if cpu:
                yield cpu / "cpu.cfs_period_us", str(CPU_PERIOD_US)
                yield cpu / "cpu.cfs_quota_us", str(quota)
        else:
            yield self._memory / "memory.max", str(limits.memory_bytes)
            if (self._memory / "memory.swap.max").exists():
                yield self._memory / "memory.swap.max", "0"
            if cpu:
                yield cpu / "cpu.max", f"{quota} {CPU_PERIOD_US}"

    @property
    def entrances(self) -> list[str]:
        """The files into which a process with one thread writes 0 to enter.

        In version 1 that is `tasks`: a thread that moves itself need not wait for a moment in which no process forks or ends, and that
        wait takes the kernel 10 ms and more (`cgroup_procs_write_start` in Linux's kernel/cgroup/cgroup.c).
        """
        return [str(folder / ("tasks" if self._hierarchy.version == 1 else "cgroup.procs")) for folder in self._folders]

    def take_in(self, pid: int) -> None:
        """Where that takes its time, move a process in that would move itself in a moment, and does where this fails or comes too late."""
        if self._hierarchy.version == 1:
            return
        with contextlib.suppress(OSError):
            for path in self.entrances:
                Path(path).write_text(str(pid), "ascii")

    def oom_kills(self) -> int:
        return _counter(self._memory / ("memory.oom_control" if self._hierarchy.version == 1 else "memory.events"), "oom_kill")

    def memory_bytes(self) -> int:
        """In use now, without the file pages that the kernel would give back at once."""
        first = self._hierarchy.version == 1
        used = int((self._memory / ("memory.usage_in_bytes" if first else "memory.current")).read_text("ascii"))
        return max(0, used - _counter(self._memory / "memory.stat", "total_inactive_file" if first else "inactive_file"))

    def begin_peak(self) -> None:
        """Count the most memory in use anew from now on, where this process may (version 2: since Linux 6.12)."""
        self.close_peak()
        path = self._memory / ("memory.max_usage_in_bytes" if self._hierarchy.version == 1 else "memory.peak")
        try:
            self._peak = os.open(path, os.O_RDWR | os.O_CLOEXEC)  # version 2 counts anew for this descriptor only
            os.write(self._peak, b"0")
        except OSError:
            self.close_peak()

    def peak_bytes(self) -> int | None:
        """The most since `begin_peak`; None where that could not be counted."""
        try:
            return None if self._peak is None else int(os.pread(self._peak, 32, 0))
        except (OSError, ValueError):
            return None
        finally:
            self.close_peak()

    def close_peak(self) -> None:
        if self._peak is not None:
            os.close(self._peak)
            self._peak = None

    def kill(self) -> None:
        """SIGKILL to everything in the group."""
        whole = self._memory / "cgroup.kill"
        try:
            if whole.exists():
                whole.write_text("1", "ascii")
                return
            for pid in map(int, (self._memory / "cgroup.procs").read_text("ascii").split()):
                os.kill(pid, signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):  # it ended by itself meanwhile
            return

    async def remove(self, within_s: float = 5.0) -> bool:
        """Take the group away, killing what is still in it; False when it is still there after about `within_s`."""
        pause_s = 0.001
        while pause_s < within_s:
            if self._try_remove():
                return True
            self.kill()
            await asyncio.sleep(pause_s)
            pause_s *= 1.5
        return self._try_remove()

    def _try_remove(self) -> bool:
        for folder in self._folders:
            try:
                folder.rmdir()
            except FileNotFoundError:
                continue
            except OSError:  # busy: the last process is not reaped yet
                return False
        return True


def _counter(path: Path, name: str) -> int:
    for line in path.read_text("ascii").splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def group_name(uid: int) -> str:
    """Owner and user; two guests of one user cannot have the same, so that making the group claims the user."""
    return f"{PREFIX}-{_namespace()}-{os.getpid()}-{start_time(os.getpid())}-{uid}"


def sweep(hierarchy: Hierarchy) -> int:
    """Remove the empty groups whose owner has provably ended; how many there were. Those of other pid namespaces are left alone."""
    swept = 0
    for place in dict.fromkeys(place for place in (hierarchy.memory, hierarchy.pids, hierarchy.cpu) if place):
        for folder in place.glob(f"{PREFIX}-{_namespace()}-*"):
            owner = folder.name.split("-")[2:4]
            if len(owner) == 2 and start_time(int(owner[0])) != int(owner[1]):
                try:
                    folder.rmdir()
                except OSError:  # not empty: a guest that its own end will close
                    continue
                swept += 1
    return swept


def start_time(pid: int) -> int:
    """In clock ticks since the machine's start, so that a pid given again is not taken for its former owner; -1 once it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return -1
    return int(stat.rpartition(")")[2].split()[19])


def _namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


def group_of(pid: int, marker: str, proc: Path = Path("/proc")) -> Cgroup | None:
    """The group that somebody else put a process into, for reading its counters; whatever the cgroup version and driver.

    None when it cannot be read here (the process runs on another machine, or in a virtual one), or when its path does not contain
    `marker`: then /proc shows another process under this pid.
    """
    try:
        paths = dict(_own_paths((proc / str(pid) / "cgroup").read_text("utf-8", "surrogateescape")))
        mounts = dict(_mounts((proc / "self/mountinfo").read_text("utf-8", "surrogateescape")))
    except OSError:
        return None
    for version, name in ((1, "memory"), (2, "")):
        if name in paths and name in mounts and marker in paths[name]:
            place = _place(*mounts[name], paths[name])
            return Cgroup(Hierarchy(version, place.parent, place.parent), place.name) if place.is_dir() else None
    return None
