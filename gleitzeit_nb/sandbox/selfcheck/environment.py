"""What the code can learn about where it runs."""

from __future__ import annotations

import os
from typing import Any

from gleitzeit_nb.sandbox.selfcheck.between_runs import PROCESSES
from gleitzeit_nb.sandbox.selfcheck.check import EVERY, Area, Execute, Where
from gleitzeit_nb.sandbox.selfcheck.probing import SECRET, seen

AREA = Area("environment")

AREA.snippet(
    "the_hosts_environment_is_not_there",
    "No variable of the host's process is seen inside, by any name.",
    tried="look for a value that was planted in the host's environment",
    code=f"seen = {SECRET!r} in repr(dict(os.environ)) or {SECRET.encode()!r} in open('/proc/self/environ', 'rb').read()",
    expected=False,
    weakening="host environment",
    proves="no-host-environment",
    forms=EVERY,
)

AREA.snippet(
    "other_processes_are_not_seen",
    "The code sees its guest and itself.",
    tried="list the numbers in /proc",
    code=PROCESSES,
    expected=[1],
    weakening="host processes",
    proves="no-host-processes",
    alone=True,
)

AREA.snippet(
    "the_hosts_name_is_not_told",
    'The machine is called "sandbox".',
    tried="gethostname()",
    code="seen = socket.gethostname()",
    expected="sandbox",
    weakening="host name",
    proves="no-host-environment",
)


@AREA.check(
    "host ipc",
    proves="no-host-processes",
    tried="compare the IPC namespace with the host's",
    expected=Where("another namespace", lambda seen, _: seen[0] != seen[1]),
)
async def ipc_is_its_own(execute: Execute) -> Any:
    """Shared memory and semaphores of the host are in another namespace."""
    return [await seen(execute, "seen = os.readlink('/proc/self/ns/ipc')"), os.readlink("/proc/self/ns/ipc")]
