"""Decisions about a guest: is it isolated as promised, can it use what it was given, and how did its run end. Pure."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gleitzeit_nb.core.execution import MIB, Limits, ResultStatus
from gleitzeit_nb.sandbox.channel import Expectations
from gleitzeit_nb.sandbox.protocol import FrameError

SECCOMP_FILTER = 2  # the mode that /proc/self/status shows for a filter (prctl(2))
OUT_OF_MEMORY = "MemoryError"
REASONS = ("end", "timeout", "cancel")
MOST_S = 1e9


def mismatches(expected: Expectations, facts: Mapping[str, Any]) -> list[str]:
    """What the guest found about itself that is not as promised, one phrase each; none when all is well."""
    wanted: dict[str, Any] = {"dumpable": 0, "pid": expected.pid, "uid": expected.uid, "read_only_root": expected.read_only_root}
    if expected.capabilities_bounding is not None:
        wanted["capabilities_bounding"] = wanted["capabilities_effective"] = expected.capabilities_bounding
    if expected.no_new_privs is not None:
        wanted["no_new_privs"] = int(expected.no_new_privs)
    if expected.seccomp is not None:
        wanted["seccomp"] = SECCOMP_FILTER if expected.seccomp else 0
    found = [
        f"{name} is {facts.get(name)!r} instead of {value!r}"
        for name, value in wanted.items()
        if value is not None and facts.get(name) != value
    ]
    up = facts.get("interfaces")
    if expected.interfaces is not None and (not isinstance(up, list) or not set(up) <= set(expected.interfaces)):
        found.append(f"network interfaces are {up!r} instead of at most {list(expected.interfaces)!r}")
    return [*found, *_other_mounts(expected, facts)] if expected.mounts else found


def _other_mounts(expected: Expectations, facts: Mapping[str, Any]) -> Iterator[str]:
    reports = facts.get("mounts")
    for place, wanted in expected.mounts.items():
        report = reports.get(place) if isinstance(reports, dict) else None
        seen = report.get("seen") if isinstance(report, dict) else None
        if seen != list(wanted):
            yield f"at {place} there is {seen!r} instead of {list(wanted)!r} (device, inode, read-only): not what was checked here"
    if facts.get("python_in_mount") is not False:
        yield "its Python comes from a volume"


def unusable(volumes: Mapping[str, tuple[int, int, bool]], seen: Mapping[str, Any]) -> str:
    """What the guest's user may not do with its volumes, and the remedy; "" when it may do everything it should."""
    for guest, report in seen.items():
        if guest not in volumes or not isinstance(report, dict):
            continue
        wanted = "read" if not report.get("readable") else "write" if not volumes[guest][2] and not report.get("writable") else ""
        if wanted:
            grant = "rX" if wanted == "read" else "rwX"
            return (
                f"The sandbox's user {report.get('uid')} may not {wanted} the volume at {guest}, so nothing was run.\n"
                f"Let others in (chmod -R o+{grant} FOLDER), or that user alone (setfacl -R -m u:{report.get('uid')}:{grant} FOLDER)."
            )
    return ""


@dataclass(frozen=True)
class Ending:
    """How the guest says that a run ended. `reason`: end, timeout, cancel. `clean`: everything killed, wiped and unchanged.

    `alive`: a session's process, which goes on after its run. `peak_bytes`: of the largest process.
    """

    reason: str
    exit_code: int | None
    run_s: float
    clean: bool
    fault: str = ""
    alive: bool = False
    cpu_s: float | None = None
    peak_bytes: int | None = None

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Ending:
        """Raises FrameError when a field is missing or impossible."""
        if "fault" in content:
            return cls("end", None, 0.0, content.get("clean") is True, str(content["fault"])[:500])
        reason, code, run_s, clean = (content.get(name) for name in ("reason", "exit_code", "run_s", "clean"))
        if reason not in REASONS or not isinstance(run_s, float) or not isinstance(clean, bool):
            raise FrameError("the end of a run is described impossibly")
        if not (code is None or type(code) is int):
            raise FrameError("the end of a run has an impossible exit code")
        cpu_s, peak = content.get("cpu_s"), content.get("peak_bytes")
        timed = cpu_s is None or (isinstance(cpu_s, float) and 0 <= cpu_s < MOST_S)
        if not timed or not (peak is None or (type(peak) is int and peak >= 0)):
            raise FrameError("the end of a run says impossibly what it used")
        return cls(str(reason), code, run_s, clean, alive=content.get("alive") is True, cpu_s=cpu_s, peak_bytes=peak)


def judge(
    ending: Ending | None, limits: Limits, *, fault_type: str = "", oom_kills: int = 0, cancelled: bool = False, late: bool = False
) -> tuple[ResultStatus, str]:
    """(status, one line on why it is not ok). `ending` None: the guest went away; `late`: the host's own deadline struck."""
    memory = f"used more memory than its limit of {limits.memory_bytes // MIB} MiB"
    aside = "; the kernel also killed a process of it for memory" if oom_kills else ""
    if cancelled or (ending is not None and ending.reason == "cancel"):
        return "killed", "stopped before its end"
    if late:
        return "timeout", f"ran longer than {limits.timeout_s:g} s, and the guest did not end it: the sandbox was killed"
    if ending is None:
        return ("oom", memory) if oom_kills else ("lost", "the sandbox went away during the run; what it had printed is kept")
    if ending.fault:
        return "lost", f"the sandbox could not run it: {ending.fault}"
    if ending.reason == "timeout":
        return "timeout", f"ran longer than {limits.timeout_s:g} s{aside}"
    if ending.exit_code == 0:
        return "ok", ""
    if ending.exit_code == -signal.SIGKILL and oom_kills:
        return "oom", memory
    if fault_type == OUT_OF_MEMORY:
        return "oom", f"asked for more memory than it can have; its limit is {limits.memory_bytes // MIB} MiB"
    return "error", _why(ending.exit_code, fault_type) + aside


def _why(exit_code: int | None, fault_type: str) -> str:
    if exit_code is None:
        return "ended without an exit code"
    if exit_code < 0:
        try:
            return f"ended by signal {signal.Signals(-exit_code).name}"
        except ValueError:
            return f"ended by signal {-exit_code}"
    return f"raised {fault_type[:200]}" if fault_type else f"left with exit code {exit_code}"
