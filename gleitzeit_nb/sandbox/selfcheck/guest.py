"""The guest's first process, which alone says how a run ended: closed to the code, deaf to it, and given up when it was changed."""

from __future__ import annotations

from typing import Any

from gleitzeit_nb.core.execution import MIB
from gleitzeit_nb.errors import SandboxError
from gleitzeit_nb.sandbox import protocol
from gleitzeit_nb.sandbox.selfcheck.check import EVERY, Area, Execute, Where
from gleitzeit_nb.sandbox.selfcheck.probing import seen, with_prelude

AREA = Area("guest")

AREA.snippet(
    "the_guest_cannot_be_read",
    "Memory and descriptors of process 1 are closed to the code, although it is the same user.",
    tried="open fd, mem and environ of process 1",
    code="seen = [attempt(os.listdir, '/proc/1/fd')[0], attempt(open, '/proc/1/mem', 'rb')[0], attempt(open, '/proc/1/environ', 'rb')[0]]",
    expected=["refused"] * 3,
    weakening="dumpable guest",
    proves="own-result",
)

FORGED_EXIT = protocol.json_frame(protocol.EXIT, {"reason": "end", "exit_code": 0, "run_s": 0.0, "clean": True})
FORGE = f"""
forged = {FORGED_EXIT!r}
for path in [f"/proc/1/fd/{{number}}" for number in range(16)] + [f"/proc/self/fd/{{number}}" for number in range(3, 64)]:
    try:
        with open(path, "wb", buffering=0) as file:
            file.write(forged)
    except OSError:
        pass
for number in range(3, 64):
    try:
        os.write(number, forged)
    except OSError:
        pass
sys.exit(7)
"""


@AREA.check("dumpable guest", proves="own-result", tried="write the frame of a good end to every descriptor", expected=["error", 7])
async def the_end_of_a_run_cannot_be_forged(execute: Execute) -> Any:
    """Whatever the code writes to whatever descriptor it finds: the guest alone says how it ended."""
    result = await execute(with_prelude(FORGE))
    return [result.status, result.exit_code]


AREA.snippet(
    "no_descriptor_is_inherited",
    "Beside its three streams the code has one descriptor, for its own report.",
    tried="list /proc/self/fd",
    code="""
names = os.listdir('/proc/self/fd')
seen = [name for name in names if int(name) > 3 and os.path.exists('/proc/self/fd/' + name)]
""",
    expected=[],
    weakening="inherited descriptors",
    proves="own-result",
    alone=True,
)


@AREA.check(
    "guest obeys signals",
    proves="own-result",
    tried="send six signals to process 1",
    expected=["ok", "sent\n", "the same guest"],
)
async def signals_do_not_reach_the_guest(execute: Execute) -> Any:
    """No signal that the code can send ends the guest or makes it speak."""
    result = await execute("import os\nfor number in (2, 15, 10, 12, 19, 9): os.kill(1, number)\nprint('sent')")
    after = await execute("1")
    kept = execute.subject.fresh or after.container == result.container
    return [result.status, result.stdout, "the same guest" if kept else "another guest"]


@AREA.check(
    "unwatched guest",
    proves="nothing-outlives",
    tried="prlimit of process 1 to files of 7 bytes, then look in the next run",
    expected=Where("more than 1 MiB", lambda seen, _: seen > MIB),
)
async def a_guest_that_was_changed_is_given_up(execute: Execute) -> Any:
    """Limits that the code puts on the guest do not reach the next run."""
    await execute("import resource\nresource.prlimit(1, resource.RLIMIT_FSIZE, (7, 7))")
    return await seen(execute, "import resource; seen = resource.getrlimit(resource.RLIMIT_FSIZE)[0]")


AREA.snippet(
    "the_code_is_below_the_guest",
    "The code's parent is process 1 of a process namespace of its own: the end of the one is the end of the other.",
    tried="getppid()",
    code="seen = os.getppid()",
    expected=1,
    weakening="host processes",
    proves="own-result",
    alone=True,
)

AREA.snippet(
    "where_the_guest_keeps_things_is_not_told",
    "The guest's memory map, root, directory and program are closed too.",
    tried="open maps, and follow root, cwd and exe of process 1",
    code="seen = [attempt(open, '/proc/1/maps')[0]] + [attempt(os.readlink, '/proc/1/' + name)[0] for name in ('root', 'cwd', 'exe')]",
    expected=["refused"] * 4,
    weakening="dumpable guest",
    proves="own-result",
)

