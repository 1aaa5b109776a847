"""The seccomp allowlist as a classic BPF program.

`seccomp.json` is written in Docker's profile format and is passed to Docker as it stands; here the same file becomes the bytes that
bubblewrap's ``--seccomp`` and ``prctl(PR_SET_SECCOMP)`` take. The program's shape is that of Linux's `seccomp_filter` document: check the
architecture, refuse the x32 numbers, then one comparison per system call. Only what the file uses is understood: allow or an errno, and
the comparisons EQ and MASKED_EQ; anything else is a ValueError, so that a profile cannot say more than the kernel is told.
"""

from __future__ import annotations

import errno
import json
import struct
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any, Literal

# What landlock does not judge, and namespaces would: where there are none, these calls go. Through a datagram socket (a socket pair is
# enough) any socket in the file system can be spoken to.
WITHOUT_NAMESPACES = ("accept", "accept4", "bind", "connect", "listen", "semtimedop", "socket", "socketpair", "prlimit64")
WATCHING_CALLS = ("inotify_add_watch", "inotify_init", "inotify_init1")
OWNERSHIP_CALLS = ("chmod", "chown", "fchmodat", "fchownat", "lchown", "utime", "utimensat", "utimes")
LANDLOCK_CALLS = ("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self")
SCHEDULER_CALLS = ("sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler", "setpriority")

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # linux/audit.h: EM_* | __AUDIT_ARCH_64BIT | __AUDIT_ARCH_LE
_X32_BIT = 0x40000000
_MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS

_LOAD, _EQUAL, _AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_NR, _ARCH, _ARGS = 0, 4, 16  # offsets in struct seccomp_data
_RET_ALLOW, _RET_ERRNO = 0x7FFF0000, 0x00050000

Operator = Literal["SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ"]
_Instruction = tuple[int, int, int, int]


@dataclass(frozen=True)
class Condition:
    """One argument of a call: equal to `value`, or (masked) equal to `value_two` in the bits of `value`."""

    index: int
    operator: Operator
    value: int
    value_two: int = 0


@dataclass(frozen=True)
class Rule:
    """What happens to the calls `names` when all conditions hold: allowed (`errno` None) or refused with that errno."""

    names: tuple[str, ...]
    errno: int | None = None
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class Profile:
    """Rules, and what happens to every call that none of them speaks of. A call's first rule that holds decides."""

    rules: tuple[Rule, ...]
    default_errno: int | None = errno.EPERM

    def allowing(self, names: Iterable[str]) -> Profile:
        """The same, with `names` allowed whatever was said of them before."""
        names = tuple(names)
        return replace(self, rules=(*self.refusing(names).rules, Rule(names)))

    def refusing(self, names: Collection[str]) -> Profile:
        """The same without any rule for `names`, which leaves them to the default."""
        kept = (replace(rule, names=tuple(name for name in rule.names if name not in names)) for rule in self.rules)
        return replace(self, rules=tuple(rule for rule in kept if rule.names))

    def without_namespaces(self, *, shares_user: bool) -> Profile:
        """For code that lives among other processes and files. `shares_user`: some of them belong to its own user."""
        refused = (*WITHOUT_NAMESPACES, *WATCHING_CALLS, *SCHEDULER_CALLS, *(OWNERSHIP_CALLS if shares_user else ()))
        streams_only = Rule(("socketpair",), conditions=(Condition(1, "SCMP_CMP_MASKED_EQ", 0xF, 1),))  # type & 0xF == SOCK_STREAM
        itself_only = Rule(("prlimit64",), conditions=(Condition(0, "SCMP_CMP_EQ", 0),))
        return replace(self, rules=(*self.refusing(refused).rules, streams_only, itself_only))


@cache
def load_profile() -> Profile:
    """The allowlist that ships with this package."""
    return parse_profile(json.loads(profile_text()))


def profile_text() -> str:
    """`seccomp.json` as it stands: what Docker's API takes."""
    return resources.files("gleitzeit_nb.sandbox").joinpath("seccomp.json").read_text("utf-8")


def parse_profile(document: Mapping[str, Any]) -> Profile:
    return Profile(
        rules=tuple(_parse_rule(entry) for entry in document["syscalls"]),
        default_errno=_parse_action(document["defaultAction"], document.get("defaultErrnoRet")),
    )


def _parse_rule(entry: Mapping[str, Any]) -> Rule:
    unknown = set(entry) - {"comment", "names", "action", "errnoRet", "args"}
    if unknown:
        raise ValueError(f"seccomp rule for {entry.get('names')}: {', '.join(sorted(unknown))} is not understood")
    return Rule(
        names=tuple(entry["names"]),
        errno=_parse_action(entry["action"], entry.get("errnoRet")),
        conditions=tuple(Condition(each["index"], each["op"], each["value"], each.get("valueTwo", 0)) for each in entry.get("args", ())),
    )


