"""Starting Python processes that belong to this one: what they import, and how they notice that their owner is gone."""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable
from pathlib import Path

# `python -m` would put the working directory first on the path, and a notebook's folder may well hold a `queue.py`.
_BOOT = """
import sys
sys.path[:] = [entry for entry in sys.path if entry] + [sys.argv[1]]
from importlib import import_module
import_module(sys.argv[2]).main()
"""
_ROOT = str(Path(__file__).resolve().parents[2])
_PARENT_CHECK_S = 1.0


def command(module: str) -> list[str]:
    """The command line that calls `main()` of a module of this package, whatever the working directory holds."""
    return [sys.executable, "-c", _BOOT, _ROOT, module]


def watch_owner(owner_pid: int, on_gone: Callable[[], None]) -> None:
    """Call `on_gone` from a daemon thread once stdin is at its end or the owner is no longer the parent.

    Both are needed: a process that the owner forked may hold the other end of stdin open after the owner's death.
    """

    def wait() -> None:
        stdin = sys.stdin.fileno()
        while os.getppid() == owner_pid:
            readable, _, _ = select.select([stdin], [], [], _PARENT_CHECK_S)
            if readable and not os.read(stdin, 4096):
                break
        on_gone()

    threading.Thread(target=wait, name="owner-watch", daemon=True).start()


def available_cpus() -> int:
    """CPUs that this process may use: its affinity, cut by the quota of its control group where there is one."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        count = os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        if quota != "max":
            count = min(count, round(int(quota) / int(period)))
    except (OSError, ValueError):  # no control groups, or version 1
        pass
    return max(1, count)