AREA.snippet(
    "the_guest_cannot_be_made_a_victim",
    "The code cannot tell the kernel to kill the guest for memory in its place.",
    tried="write 1000 to the oom_score_adj of process 1",
    code="seen = attempt(os.open, '/proc/1/oom_score_adj', os.O_WRONLY)[0]",
    expected="refused",
    weakening="dumpable guest",
    proves="own-result",
)

AREA.snippet(
    "descriptors_of_the_guest_cannot_be_taken",
    "A handle of the guest's process gives none of its descriptors away.",
    tried="pidfd_open(1), pidfd_getfd(1)",
    code='handle = syscall("pidfd_open", 1, 0); seen = syscall("pidfd_getfd", 4, 1, 0)',
    expected="EPERM",
    weakening="no seccomp",
    proves="own-result",
)

AREA.snippet(
    "the_guests_modules_are_not_there",
    "The code does not find the guest's modules among its own.",
    tried="look through sys.modules",
    code="seen = sorted(name for name in sys.modules if name.startswith('gleitzeit'))",
    expected=[],
    weakening="guest importable",
    proves="own-result",
    forms=EVERY,
)

AFFINITY = "import os\nos.sched_setaffinity(1, {min(os.sched_getaffinity(0))})"


@AREA.check(
    "unwatched guest",
    proves="nothing-outlives",
    tried="pin process 1 to one processor, then look in the next run",
    expected="as before",
)
async def a_guest_that_was_pinned_is_given_up(execute: Execute) -> Any:
    """Processors that the code takes from the guest are there again for the next run."""
    before = await seen(execute, "seen = sorted(os.sched_getaffinity(0))")
    await execute(AFFINITY)
    after = await seen(execute, "seen = sorted(os.sched_getaffinity(0))")
    return "as before" if after == before else f"{len(after)} instead of {len(before)}"


@AREA.check(
    "unwatched guest",
    proves="nothing-outlives",
    tried="lower the priority of process 1, then look in the next run",
    expected="as before",
)
async def a_guest_that_was_slowed_is_given_up(execute: Execute) -> Any:
    """A priority that the code gives the guest does not reach the next run."""
    code = "import os\nseen = os.getpriority(os.PRIO_PROCESS, 0)"
    before = await seen(execute, code)
    await execute("import os\nos.setpriority(os.PRIO_PROCESS, 1, 10)")
    after = await seen(execute, code)
    return "as before" if after == before else after


@AREA.check(
    "exit code lost",
    proves="own-result",
    tried="close every descriptor and leave with 9",
    expected=["error", 9],
    forms=EVERY,
)
async def a_run_without_descriptors_still_ends(execute: Execute) -> Any:
    """Code that closes everything it has is judged by its exit code all the same."""
    result = await execute("import os\nos.closerange(0, 100)\nos._exit(9)")
    return [result.status, result.exit_code]


@AREA.check("exit code lost", proves="own-result", tried="sys.exit(3)", expected=["error", 3], forms=EVERY)
async def the_exit_code_is_told(execute: Execute) -> Any:
    """The code's exit code is the result's."""
    result = await execute("import sys\nsys.exit(3)")
    return [result.status, result.exit_code]


@AREA.check("exit code lost", proves="own-result", tried="end by SIGSEGV", expected=["error", -11], forms=EVERY)
async def a_crash_is_told(execute: Execute) -> Any:
    """A process that a signal ended is an error with that signal's number."""
    result = await execute("import os\nos.kill(os.getpid(), 11)")
    return [result.status, result.exit_code]


FLOODED_REPORT = """
import os
try:
    for _ in range(64):
        os.write(3, bytes(1 << 20))
except OSError:
    pass
os._exit(5)
"""


@AREA.check(
    "reports without end",
    proves="own-result",
    tried="write 64 MiB to the descriptor of the code's report",
    expected=["an end", "ok"],
    forms=EVERY,
)
async def a_flooded_report_harms_nobody(execute: Execute) -> Any:
    """Garbage in place of the code's own report is cut at its allowance, and the next run is as good as ever."""
    try:
        result = await execute(FLOODED_REPORT)
    except SandboxError as exc:
        first = f"{type(exc).__name__}: {exc}"
    else:
        first = "an end" if result.status in ("ok", "error") else result.status
    return [first, (await execute("1")).status]