def _parse_action(action: str, number: int | None) -> int | None:
    if action == "SCMP_ACT_ALLOW":
        return None
    if action == "SCMP_ACT_ERRNO":
        return errno.EPERM if number is None else number
    raise ValueError(f"seccomp action {action!r} is not understood; allowed are SCMP_ACT_ALLOW and SCMP_ACT_ERRNO")


@cache
def syscall_numbers(machine: str) -> Mapping[str, int]:
    """Names and numbers of the system calls on `machine` (`os.uname().machine`). KeyError for one that has no table."""
    table = json.loads(resources.files("gleitzeit_nb.sandbox.jail").joinpath("syscalls.json").read_text("utf-8"))
    numbers: dict[str, int] = table[machine]
    return numbers


def compile_profile(profile: Profile, machine: str) -> bytes:
    """The program as an array of `struct sock_filter`. Names that `machine` does not have are left out; unknown names are an error."""
    program: list[_Instruction] = [(_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, AUDIT_ARCH[machine]), _verdict(errno.EPERM), (_LOAD, 0, 0, _NR)]
    if machine == "x86_64":
        program += [(_AT_LEAST, 0, 1, _X32_BIT), _verdict(errno.EPERM)]
    for number, rules in _by_number(profile, machine).items():
        body = _body(rules, profile.default_errno)
        program += [(_EQUAL, 0, len(body), number), *body]
    program.append(_verdict(profile.default_errno))
    if len(program) > _MAX_INSTRUCTIONS:
        raise ValueError(f"seccomp program of {len(program)} instructions; the kernel takes {_MAX_INSTRUCTIONS}")
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in program)


def refusal_filter(names: Iterable[str], machine: str) -> bytes:
    """A program that refuses `names` and leaves everything else to the filters that were loaded before it."""
    return compile_profile(Profile((Rule(tuple(names), errno.EPERM),), default_errno=None), machine)


def _by_number(profile: Profile, machine: str) -> dict[int, list[Rule]]:
    numbers = syscall_numbers(machine)
    elsewhere = {name for other in AUDIT_ARCH for name in syscall_numbers(other)}
    found: dict[int, list[Rule]] = {}
    for rule in profile.rules:
        for name in rule.names:
            if name in numbers:
                found.setdefault(numbers[name], []).append(rule)
            elif name not in elsewhere:
                raise ValueError(f"seccomp profile names {name!r}, which no table of system calls holds")
    return found


def _body(rules: list[Rule], default_errno: int | None) -> list[_Instruction]:
    """What follows once the number matched; it always ends in a verdict, since the comparisons have used up the accumulator."""
    body: list[_Instruction] = []
    for rule in rules:
        if not rule.conditions:
            return [*body, _verdict(rule.errno)]
        body += _guarded(rule)
    return [*body, _verdict(default_errno)]


def _guarded(rule: Rule) -> list[_Instruction]:
    tests = [test for condition in rule.conditions for test in _tests(condition)]
    code: list[_Instruction] = []
    left = sum(len(test) for test in tests) + 1  # instructions from here to the end of this rule, its verdict included
    for test in tests:
        left -= len(test)
        *prepare, (operation, _, _, value) = test
        code += [*prepare, (operation, 0, left, value)]
    return [*code, _verdict(rule.errno)]


def _tests(condition: Condition) -> list[list[_Instruction]]:
    """Both 32-bit halves of the 64-bit argument, low half first (both machines are little-endian)."""
    if not 0 <= condition.index < 6:
        raise ValueError(f"seccomp condition on argument {condition.index}; a system call has arguments 0 to 5")
    if condition.operator == "SCMP_CMP_EQ":
        mask, wanted = (1 << 64) - 1, condition.value
    elif condition.operator == "SCMP_CMP_MASKED_EQ":
        mask, wanted = condition.value, condition.value_two
    else:
        raise ValueError(f"seccomp comparison {condition.operator!r} is not understood")
    tests = []
    for offset, shift in ((0, 0), (4, 32)):
        load = (_LOAD, 0, 0, _ARGS + 8 * condition.index + offset)
        half = (mask >> shift) & 0xFFFFFFFF
        masked = [] if half == 0xFFFFFFFF else [(_AND, 0, 0, half)]
        tests.append([load, *masked, (_EQUAL, 0, 0, (wanted >> shift) & 0xFFFFFFFF)])
    return tests


def _verdict(number: int | None) -> _Instruction:
    return (_RETURN, 0, 0, _RET_ALLOW if number is None else _RET_ERRNO | number)
