"""The hardened profile: what a container may and has, as the arguments of the Docker SDK. Pure but for reading the seccomp list.

Why each line is there stands in docs/design/sandbox.md. What the guest can see of it, it verifies before anything is run.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import resources
from typing import Any

from gleitzeit_nb.core.execution import Limits, ModeSettings
from gleitzeit_nb.core.runtimes import has_own_kernel
from gleitzeit_nb.sandbox.bundle import PACKAGES_DIR, USER_ID, WORK_DIR, guest_command
from gleitzeit_nb.sandbox.channel import Expectations
from gleitzeit_nb.sandbox.equipment import equipment
from gleitzeit_nb.sandbox.volumes import Held, refuse_doors

# What tells of the whole machine: its memory, clocks, devices, boot options; energy counters, by which other programs can be watched.
MASKED = (
    *("/proc/acpi", "/proc/asound", "/proc/cmdline", "/proc/interrupts", "/proc/kallsyms", "/proc/kcore", "/proc/keys", "/proc/kmsg"),
    *("/proc/latency_stats", "/proc/modules", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats"),
    *("/sys/devices/virtual/powercap", "/sys/firmware"),
)
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

EXPECTATIONS = Expectations(
    pid=1,
    uid=USER_ID,
    capabilities_bounding=0,
    no_new_privs=True,
    seccomp=True,
    read_only_root=True,
    interfaces=("lo",),
    own_network=True,
)


class Profile:
    """The one profile there is. The launcher takes it as an argument, so that tests can show that each line of it matters."""

    expectations = EXPECTATIONS

    def host_config(self, limits: Limits) -> dict[str, Any]:
        """Arguments of `APIClient.create_host_config`."""
        return {
            "network_mode": "none",
            "dns": ["127.0.0.1"],  # else the daemon copies the host's resolv.conf: its name servers and search domains
            "dns_search": ["."],
            "read_only": True,
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges:true", f"seccomp={seccomp_profile()}"],
            "pids_limit": limits.pids,
            "mem_limit": limits.memory_bytes,
            "memswap_limit": limits.memory_bytes,  # the same value: no swap
            "nano_cpus": nano_cpus(limits.cpus),
            "ipc_mode": "private",
            "shm_size": limits.shm_bytes,
            "ulimits": [
                {"Name": "core", "Soft": 0, "Hard": 0},
                {"Name": "fsize", "Soft": limits.file_bytes, "Hard": limits.file_bytes},
                {"Name": "nofile", "Soft": limits.open_files, "Hard": limits.open_files},
                {"Name": "msgqueue", "Soft": 0, "Hard": 0},
                {"Name": "memlock", "Soft": 0, "Hard": 0},
            ],
            "tmpfs": {
                WORK_DIR: _tmpfs(limits.workspace_bytes, limits.workspace_inodes, "0700"),
                "/tmp": _tmpfs(limits.workspace_bytes, limits.workspace_inodes, "1777"),
                # Docker's own /dev/shm has no limit on the number of files, each of which is kernel memory.
                "/dev/shm": _tmpfs(limits.shm_bytes, limits.workspace_inodes, "1777"),
            },
            "log_config": {"Type": "none"},
            "auto_remove": True,
        }

    def equipment(self, mode: ModeSettings, held: Held, info: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """The rest of them: what the mode asks for beside the profile."""
        return equipment(mode, held, info)

    def refuse_doors(self, held: Held) -> None:
        refuse_doors(held)

    def expectations_of(self, mode: ModeSettings, held: Held) -> Expectations:
        found = replace(self.expectations, preload=mode.preload or (), mounts=held.seen)
        if not has_own_kernel(mode.runtime):
            return found
        return replace(found, seccomp=None, no_new_privs=None, read_only_root=None)  # which such a kernel does not say of itself

    def raw_host_config(self) -> dict[str, Any]:
        """What the SDK has no argument for, as the API calls it. Docker's own lists differ from version to version."""
        return {"MaskedPaths": list(MASKED), "ReadonlyPaths": list(READ_ONLY)}

    def container_config(self, image: str, mode: ModeSettings, labels: Mapping[str, str]) -> dict[str, Any]:
        """Arguments of `APIClient.create_container` beside the host's."""
        command = guest_command(preload=mode.preload or (), mounts=[each.guest for each in mode.volumes], packages=[PACKAGES_DIR])
        # Numeric libraries would start a thread for every core of the machine, and each one counts as a process.
        environment = {"HOME": WORK_DIR, "TMPDIR": "/tmp", "LANG": "C.UTF-8", "OMP_NUM_THREADS": str(max(1, math.ceil(mode.limits.cpus)))}
        return {
            "image": image,
            "entrypoint": command[:1],  # an image's own entry point would be process 1 in the guest's place
            "command": command[1:],
            "user": f"{USER_ID}:{USER_ID}",
            "working_dir": WORK_DIR,
            "hostname": "sandbox",
            "environment": {**environment, **mode.environment},
            "labels": dict(labels),
            "stdin_open": True,
            "tty": False,
            "healthcheck": {"test": ["NONE"]},  # an image's health check would run beside the guest
            "use_config_proxy": False,  # the user's proxy settings are none of the sandbox's business
        }


def nano_cpus(cpus: float) -> int:
    return round(cpus * 1e9)


@functools.lru_cache(maxsize=1)
def seccomp_profile() -> str:
    """As JSON text: the API takes the text; only the command line reads a path."""
    return json.dumps(json.loads(resources.files("gleitzeit_nb.sandbox").joinpath("seccomp.json").read_text("ascii")))


def _tmpfs(size_bytes: int, inodes: int, mode: str) -> str:
    # uid and gid, because a tmpfs that is also the working directory is made root's and 0755 otherwise.
    return f"rw,noexec,nosuid,nodev,size={size_bytes},nr_inodes={inodes},uid={USER_ID},gid={USER_ID},mode={mode}"
