"""What one run may use, and the least with which Python still starts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

KIB = 1 << 10
MIB = 1 << 20

LEAST: Mapping[str, float] = {
    # Measured with Python 3.11 and a run that prints a line: 10 MiB in a container and 11 in restricted mode, 2 tasks (the guest
    # and the code), 20 files. The rest is room for other Pythons and kernels.
    "memory_bytes": 16 * MIB,
    "pids": 2,
    "open_files": 24,
    "cpus": 0.01,  # the least that a Docker daemon takes
    "timeout_s": 0.05,  # several times what a warm guest takes to start the code
    "file_bytes": 4 * KIB,
    "workspace_bytes": 64 * KIB,
    "workspace_inodes": 8,
    "shm_bytes": 64 * KIB,
    "output_bytes": 64,
    "value_bytes": 64,
    "display_bytes": 64,
}
OUTPUT_BYTES_MOST = 64 * MIB  # per stream: the guest holds the last quarter in its own memory


@dataclass(frozen=True)
class Limits:
    """What one run may use. `memory_bytes` is closed for swap too; `output_bytes` counts per stream; `timeout_s` is wall clock.

    `workspace_*` hold for the work directory and for /tmp, each; `shm_bytes` for /dev/shm.
    """

    timeout_s: float = 60.0
    memory_bytes: int = 512 * MIB
    cpus: float = 1.0
    pids: int = 64
    output_bytes: int = 1 * MIB
    file_bytes: int = 128 * MIB
    open_files: int = 1024
    workspace_bytes: int = 64 * MIB
    workspace_inodes: int = 8192
    shm_bytes: int = 64 * MIB
    value_bytes: int = 64 * MIB  # one input or output value, encoded
    display_bytes: int = 16 * MIB  # everything that one run shows: texts, tables, pictures

    def __post_init__(self) -> None:
        """Raises ValueError for what no run could live with."""
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if not value > 0 or math.isinf(value):
                raise ValueError(f"limit {name} must be a number greater than 0, not {value!r}")
            if value < LEAST[name]:
                raise ValueError(f"limit {name} must be at least {LEAST[name]:g}, not {value!r}: a run needs that to start")
        if self.output_bytes > OUTPUT_BYTES_MOST:
            raise ValueError(f"limit output_bytes must be at most {OUTPUT_BYTES_MOST}, not {self.output_bytes!r}")


def exceeded(limits: Limits, ceiling: Mapping[str, float]) -> Iterator[tuple[str, float, float]]:
    """(limit, what is asked for, the most there is) for everything that is more than `ceiling` has it."""
    for name in Limits.__dataclass_fields__:  # not in the ceiling's order: a message should not change from one process to the next
        asked: float = getattr(limits, name)
        if name in ceiling and asked > ceiling[name]:
            yield name, asked, ceiling[name]
