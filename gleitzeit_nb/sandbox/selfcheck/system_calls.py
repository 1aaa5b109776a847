"""The kernel's wider interfaces are closed: each refusal is an error that the code can see, never a kill."""

from __future__ import annotations

from gleitzeit_nb.sandbox.selfcheck.check import Area

AREA = Area("system calls")

AREA.snippet(
    "system_calls_are_filtered",
    "A seccomp filter is in force.",
    tried="Seccomp in /proc/self/status",
    code="seen = status()['Seccomp']",
    expected="2",
    weakening="no seccomp",
    proves="system-calls",
)

AREA.snippet(
    "no_namespace_can_be_made",
    "unshare of a user namespace, the usual first step of an escape, is refused.",
    tried="unshare(CLONE_NEWUSER)",
    code='seen = syscall("unshare", 0x10000000)',
    expected="EPERM",
    weakening="no seccomp",
    proves="no-namespaces",
)

AREA.snippet(
    "no_file_system_can_be_mounted",
    "mount is refused before its arguments are looked at.",
    tried="mount(0, 0, 0, 0, 0)",
    code='seen = syscall("mount", 0, 0, 0, 0, 0)',
    expected="EPERM",
    weakening="administrator",
    proves="system-calls",
)

AREA.snippet(
    "no_kernel_module_can_be_loaded",
    "init_module is refused before its arguments are looked at.",
    tried="init_module(0, 0, 0)",
    code='seen = syscall("init_module", 0, 0, 0)',
    expected="EPERM",
    weakening="administrator",
    proves="system-calls",
)

AREA.snippet(
    "no_process_can_be_traced",
    "ptrace is refused.",
    tried="ptrace(PTRACE_TRACEME)",
    code='seen = syscall("ptrace", 0, 0, 0, 0)',
    expected="EPERM",
    weakening="no seccomp",
    proves="system-calls",
)

AREA.snippet(
    "io_uring_is_not_there",
    "io_uring, which goes around the filter, answers as if the kernel had none.",
    tried="io_uring_setup(1, 0)",
    code='seen = syscall("io_uring_setup", 1, 0)',
    expected="ENOSYS",
    weakening="no seccomp",
    proves="system-calls",
)

AREA.snippet(
    "the_kernels_keyring_is_closed",
    "Keys, which would outlive the run, cannot be kept in the kernel.",
    tried="keyctl(KEYCTL_GET_KEYRING_ID, the session's)",
    code='seen = syscall("keyctl", 0, -3, 1)',
    expected="EPERM",
    weakening="no seccomp",
    proves="system-calls",
)

AREA.snippet(
    "no_shared_memory_segment_can_be_made",
    "System V shared memory, which would outlive the run, is refused.",
    tried="shmget(IPC_PRIVATE, 4096)",
    code='seen = syscall("shmget", 0, 4096, 0o1600)',
    expected="EPERM",
    weakening="no seccomp",
    proves="system-calls",
)
