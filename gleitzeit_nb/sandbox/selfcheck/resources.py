"""Bombs, each bounded, and the limits that they hit."""

from __future__ import annotations

from typing import Any

from gleitzeit_nb.core.execution import MIB, Limits
from gleitzeit_nb.sandbox.selfcheck.check import DOCKER, EVERY, Area, Execute, Subject, Where
from gleitzeit_nb.sandbox.selfcheck.probing import seen

AREA = Area("resources")


def _large(subject: Subject) -> str:
    return "" if subject.limits.workspace_bytes < 128 * MIB else "its limit is larger than what is tried"


def _many(subject: Subject) -> str:
    return "" if 100 < subject.limits.workspace_inodes < 20_000 else "its limit is beyond what is tried"


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


FILL = """
seen = 0
try:
    for number in range(8):
        with open(f"%(place)s/{number}", "wb", buffering=0) as file:
            for _ in range(%(mib)d):
                seen += file.write(bytes(1 << 20))
except OSError:
    pass
for number in range(8):
    attempt(os.unlink, f"%(place)s/{number}")
"""
LITTER = """
seen = 0
try:
    for seen in range(%(most)d):
        os.close(os.open(f"%(place)s/{seen}", os.O_CREAT))
except OSError:
    pass
for number in range(seen):
    os.unlink(f"%(place)s/{number}")
"""
PLACES = {"work_directory": "/work", "temporary_directory": "/tmp", "shared_memory": "/dev/shm"}
WEAK_DISKS = {"/work": "no disk limit", "/tmp": "no disk limit", "/dev/shm": "shm unlimited"}
WEAK_FILES = {"/work": "no inode limit", "/tmp": "no inode limit", "/dev/shm": "shm unlimited"}
SHM_BYTES = 64 * MIB


def _fits(place: str) -> Where:
    def holds(written: Any, limits: Limits) -> bool:
        return bool(0 < written <= (max(SHM_BYTES, limits.workspace_bytes) if place == "/dev/shm" else limits.workspace_bytes))

    return Where("more than nothing, and no more than {limits.workspace_bytes} bytes", holds)


for name, place in PLACES.items():
    AREA.snippet(
        f"the_{name}_has_a_size",
        f"{place} takes no more bytes than its limit, which is memory of the machine.",
        tried=f"write 128 MiB in {place}",
        code=FILL % {"place": place, "mib": 16},
        expected=_fits(place),
        weakening=WEAK_DISKS[place],
        proves="limits",
        alone=True,
        withheld=_large,
    )
    AREA.snippet(
        f"the_{name}_has_a_number_of_files",
        f"{place} takes no more files than its limit: each is memory of the kernel, even if it is empty.",
        tried=f"make 20 000 empty files in {place}",
        code=LITTER % {"place": place, "most": 20_000},
        expected=Where("from 101 to {limits.workspace_inodes}", lambda seen, limits: 100 < seen <= limits.workspace_inodes),
        weakening=WEAK_FILES[place],
        proves="limits",
        alone=True,
        withheld=_many,
    )

AREA.snippet(
    "a_file_has_a_largest_size",
    "No file can be made larger than the limit, not even one that is mostly empty.",
    tried="stretch a file to one byte more than the limit",
    code="""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
with open("stretched", "wb") as file:
    seen = [limit, attempt(os.ftruncate, file.fileno(), limit + 1 if limit > 0 else 1 << 40)]
os.unlink("stretched")
""",
    expected=Where(
        "at most {limits.file_bytes}, refused with EFBIG",
        lambda seen, limits: 0 < seen[0] <= limits.file_bytes and seen[1] == ["refused", "EFBIG"],
    ),
    weakening="no resource limits",
    proves="limits",
    forms=EVERY,
)

AREA.snippet(
    "no_core_is_dumped",
    "A crash leaves no image of its memory.",
    tried="getrlimit of CORE",
    code="import resource; seen = list(resource.getrlimit(resource.RLIMIT_CORE))",
    expected=[0, 0],
    weakening="core dumps on",
    proves="limits",
    forms=EVERY,
)

AREA.snippet(
    "no_memory_is_held_fast",
    "Memory cannot be locked, so none is kept from being reclaimed.",
    tried="mlock of one page",
    code="""
import mmap
page = mmap.mmap(-1, 4096)
seen = syscall("mlock", ctypes.addressof(ctypes.c_char.from_buffer(page)), 4096)
""",
    expected=Where("ENOMEM or EPERM", lambda seen, _: seen in ("ENOMEM", "EPERM")),
    weakening="no resource limits",
    proves="limits",
)

AREA.snippet(
    "no_bytes_are_kept_in_queues",
    "Message queues have no room.",
    tried="getrlimit of MSGQUEUE in /proc/self/limits",
    code="seen = [line.split()[3:5] for line in open('/proc/self/limits') if line.startswith('Max msgqueue size')]",
    expected=[["0", "0"]],
    weakening="no queue limit",
    proves="limits",
)


