"""Runs inside, before the guest: closes the doors behind itself, in an order that each step still permits the next.

It stands in the command (``python3 -I -c``) with `libc`, and imports nothing else of this package, nor what takes its time. It writes
``ready`` to fd 2 once every layer holds; anything else there is the reason why not, and then the guest never starts.
"""

from __future__ import annotations

import os
import resource
import stat
import sys

from gleitzeit_nb.sandbox import libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SET_PDEATHSIG, SET_SECCOMP, SET_SUBREAPER, SET_NO_NEW_PRIVS = 1, 22, 36, 38
FILTER_MODE = 2
PATH_BENEATH = 1
READY = b"ready\n"


def prctl(option: int, value: int, argument: bytes | None = None) -> None:
    libc.call("prctl", option, value, argument, None, None)


def limit(limits: dict[str, int], address_space: int | None) -> None:
    """Hard and soft alike; one that is lower already stays. `address_space` counts what is added to the bare interpreter."""
    if address_space is not None:
        with open("/proc/self/statm", encoding="ascii") as statm:
            limits = {**limits, "RLIMIT_AS": address_space + int(statm.read().split()[0]) * resource.getpagesize()}
    for name, wanted in limits.items():
        kind = getattr(resource, name, None)
        if kind is None:  # RLIMIT_MSGQUEUE and others are not in every build of Python; seccomp refuses mq_open besides
            continue
        hard = resource.getrlimit(kind)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (value, value))


def landlock(attribute: bytes, rules: tuple[tuple[str, int], ...], file_rights: int) -> None:
    ruleset = libc.call("syscall", 444, attribute, len(attribute), 0)
    for path, rights in rules:
        try:
            beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(os.fstat(beneath).st_mode):
            rights &= file_rights
        if rights:
            rule = rights.to_bytes(8, sys.byteorder) + beneath.to_bytes(4, sys.byteorder)  # struct landlock_path_beneath_attr, packed
            libc.call("syscall", 445, ruleset, PATH_BENEATH, rule, 0)
        if not path.startswith("/proc/"):  # the kernel may forget such a directory and make it anew, which no rule would know
            os.close(beneath)
    libc.call("syscall", 446, ruleset, 0)
    os.close(ruleset)


def seccomp(program: bytes) -> None:
    header = (len(program) // 8).to_bytes(2, sys.byteorder) + bytes(6) + libc.address(program)  # struct sock_fprog of a 64-bit machine
    prctl(SET_SECCOMP, FILTER_MODE, header)


def close_doors(config: dict[str, Any]) -> None:
    if config["supervised"]:  # not PID 1: orphans come to the guest, and the guest goes with its supervisor
        prctl(SET_SUBREAPER, 1)
        prctl(SET_PDEATHSIG, 9)
    if config["oom_score_adj"] is not None:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:
            score.write(str(config["oom_score_adj"]))
    limit(config["limits"], config["address_space"])
    if config["affinity"]:
        os.sched_setaffinity(0, config["affinity"])
    if config["filters"] or config["landlock"]:
        prctl(SET_NO_NEW_PRIVS, 1)
    if config["landlock"]:
        landlock(*config["landlock"])
    for program in config["filters"]:
        seccomp(program)
    os.write(2, READY)
