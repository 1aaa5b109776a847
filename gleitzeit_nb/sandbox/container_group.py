"""The control group that Docker put a container into, for reading its counters; whatever the cgroup version and driver."""

from __future__ import annotations

from pathlib import Path

from gleitzeit_nb.sandbox.cgroup import Cgroup, Hierarchy, _mounts, _own_paths, _place


def container_group(pid: int, container: str, proc: Path = Path("/proc")) -> Cgroup | None:
    """None when it cannot be read here: the daemon is on another machine or in a virtual one, or /proc shows other processes."""
    try:
        paths = dict(_own_paths((proc / str(pid) / "cgroup").read_text("utf-8", "surrogateescape")))
        mounts = dict(_mounts((proc / "self/mountinfo").read_text("utf-8", "surrogateescape")))
    except OSError:
        return None
    for version, name in ((1, "memory"), (2, "")):
        # The container's id in the path proves that this pid is the container's; a pid of another machine means somebody else.
        if name in paths and name in mounts and container in paths[name]:
            place = _place(*mounts[name], paths[name])
            group = Cgroup(Hierarchy(version, place.parent, place.parent), place.name)
            return group if place.is_dir() else None
    return None