AREA.snippet(
    "open_files_are_limited",
    "The number of open files is limited.",
    tried="open /dev/null 8192 times",
    code="""
held = []
try:
    while len(held) < 8192:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
seen = len(held)
for fd in held: os.close(fd)
""",
    expected=Where("at most {limits.open_files}", lambda seen, limits: 0 < seen <= limits.open_files),
    weakening="no resource limits",
    proves="limits",
    forms=EVERY,
    withheld=lambda subject: "" if subject.limits.open_files < 8192 else "its limit is beyond what is tried",
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


@AREA.check(
    "no deadline",
    proves="deadline",
    tried="stop itself, with a deadline of half a second",
    expected=["timeout", "begun\n", -9],
)
async def a_stopped_run_ends_at_its_deadline(execute: Execute) -> Any:
    """A process that stops itself is no way around the deadline."""
    result = await execute("import os, signal\nprint('begun')\nos.kill(os.getpid(), signal.SIGSTOP)", timeout=0.5)
    return [result.status, result.stdout, result.exit_code]


@AREA.check(
    "no deadline",
    proves="deadline",
    tried="print without end from three processes, with a deadline of half a second",
    expected=["timeout", True, -9],
)
async def a_flood_ends_at_its_deadline(execute: Execute) -> Any:
    """Output that never ends does not keep the guest from looking at the clock."""
    code = "import os\nos.fork(); os.fork()\nwhile True: os.write(1, b'y' * 65536)"
    result = await execute(code, timeout=0.5)
    return [result.status, result.stdout.startswith("yyy"), result.exit_code]


THREADS = """
import threading
gate = threading.Event()
threads = []
try:
    while len(threads) < 200:
        thread = threading.Thread(target=gate.wait, daemon=True)
        thread.start()
        threads.append(thread)
except RuntimeError:
    pass
seen = len(threads)
gate.set()
"""


@AREA.check(
    "no process limit",
    proves="limits",
    tried="start 200 threads under a limit of 64 processes",
    expected=Where("from 8 to 63 threads", lambda seen, _: 8 <= seen < 64),
)
async def threads_count_as_processes(execute: Execute) -> Any:
    """Threads are no way around the limit of processes."""
    return await seen(execute, THREADS, pids_limit=64)


CGROUP = """
import glob
def first(*patterns):
    for pattern in patterns:
        for path in glob.glob(pattern):
            return open(path).read().split()
    return None
"""

AREA.snippet(
    "the_memory_limit_is_the_modes",
    "The control group holds the memory that the mode is configured to have.",
    tried="read memory.max or memory.limit_in_bytes",
    code=CGROUP + "seen = first('/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes') or ABSENT",
    expected=Where("{limits.memory_bytes}", lambda seen, limits: seen == [str(limits.memory_bytes)]),
    weakening="no memory limit",
    proves="limits",
    forms=DOCKER,
)

AREA.snippet(
    "swap_is_closed",
    "Memory and swap together are no more than the memory: a run cannot fill the machine's swap.",
    tried="read memory.swap.max or memory.memsw.limit_in_bytes",
    code=CGROUP
    + """
swap = first("/sys/fs/cgroup/memory.swap.max")
both = first("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes")
memory = first("/sys/fs/cgroup/memory/memory.limit_in_bytes")
seen = swap == ["0"] if swap else both == memory if both else ABSENT
""",
    expected=True,
    weakening="swap open",
    proves="limits",
    forms=DOCKER,
)

AREA.snippet(
    "the_process_limit_is_the_modes",
    "The control group holds the number of processes that the mode is configured to have.",
    tried="read pids.max",
    code=CGROUP + "seen = first('/sys/fs/cgroup/pids.max', '/sys/fs/cgroup/pids/pids.max') or ABSENT",
    expected=Where("{limits.pids}", lambda seen, limits: seen == [str(limits.pids)]),
    weakening="no process limit",
    proves="limits",
    forms=DOCKER,
)

AREA.snippet(
    "processors_are_shared_out",
    "The control group holds the share of processors that the mode is configured to have.",
    tried="read cpu.max or cpu.cfs_quota_us",
    code=CGROUP
    + """
both = first("/sys/fs/cgroup/cpu.max") or [
    *(first("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu,*/cpu.cfs_quota_us") or []),
    *(first("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "/sys/fs/cgroup/cpu,*/cpu.cfs_period_us") or []),
]
seen = ABSENT if len(both) != 2 else -1 if both[0] in ("max", "-1") else int(both[0]) / int(both[1])
""",
    expected=Where("{limits.cpus}", lambda seen, limits: isinstance(seen, (int, float)) and abs(seen - limits.cpus) < 0.01),
    weakening="no processor limit",
    proves="limits",
    forms=DOCKER,
)
