"""The compiled filter decides as the profile says, in an interpreter written from the kernel's rules; the kernel itself is asked in
test_restricted.py."""

from __future__ import annotations

import errno
import os
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.sandbox.jail.bpf import (
    AUDIT_ARCH,
    LANDLOCK_CALLS,
    OWNERSHIP_CALLS,
    SCHEDULER_CALLS,
    Condition,
    Profile,
    Rule,
    compile_profile,
    load_profile,
    parse_profile,
    refusal_filter,
    syscall_numbers,
)

MACHINES = tuple(AUDIT_ARCH)
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
HEADER = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")


def decide(program: bytes, arch: int, number: int, arguments: tuple[int, ...] = ()) -> int | None:
    """What the kernel would answer: None for allowed, else the errno. Fails on any instruction that the kernel would refuse to load."""
    data = struct.pack("<iIQ6Q", number, arch, 0, *(*arguments, *[0] * (6 - len(arguments))))
    code = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    counter = accumulator = 0
    while True:
        operation, when_true, when_false, value = code[counter]
        counter += 1
        if operation == 0x20:
            assert value % 4 == 0
            assert value < 64
            accumulator = struct.unpack_from("<I", data, value)[0]
        elif operation == 0x54:
            accumulator &= value
        elif operation == 0x15:
            counter += when_true if accumulator == value else when_false
        elif operation == 0x35:
            counter += when_true if accumulator >= value else when_false
        elif operation == 0x06:
            return None if value == ALLOW else value - ERRNO
        else:
            raise AssertionError(f"operation {operation:#x}")


def by_hand(profile: Profile, machine: str, number: int, arguments: tuple[int, ...]) -> int | None:
    names = {name for name, each in syscall_numbers(machine).items() if each == number}
    for rule in profile.rules:
        if names & set(rule.names) and all(holds(condition, arguments[condition.index]) for condition in rule.conditions):
            return rule.errno
    return profile.default_errno


def holds(condition: Condition, value: int) -> bool:
    if condition.operator == "SCMP_CMP_EQ":
        return value == condition.value
    return value & condition.value == condition.value_two


class Filter:
    def __init__(self, profile: Profile, machine: str = "x86_64") -> None:
        self.program = compile_profile(profile, machine)
        self.machine = machine

    def __call__(self, name: str, *arguments: int) -> int | None:
        return decide(self.program, AUDIT_ARCH[self.machine], syscall_numbers(self.machine)[name], arguments)


@pytest.mark.parametrize("machine", MACHINES)
def test_every_call_is_decided_as_the_profile_says(machine: str) -> None:
    program = compile_profile(load_profile(), machine)
    for number in [*syscall_numbers(machine).values(), 600, 5000]:
        assert decide(program, AUDIT_ARCH[machine], number, (0,) * 6) == by_hand(load_profile(), machine, number, (0,) * 6)


arguments = st.one_of(
    st.integers(0, (1 << 64) - 1), st.sampled_from([0, 1, 2, 10, 16, 0x10000, 0x10000000, 0xFFFFFFFF, 0x7E020080, 1 << 32])
)


@given(
    machine=st.sampled_from(MACHINES),
    name=st.sampled_from(["clone", "personality", "socket", "socketpair", "prlimit64", "read"]),
    values=st.tuples(*[arguments] * 6),
    without=st.booleans(),
)
def test_arguments_are_compared_in_all_64_bits(machine: str, name: str, values: tuple[int, ...], without: bool) -> None:
    profile = load_profile().without_namespaces(shares_user=True) if without else load_profile()
    program, number = compile_profile(profile, machine), syscall_numbers(machine)[name]
    assert decide(program, AUDIT_ARCH[machine], number, values) == by_hand(profile, machine, number, values)


