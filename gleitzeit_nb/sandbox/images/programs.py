"""Programs of this machine that help to make an image, run to their end; what they said last goes into the error."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import Callable, Sequence

from gleitzeit_nb.errors import SandboxUnavailableError

LAST_LINES = 8


async def run(command: Sequence[str], hear: Callable[[str], None], *, doing: str) -> None:
    """`hear` gets every line. Cancelling kills the program and what it started. `doing` completes "could not …" when it fails."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    last: deque[str] = deque(maxlen=LAST_LINES)
    try:
        async for line in process.stdout:
            last.append(line.decode("utf-8", "replace").rstrip())
            hear(last[-1])
        status = await process.wait()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    if status != 0:
        said = "".join(f"\n    {line}" for line in last)
        raise SandboxUnavailableError(f"Could not {doing}: {os.path.basename(command[0])} ended with status {status}.{said}")
