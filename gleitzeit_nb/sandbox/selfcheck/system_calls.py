"""The kernel's wider interfaces are closed: each refusal is an error that the code can see, never a kill.

Arguments are chosen so that a call which does get through does nothing: it fails on them, or asks for what is there already. The error
that it then gives is another one than the filter's.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from gleitzeit_nb.core.execution import Limits
from gleitzeit_nb.sandbox.selfcheck.check import ABSENT, HELD, Area, Where

AREA = Area("system calls")

UNFILTERED = "no seccomp"
ADMINISTRATOR = "administrator"  # for calls that the kernel refuses to ordinary users with the filter's own error

AREA.snippet(
    "system_calls_are_filtered",
    "A seccomp filter is in force.",
    tried="Seccomp in /proc/self/status",
    code="seen = status()['Seccomp']",
    expected="2",
    weakening=UNFILTERED,
    proves="system-calls",
    forms=HELD,
)


class Refused(NamedTuple):
    """A call, the arguments that it is tried with, and what it would be good for."""

    call: str
    arguments: tuple[int, ...]
    because: str
    weakening: str = UNFILTERED
    answers: tuple[str, ...] = ("EPERM",)


HIDDEN = ("ENOSYS", "EPERM")  # as if the kernel had none, so that libraries fall back
SELF = -1

CALLS = (
    Refused("io_uring_setup", (1, 0), "it does input and output without system calls, hence without the filter", answers=HIDDEN),
    Refused("io_setup", (0, 0), "asynchronous input and output of the older kind"),
    Refused("userfaultfd", (1,), "it stops the kernel in the middle of a copy, which exploits are built on", answers=HIDDEN),
    Refused("memfd_secret", (0,), "memory that not even the kernel reads", answers=HIDDEN),
    Refused("bpf", (0, 0, 0), "programs in the kernel", ADMINISTRATOR),
    Refused("perf_event_open", (0, 0, 0, 0, 0), "a wide and often broken interface to the processor's counters"),
    Refused("keyctl", (0, -3, 1), "keys would outlive the run in the kernel"),
    Refused("add_key", (0, 0, 0, 0, 0), "keys would outlive the run in the kernel"),
    Refused("request_key", (0, 0, 0, 0), "it starts a program of the host"),
    Refused("ptrace", (0, 0, 0, 0), "it controls other processes"),
    Refused("process_vm_readv", (SELF, 0, 0, 0, 0, 0), "it reads other processes"),
    Refused("process_vm_writev", (SELF, 0, 0, 0, 0, 0), "it changes other processes"),
    Refused("process_madvise", (SELF, 0, 0, 0, 0), "it changes other processes' memory"),
    Refused("process_mrelease", (SELF, 0), "it takes other processes' memory"),
    Refused("pidfd_getfd", (SELF, 0, 0), "it takes descriptors out of other processes"),
    Refused("kcmp", (0, 0, 99, 0, 0), "it tells where in the kernel's memory things lie"),
    Refused("mount", (0, 0, 0, 0, 0), "it brings file systems in", ADMINISTRATOR),
    Refused("umount2", (0, 0), "it uncovers what lies below", ADMINISTRATOR),
    Refused("fsopen", (0, 0), "it brings file systems in", ADMINISTRATOR),
    Refused("move_mount", (SELF, 0, SELF, 0, 0), "it brings file systems in", ADMINISTRATOR),
    Refused("open_tree", (SELF, 0, 0), "it copies mounts"),
    Refused("mount_setattr", (SELF, 0, 0, 0, 0), "it makes what is read-only writable"),
    Refused("chroot", (0,), "it changes the root, and is a step of many escapes"),
    Refused("pivot_root", (0, 0), "it changes the root", ADMINISTRATOR),
    Refused("setns", (SELF, 0), "it enters another namespace"),
    Refused("mknodat", (-100, 0, 0o100600, 0), "it makes devices"),
    Refused("open_by_handle_at", (SELF, 0, 0), "it opens files past every mount, as container escapes have done", ADMINISTRATOR),
    Refused("name_to_handle_at", (SELF, 0, 0, 0, 0), "its handles open files past every mount"),
    Refused("fanotify_init", (0xFFFFFFFF, 0), "it watches whole file systems", ADMINISTRATOR),
    Refused("setxattr", (0, 0, 0, 0, 0), "attributes can carry capabilities"),
    Refused("fsetxattr", (SELF, 0, 0, 0, 0), "attributes can carry capabilities"),
    Refused("removexattr", (0, 0), "attributes can carry capabilities"),
    Refused("quotactl", (-1, 0, 0, 0), "it manages disks"),
    Refused("shmget", (0, 4096, 0o1600), "shared memory of System V outlives the run"),
    Refused("msgget", (0, 0o1600), "message queues of System V outlive the run"),
    Refused("semget", (0, 1, 0o1600), "semaphores of System V outlive the run"),
    Refused("mq_open", (0, 0, 0, 0), "message queues outlive the run"),
    Refused("mlockall", (0,), "it holds memory fast"),
    Refused("vmsplice", (SELF, 0, 0, 0), "it gives pages to pipes, which exploits are built on"),
    Refused("remap_file_pages", (0, 0, 0, 0, 0), "it is obsolete, and was often broken"),
    Refused("mbind", (0, 0, 99, 0, 0, 99), "it moves memory between nodes"),
    Refused("set_mempolicy", (99, 0, 0), "it moves memory between nodes"),
    Refused("migrate_pages", (0, 0, 0, 0), "it moves other processes' memory"),
    Refused("move_pages", (0, 0, 0, 0, 0, 99), "it moves other processes' memory"),
    Refused("init_module", (0, 0, 0), "it loads code into the kernel", ADMINISTRATOR),
    Refused("finit_module", (SELF, 0, 0), "it loads code into the kernel", ADMINISTRATOR),
    Refused("delete_module", (0, 0), "it takes code out of the kernel", ADMINISTRATOR),
    Refused("kexec_load", (0, 0xFFFF, 0, 0), "it starts another kernel", ADMINISTRATOR),
    Refused("kexec_file_load", (SELF, SELF, 0, 0, 0xFFFF), "it starts another kernel", ADMINISTRATOR),
    Refused("reboot", (0, 0, 0, 0), "it stops the machine", ADMINISTRATOR),
    Refused("swapon", (0, 0), "it gives the kernel a file to swap to", ADMINISTRATOR),
    Refused("swapoff", (0,), "it takes the machine's swap away", ADMINISTRATOR),
    Refused("settimeofday", (0, 0), "it sets the machine's clock", ADMINISTRATOR),
    Refused("clock_settime", (0, 0), "it sets the machine's clock"),
    Refused("clock_adjtime", (0, 0), "it sets the machine's clock"),
    Refused("adjtimex", (0,), "it sets the machine's clock"),
    Refused("sethostname", (0, -1), "it renames the machine", ADMINISTRATOR),
    Refused("setdomainname", (0, -1), "it renames the machine", ADMINISTRATOR),
    Refused("acct", (1,), "it writes a log of the machine's processes", ADMINISTRATOR),
    Refused("syslog", (99, 0, 0), "it reads the kernel's log", ADMINISTRATOR),
    Refused("vhangup", (), "it takes terminals away", ADMINISTRATOR),
    Refused("iopl", (0,), "it opens the ports of the hardware"),
    Refused("ioperm", (0, 0, 0), "it opens the ports of the hardware"),
    Refused("modify_ldt", (0, 0, 0), "it changes the processor's tables"),
    Refused("seccomp", (99, 0, 0), "filters can be made to answer for others"),
    Refused("landlock_create_ruleset", (0, 0, 1), "the code has no use for it", answers=HIDDEN),
    Refused("capset", (0, 0), "it sets capabilities"),
    Refused("setuid", (65534,), "it changes the user"),
    Refused("setgid", (65534,), "it changes the group"),
    Refused("setresuid", (-1, -1, -1), "it changes the user"),
    Refused("setresgid", (-1, -1, -1), "it changes the group"),
    Refused("setfsuid", (-1,), "it changes the user for files"),
    Refused("setgroups", (0, 0), "it changes the groups", ADMINISTRATOR),
)


def _one_of(answers: tuple[str, ...]) -> Where:
    def holds(seen: Any, _: Limits) -> bool:
        return seen in answers

    return Where(" or ".join(answers), holds)


for each in CALLS:
    words = ", ".join("self" if number is SELF and each.call.startswith("process_vm") else str(number) for number in each.arguments)
    inside = ", ".join("os.getpid()" if word == "self" else word for word in words.split(", ") if word)
    AREA.snippet(
        f"{each.call}_is_refused",
        f"The system call {each.call} is refused: {each.because}.",
        tried=f"{each.call}({words})",
        code=f'seen = syscall("{each.call}", {inside})',
        expected=_one_of(each.answers),
        weakening=each.weakening,
        proves="system-calls",
        forms=HELD,
    )

AREA.snippet(
    "personality_can_only_be_asked",
    "The process's execution domain can be asked for, and not changed: some domains switch protections off.",
    tried="personality(0xffffffff), personality(ADDR_NO_RANDOMIZE)",
    code='seen = [syscall("personality", 0xFFFFFFFF), syscall("personality", 0x40000)]',
    expected=["done", "EPERM"],
    weakening="any personality",
    proves="system-calls",
    forms=HELD,
)

AREA.snippet(
    "calls_of_the_x32_kind_are_refused",
    "System calls by their x32 numbers, which a filter of 64-bit numbers does not know, are refused or end the process.",
    tried="getpid by its x32 number, in a child",
    code=f"""
