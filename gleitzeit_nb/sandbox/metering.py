"""What a run used, as the kernel counted it for its processes. Travels to the guest: standard library only, Python 3.8."""

from __future__ import annotations

import os
import resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")


class Meter:
    """`cpu_s` of all processes that ended, with those that they waited for; `peak_bytes` of the largest one."""

    def __init__(self) -> None:
        self.cpu_s = 0.0
        self.peak_bytes = 0

    def add(self, used: resource.struct_rusage) -> None:
        self.cpu_s += used.ru_utime + used.ru_stime
        self.peak_bytes = max(self.peak_bytes, used.ru_maxrss << 10)

    def report(self, cpu_before_s: float = 0.0) -> dict[str, Any]:
        return {"cpu_s": max(0.0, self.cpu_s - cpu_before_s), "peak_bytes": self.peak_bytes}


def of_process(pid: int) -> Meter:
    """Of one that goes on; nothing for one that has gone."""
    meter = Meter()
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        meter.cpu_s = sum(map(int, fields[11:15])) * _TICK_S  # utime, stime and those of its children (proc_pid_stat(5))
        with open(f"/proc/{pid}/status") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    meter.peak_bytes = int(line.split()[1]) << 10
    except (OSError, ValueError, IndexError):
        return meter
    return meter
