"""A gibibyte of output against the kernel's memory: how much a process grows that runs such code, measured in a process of its own.

Run as a program it measures itself: `python -m bench.sandbox_output MODE CAP_BYTES FLOOD`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from bench.promises import Promise, at_most
from gleitzeit_nb.core.execution import DOCKER_MODE, MIB
from gleitzeit_nb.errors import SandboxError
from gleitzeit_nb.sandbox import Sandbox

FLOOD_BYTES = 1 << 30
FLOODS = {
    "text": "import os\npiece = b'x' * (1 << 20)\nfor _ in range(1024): os.write(1, piece)\n",
    "no text": "import os\npiece = b'\\xff' * (1 << 20)\nfor _ in range(1024): os.write(1, piece)\n",
}
CAP_BYTES = 1 * MIB  # the default
MOST = 4.0  # times the cap


def resident(name: str) -> int:
    """VmRSS (now) or VmHWM (at most) of this process, in bytes."""
    status = Path("/proc/self/status").read_text("ascii", "replace")
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith(f"{name}:"))


def begin() -> int:
    """What is resident now; the high-water mark begins anew (proc_pid_clear_refs(5))."""
    Path("/proc/self/clear_refs").write_text("5")
    return resident("VmRSS")


async def growth(mode: str, cap_bytes: int, flood: str) -> dict[str, float]:
    """What one flood makes of this process, once it is warm: a run like it, but small, went before."""
    heard = 0

    def listen(_: str, text: str) -> None:
        nonlocal heard
        heard += len(text)

    async with Sandbox() as sandbox:
        await sandbox.execute("print(1)", mode, on_output=listen, max_output=cap_bytes)
        before = begin()
        result = await sandbox.execute(FLOODS[flood], mode, on_output=listen, max_output=cap_bytes, timeout=300)
        grown = resident("VmHWM") - before
    if not result.ok or sum(result.truncated.values()) + cap_bytes != FLOOD_BYTES:
        raise RuntimeError(f"the flood ended otherwise: {result.status} {result.detail} {dict(result.truncated)}")
    return {"grown": max(0, grown), "kept": len(result.stdout), "heard": heard, "run_s": result.timings.run_s}


async def measured(mode: str, cap_bytes: int, flood: str) -> dict[str, float]:
    """`growth` in a fresh process."""
    command = [sys.executable, "-m", "bench.sandbox_output", mode, str(cap_bytes), flood]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} failed")
    found: dict[str, float] = json.loads(output)
    return found


async def output_promises() -> AsyncIterator[Promise]:
    async with Sandbox() as sandbox:
        try:
            await sandbox.check(DOCKER_MODE)
        except SandboxError as error:
            print(f"sandbox output: not measured, {error}")
            return
    for flood in FLOODS:
        found = await measured(DOCKER_MODE, CAP_BYTES, flood)
        seen = f"{found['grown'] / MIB:.1f} MiB for 1 GiB of output in {found['run_s']:.1f} s, cap {CAP_BYTES // MIB} MiB"
        yield at_most(f"memory for a flood of {flood}", found["grown"] / CAP_BYTES, MOST, seen, "×")


if __name__ == "__main__":
    print(json.dumps(asyncio.run(growth(sys.argv[1], int(sys.argv[2]), sys.argv[3]))))