child = os.fork()
if child == 0:
    os._exit({{"EPERM": 3, "ENOSYS": 4}}.get(raw(0x40000000 | 39), 5))
status_of = os.waitpid(child, 0)[1]
seen = {ABSENT!r} if os.uname().machine != "x86_64" else "killed" if os.WIFSIGNALED(status_of) else {{3: "EPERM", 4: "ENOSYS"}}.get(
    os.WEXITSTATUS(status_of), "done")
""",
    expected=Where("EPERM or killed", lambda seen, _: seen in ("EPERM", "killed")),
    weakening=UNFILTERED,
    proves="system-calls",
    forms=HELD,
)

AREA.snippet(
    "calls_of_the_32_bit_kind_are_refused",
    "System calls by the 32-bit gate, which count otherwise than the filter's, are refused or end the process.",
    tried="getpid by int 0x80, in a child",
    code=f"""
import mmap
seen = {ABSENT!r}
if os.uname().machine == "x86_64":
    child = os.fork()
    if child == 0:
        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(bytes([0xB8, 20, 0, 0, 0, 0xCD, 0x80, 0xC3]))
        answer = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
        os._exit(3 if answer == -1 else 5)
    status_of = os.waitpid(child, 0)[1]
    number = os.WTERMSIG(status_of) if os.WIFSIGNALED(status_of) else 0
    seen = {ABSENT!r} if number == 11 else "killed" if number else "EPERM" if os.WEXITSTATUS(status_of) == 3 else "done"
""",
    expected=Where("EPERM or killed", lambda seen, _: seen in ("EPERM", "killed")),
    weakening=UNFILTERED,
    proves="system-calls",
    forms=HELD,
)
