"""Who made a container, written on it as labels; and whether that owner has provably ended."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gleitzeit_nb.sandbox.cgroup import start_time

OWNER, PID, START, BOOT, NAMESPACE, VERSION = (
    f"gleitzeit.{name}" for name in ("owner", "pid", "start", "boot", "pid-namespace", "version")
)

Verdict = Literal["in use", "orphan", "unknown"]


@dataclass(frozen=True)
class Owner:
    """One sandbox of one process. `start` is the process's start in clock ticks since boot: a pid alone is given again."""

    id: str
    pid: int
    start: int
    boot: str
    namespace: int

    @classmethod
    def current(cls) -> Owner:
        pid = os.getpid()
        boot = Path("/proc/sys/kernel/random/boot_id")
        if not boot.exists():  # not Linux: the daemon runs in a virtual machine and nothing can be proven about anybody
            return cls(uuid.uuid4().hex, pid, -1, "", -1)
        return cls(uuid.uuid4().hex, pid, start_time(pid), boot.read_text("ascii").strip(), os.stat("/proc/self/ns/pid").st_ino)

    def labels(self, version: str) -> dict[str, str]:
        return {
            OWNER: self.id,
            PID: str(self.pid),
            START: str(self.start),
            BOOT: self.boot,
            NAMESPACE: str(self.namespace),
            VERSION: version,
        }


def verdict(labels: Mapping[str, str], here: Owner, start_of: Callable[[int], int] = start_time) -> Verdict:
    """Does the process that made this container live? "unknown" whenever that cannot be seen from here.

    Another boot may be another machine on the same daemon; in another pid namespace the pid means another process.
    """
    if not here.boot or labels.get(BOOT) != here.boot or labels.get(NAMESPACE) != str(here.namespace):
        return "unknown"
    try:
        pid, start = int(labels[PID]), int(labels[START])
    except (KeyError, ValueError):
        return "unknown"
    return "in use" if start_of(pid) == start else "orphan"
