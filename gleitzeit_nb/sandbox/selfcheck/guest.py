"""The guest's first process, which alone says how a run ended: closed to the code, deaf to it, and given up when it was changed."""

from __future__ import annotations

from typing import Any

from gleitzeit_nb.core.execution import MIB
from gleitzeit_nb.sandbox import protocol
from gleitzeit_nb.sandbox.selfcheck.check import Area, Execute, Where
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
