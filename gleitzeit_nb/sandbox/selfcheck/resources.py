"""Bombs, each bounded, and the limits that they hit."""

from __future__ import annotations

from typing import Any

from gleitzeit_nb.core.execution import MIB
from gleitzeit_nb.sandbox.selfcheck.check import ENFORCED, Area, Execute, Subject, Where
from gleitzeit_nb.sandbox.selfcheck.probing import seen

AREA = Area("resources")


def total_memory(subject: Subject) -> str:
    return "memory is bounded per process here, not in total (no cgroup)" if "not in total" in subject.isolation else ""


@AREA.check(
    "no memory limit",
    proves="limits",
    tried="touch 400 MiB under a limit of 128",
    expected=["oom", -9],
    withheld=total_memory,
)
async def a_memory_bomb_ends_as_oom(execute: Execute) -> Any:
    """Code that takes more memory than its limit is killed, and the status says so."""
    result = await execute("data = bytearray(400 << 20)\nfor page in range(0, len(data), 4096): data[page] = 1", memory_limit="128m")
    return [result.status, result.exit_code]


SHARED = """
import os, time
children = []
for _ in range(4):
    pid = os.fork()
    if pid == 0:
        data = bytearray(b"x") * (60 << 20)
        time.sleep(1)
        os._exit(0)
    children.append(pid)
seen = [os.waitpid(pid, 0)[1] for pid in children]
"""


@AREA.check(
    "no memory limit",
    proves="limits",
    tried="four processes of 60 MiB under a limit of 128",
    expected=Where("at least one is killed (9)", lambda seen, _: 9 in seen),
    withheld=total_memory,
)
async def processes_share_one_memory_limit(execute: Execute) -> Any:
    """The limit holds for all processes together: four times 60 MiB do not fit into 128."""
    return await seen(execute, SHARED, memory_limit="128m")


FORKS = """
import os, time
seen = 0
try:
    for _ in range(200):
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        seen += 1
except OSError:
    pass
"""


@AREA.check(
    "no process limit",
    proves="limits",
    tried="fork 200 times under a limit of 64",
    expected=Where("from 8 to 63 processes", lambda seen, _: 8 <= seen < 64),
)
async def a_fork_bomb_hits_its_limit(execute: Execute) -> Any:
    """The number of processes is limited."""
    return await seen(execute, FORKS, pids_limit=64)


AREA.snippet(
    "a_disk_bomb_hits_its_limit",
    "No writable place takes more than its limit, which is 64 MiB.",
    tried="write 128 MiB in each writable place",
    code="""
seen = {}
for folder in ("/work", "/tmp", "/dev/shm"):
    written = 0
    try:
        for number in range(8):
            with open(f"{folder}/{number}", "wb", buffering=0) as file:
                for _ in range(16):
                    written += file.write(bytes(1 << 20))
    except OSError:
        pass
    for number in range(8):
        attempt(os.unlink, f"{folder}/{number}")
    seen[folder] = written
""",
    expected=Where("in each more than 8 MiB and at most 64", lambda seen, _: all(8 * MIB < size <= 64 * MIB for size in seen.values())),
    weakening="no disk limit",
    proves="limits",
    alone=True,
)

AREA.snippet(
    "an_inode_bomb_hits_its_limit",
    "No writable place takes more than 8192 files: each is memory of the kernel.",
    tried="make 20 000 empty files in each writable place",
    code="""
seen = {}
for folder in ("/work", "/tmp", "/dev/shm"):
    made = 0
    try:
        for made in range(20_000):
            os.close(os.open(f"{folder}/{made}", os.O_CREAT))
    except OSError:
        pass
    for number in range(made):
        os.unlink(f"{folder}/{number}")
    seen[folder] = made
""",
    expected=Where("in each from 101 to 8192", lambda seen, _: all(100 < count <= 8192 for count in seen.values())),
    weakening="no inode limit",
    proves="limits",
    alone=True,
)

AREA.snippet(
    "a_file_has_a_largest_size",
    "RLIMIT_FSIZE is set to at most 128 MiB, and core dumps are off.",
    tried="getrlimit of FSIZE and CORE",
    code="import resource; seen = [resource.getrlimit(resource.RLIMIT_FSIZE)[1], resource.getrlimit(resource.RLIMIT_CORE)[1]]",
    expected=Where("a size from 1 to {limits.file_bytes}, and 0", lambda seen, limits: 0 < seen[0] <= limits.file_bytes and seen[1] == 0),
    weakening="no resource limits",
    proves="limits",
    forms=ENFORCED,
)

AREA.snippet(
    "open_files_are_limited",
    "The number of open files is limited.",
    tried="open /dev/null 3000 times",
    code="""
held = []
try:
    while len(held) < 3000:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
seen = len(held)
for fd in held: os.close(fd)
""",
    expected=Where("from 101 to 1024", lambda seen, _: 100 < seen <= 1024),
    weakening="no resource limits",
    proves="limits",
)


@AREA.check(
    "no deadline",
    proves="deadline",
    tried="sleep for a minute, deaf to SIGTERM, with a deadline of half a second",
    expected=["timeout", "begun\n", -9],
)
async def the_guest_keeps_the_deadline(execute: Execute) -> Any:
    """A run that is too long is killed by the guest itself, and what it had printed is kept."""
    code = "print('begun')\nimport signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(60)"
    result = await execute(code, timeout=0.5)
    return [result.status, result.stdout, result.exit_code]
