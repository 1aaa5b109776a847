"""The command lines of a guest that is a process of this machine: jail (outside) → preamble (inside) → the shared guest."""

from __future__ import annotations

import marshal
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from gleitzeit_nb.core.execution import Limits, ModeSettings
from gleitzeit_nb.sandbox.bundle import compile_module, guest_command
from gleitzeit_nb.sandbox.jail.landlock import FILE_RIGHTS, Ruleset

LOADER = """\
import marshal, sys
for name, code in marshal.loads({!a}):
    module = sys.modules[name] = type(sys)(name)
    module.__path__ = []
    exec(code, module.__dict__)
"""


Mounts = tuple[Sequence[str], Sequence[tuple[str, str]]]


@dataclass(frozen=True)
class Doors:
    """What the preamble closes. `address_space` None: memory is bounded otherwise. `supervised`: it is not PID 1."""

    limits: Mapping[str, int]
    address_space: int | None = None
    affinity: tuple[int, ...] = ()
    landlock: Ruleset | None = None
    filters: tuple[bytes, ...] = ()
    supervised: bool = False
    oom_score_adj: int | None = None


@dataclass(frozen=True)
class Jail:
    """What `entry.py` does before `program`. `directory` is the work directory, removed in the end by the supervisor.

    `file` is what is executed where `program`'s first word is a link that may not lead there any more.
    `mounts`: (paths to open up for strangers, tmpfs as (mount point, options)); None leaves the mount namespace alone.
    """

    program: Sequence[str]
    cgroup: Sequence[str] = ()
    mounts: Mounts | None = None
    user: tuple[int, int] | None = None
    supervise: bool = False
    directory: str | None = None
    file: str | None = None


def guest_program(python: str, work: str, wiped: Sequence[str], doors: Doors) -> list[str]:
    """The shared guest's command with the preamble before its bootstrap. Nothing in it is secret."""
    command = guest_command(python, work=work, wiped=wiped)
    bootstrap = command.index("-c") + 1
    landlock = doors.landlock and (doors.landlock.attribute, doors.landlock.rules, FILE_RIGHTS)
    config = {
        "limits": dict(doors.limits),
        "address_space": doors.address_space,
        "affinity": doors.affinity,
        "landlock": landlock,
        "filters": doors.filters,
        "supervised": doors.supervised,
        "oom_score_adj": doors.oom_score_adj,
    }
    start = "exec(compile({}, '<bootstrap>', 'exec'), {{'__name__': '__main__'}})"
    command[bootstrap] = f"{program('preamble')}module.close_doors({config!a})\n{start.format(ascii(command[bootstrap]))}\n"
    return command


@cache
def jail_command() -> tuple[str, ...]:
    """To be started with the program's environment, or with none. It waits for a message (`jail_message`) before it does anything."""
    return (sys.executable, "-I", "-S", "-c", f"{program('entry')}module.main()\n")


def jail_message(jail: Jail) -> bytes:
    config = {
        "program": list(jail.program),
        "cgroup": list(jail.cgroup),
        "mounts": None if jail.mounts is None else tuple(map(list, jail.mounts)),
        "user": jail.user,
        "supervise": jail.supervise,
        "directory": jail.directory,
        "file": jail.file,
        "parent": os.getpid(),
    }
    data = marshal.dumps(config)
    return len(data).to_bytes(4, "big") + data


def guest_environment(mode: ModeSettings, limits: Limits, python: str, home: str, temporary: str) -> dict[str, str]:
    """Nothing of the host's; what the mode names comes last and wins."""
    return {
        "PATH": f"{os.path.dirname(python)}:/usr/local/bin:/usr/bin:/bin",
        "HOME": home,
        "TMPDIR": temporary,
        "LANG": "C.UTF-8",
        "USER": "sandbox",
        "OMP_NUM_THREADS": str(whole_cpus(limits)),  # numeric libraries would start a thread for every core of the machine
        **mode.environment,
    }


def resource_limits(limits: Limits, processes: int | None) -> dict[str, int]:
    """For every process inside; `processes` counts all that the user id runs in its user namespace, None leaves that alone."""
    fixed = {"RLIMIT_CORE": 0, "RLIMIT_MEMLOCK": 0, "RLIMIT_MSGQUEUE": 0}
    fixed |= {"RLIMIT_FSIZE": limits.file_bytes, "RLIMIT_NOFILE": limits.open_files}
    return fixed if processes is None else {**fixed, "RLIMIT_NPROC": processes}


def whole_cpus(limits: Limits) -> int:
    return max(1, math.ceil(limits.cpus))


@cache
def program(name: str) -> str:
    """Lines that make `module` of a module and of `libc`, for this same Python, which then need not compile them at every start."""
    modules = [(each, compile_module("", each)) for each in ("gleitzeit_nb", "gleitzeit_nb.sandbox")]
    for each in ("gleitzeit_nb.sandbox.libc", f"gleitzeit_nb.sandbox.jail.{name}"):
        package, _, stem = each.rpartition(".")
        modules.append((each, compile_module(resources.files(package).joinpath(f"{stem}.py").read_text("utf-8"), each)))
    return LOADER.format(marshal.dumps(modules))