def test_namespaces_cannot_be_made_by_clone_and_threads_can() -> None:
    ask = Filter(load_profile())
    assert ask("clone", 0x3D0F00) is None  # what glibc's pthread_create passes
    assert ask("clone", 0x01200011) is None  # fork
    for flag in (0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert ask("clone", 0x11 | flag) == errno.EPERM
    assert ask("clone3") == errno.ENOSYS
    assert ask("unshare") == errno.EPERM


def test_what_an_attacker_wants_is_refused() -> None:
    ask = Filter(load_profile())
    for name in ("ptrace", "process_vm_readv", "bpf", "mount", "setns", "mknodat", "keyctl", "setuid", "init_module", "add_key", "shmget"):
        assert ask(name) == errno.EPERM
    for name in ("io_uring_setup", "userfaultfd", "memfd_secret", "landlock_create_ruleset"):
        assert ask(name) == errno.ENOSYS
    assert ask("personality", 0xFFFFFFFF) is None
    assert ask("personality", 0x0040000) == errno.EPERM  # ADDR_NO_RANDOMIZE
    assert ask("socket", 16) == errno.EPERM  # AF_NETLINK
    assert ask("socket", 2) is None


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_of_another_architecture_are_refused(machine: str) -> None:
    program = compile_profile(load_profile(), machine)
    read = syscall_numbers(machine)["read"]
    assert decide(program, 0x40000003, read) == errno.EPERM  # AUDIT_ARCH_I386
    assert decide(program, AUDIT_ARCH[machine], read) is None


def test_x32_calls_are_refused_by_every_filter() -> None:
    for program in (compile_profile(load_profile(), "x86_64"), refusal_filter(LANDLOCK_CALLS, "x86_64")):
        assert decide(program, AUDIT_ARCH["x86_64"], 0x40000000) == errno.EPERM


def test_the_filter_for_bwrap_lets_landlock_through_and_the_second_one_ends_that() -> None:
    first = Filter(load_profile().allowing(LANDLOCK_CALLS))
    second = refusal_filter((*LANDLOCK_CALLS, *SCHEDULER_CALLS), "x86_64")
    for name in LANDLOCK_CALLS:
        assert first(name) is None
        assert decide(second, AUDIT_ARCH["x86_64"], syscall_numbers("x86_64")[name]) == errno.EPERM
    assert decide(second, AUDIT_ARCH["x86_64"], syscall_numbers("x86_64")["openat"]) is None
    assert first("clone3") == errno.ENOSYS


def test_without_namespaces_no_socket_can_speak_to_a_stranger() -> None:
    ask = Filter(load_profile().without_namespaces(shares_user=True))
    for family in (1, 2, 10, 16):
        assert ask("socket", family) == errno.EPERM
    assert ask("socketpair", 1, 1 | 0o2000000) is None  # SOCK_STREAM | SOCK_CLOEXEC
    assert ask("socketpair", 1, 2) == errno.EPERM  # a datagram socket can be connected to any path
    assert ask("connect") == errno.EPERM


def test_without_namespaces_the_user_s_other_processes_and_files_are_out_of_reach() -> None:
    shared = Filter(load_profile().without_namespaces(shares_user=True))
    for name in (*SCHEDULER_CALLS, *OWNERSHIP_CALLS, "inotify_add_watch", "semtimedop"):
        assert shared(name) == errno.EPERM
    assert shared("prlimit64", 0, 7, 0x1000) is None
    assert shared("prlimit64", 1234, 7, 0x1000) == errno.EPERM
    alone = Filter(load_profile().without_namespaces(shares_user=False))
    assert alone("chmod") is None


def test_a_profile_cannot_say_more_than_is_compiled() -> None:
    document = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}
    for rule in (
        {"names": ["read"], "action": "SCMP_ACT_TRACE"},
        {"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
    ):
        with pytest.raises(ValueError, match="not understood"):
            parse_profile({**document, "syscalls": [rule]})
    for condition in (Condition(0, "SCMP_CMP_GT", 1), Condition(6, "SCMP_CMP_EQ", 1)):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"argument|comparison"):
            compile_profile(Profile((Rule(("read",), conditions=(condition,)),)), "x86_64")
    with pytest.raises(ValueError, match="raed"):
        compile_profile(Profile((Rule(("raed",)),)), "x86_64")


def test_the_profile_is_the_same_for_every_mode_and_names_the_221() -> None:
    profile = load_profile()
    assert len(profile.rules[0].names) == 221
    assert profile.default_errno == errno.EPERM


@pytest.mark.skipif(not HEADER.exists(), reason=f"{HEADER} (linux-libc-dev) is not installed on this machine")
def test_the_x86_64_table_is_the_kernel_s() -> None:
    header = {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)", HEADER.read_text())}
    table = syscall_numbers("x86_64")
    assert {name: table.get(name) for name in header if header[name] < 450} == {n: v for n, v in header.items() if v < 450}


@pytest.mark.parametrize("machine", MACHINES)
def test_no_two_calls_share_a_number(machine: str) -> None:
    numbers = syscall_numbers(machine)
    assert len(set(numbers.values())) == len(numbers)


def test_the_aarch64_table_has_the_generic_numbers() -> None:
    table = syscall_numbers("aarch64")
    assert [table[name] for name in ("getcwd", "openat", "read", "write", "execve", "clone", "mmap", "prlimit64", "statx")] == [
        *(17, 56, 63, 64, 221, 220, 222, 261, 291),
    ]
    assert "open" not in table


def test_this_machine_has_a_table() -> None:
    assert os.uname().machine in MACHINES
