"""What the engine asks of the processor. Its prebuilt library dies with SIGILL where these are missing."""

from __future__ import annotations

import platform
from pathlib import Path

from gleitzeit_nb.errors import ChildStartError

CPUINFO = Path("/proc/cpuinfo")
REQUIRED_FLAGS = ("avx2", "fma", "f16c", "bmi2")
_X86 = ("x86_64", "amd64")


def missing_flags(cpuinfo: Path = CPUINFO, machine: str | None = None) -> tuple[str, ...]:
    """Flags that the engine needs and this processor lacks; empty where that cannot be told (not x86-64, not Linux)."""
    if (machine or platform.machine()).lower() not in _X86:
        return ()
    try:
        text = cpuinfo.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ()
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return tuple(flag for flag in REQUIRED_FLAGS if flag not in value.split())
    return ()


def check_cpu(cpuinfo: Path = CPUINFO, machine: str | None = None) -> None:
    """Raise ChildStartError where the engine could only die."""
    if missing := missing_flags(cpuinfo, machine):
        raise ChildStartError(
            f"This processor lacks {', '.join(flag.upper() for flag in missing)}, which the embedded engine needs.\n"
            "Nothing was started. Use an Ollama server instead (OLLAMA_HOST=http://other-machine:11434), "
            "or a machine with an x86-64 processor of 2013 or later."
        )
