"""What the kernel says about this process. Travels to the guest: standard library only, Python 3.8."""

from __future__ import annotations

import os
import resource
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

IFF_UP = 1
# The kernel puts these into every new network namespace when their modules are loaded; they are down, and stay so.
TEMPLATE_INTERFACES = frozenset("tunl0 gre0 gretap0 erspan0 ip_vti0 ip6_vti0 sit0 ip6tnl0 ip6gre0".split())


def status() -> dict[str, int]:
    numbers = {}
    with open("/proc/self/status") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name in ("CapBnd", "CapEff"):
                numbers[name] = int(value, 16)
            elif name in ("NoNewPrivs", "Seccomp"):
                numbers[name] = int(value)
    return numbers


def identity() -> dict[str, Any]:
    seen = status()
    return {
        "pid": os.getpid(),
        "uid": os.getuid(),
        "capabilities_bounding": seen.get("CapBnd"),
        "capabilities_effective": seen.get("CapEff"),
        "no_new_privs": seen.get("NoNewPrivs"),
        "seccomp": seen.get("Seccomp"),
        "read_only_root": bool(os.statvfs("/").f_flag & os.ST_RDONLY),
        "interfaces": interfaces(),
    }


def interfaces() -> list[str] | None:
    """Names of the network interfaces that are up; None when that cannot be seen."""
    try:
        names = os.listdir("/sys/class/net")
        return sorted(name for name in names if _flags(name) & IFF_UP)
    except OSError:
        pass
    try:
        with open("/proc/net/dev") as file:
            names = [line.partition(":")[0].strip() for line in file if ":" in line]
    except OSError:
        return None
    return sorted(name for name in names if name not in TEMPLATE_INTERFACES)


def _flags(interface: str) -> int:
    with open(f"/sys/class/net/{interface}/flags") as file:
        return int(file.read(), 16)


def mounts(paths: list[str]) -> dict[str, Any]:
    """What this process sees at each mount point; None where it sees nothing."""
    found: dict[str, Any] = {}
    for path in paths:
        try:
            status, system = os.stat(path), os.statvfs(path)
        except OSError:
            found[path] = None
            continue
        look = os.R_OK | (os.X_OK if stat.S_ISDIR(status.st_mode) else 0)
        found[path] = {
            "seen": [status.st_dev, status.st_ino, bool(system.f_flag & os.ST_RDONLY)],
            "readable": os.access(path, look),
            "writable": os.access(path, look | os.W_OK),
            "uid": os.getuid(),
        }
    return found


def python_in(paths: list[str]) -> bool:
    """Does the Python that runs this come from one of `paths`, where somebody may have put it?"""
    own = [os.path.realpath(path) for path in (sys.executable, sys.prefix, sys.base_prefix, os.__file__, *sys.path)]
    return any(place == path or place.startswith(path + "/") for place in own for path in paths)


def packages(names: tuple[str, ...], places: list[str]) -> list[str]:
    """Those of `names` that are installed in one of `places`."""
    return [name for name in names if any(os.path.isfile(os.path.join(place, name, "__init__.py")) for place in places)]


def nature() -> tuple[object, ...]:
    """What a process of the same user can change about the guest from outside, and the next run would inherit."""
    limits = tuple(resource.getrlimit(getattr(resource, name)) for name in sorted(dir(resource)) if name.startswith("RLIMIT_"))
    return limits, os.sched_getaffinity(0), os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0)


def children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return _children_by_scan()


def _children_by_scan() -> list[int]:
    """For kernels that keep no list of children."""
    found = []
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                parent = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        if name.isdigit() and parent == os.getpid():
            found.append(int(name))
    return found
