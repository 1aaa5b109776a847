"""Restricted mode against the host's own Python: a guest that waits for its run, and a run that has to make one first."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator

from bench.paired import compare
from bench.promises import Promise
from bench.sandbox import CODE, answers, settled
from gleitzeit_nb.errors import SandboxError
from gleitzeit_nb.sandbox import Sandbox

MODE = "restricted"
PAUSE_S = 0.15  # the kernel takes the last guest's network namespace apart in the background, and makes no new one meanwhile
AGAINST = "python3 -I -c on the host"


async def restricted_promises() -> AsyncIterator[Promise]:
    async with Sandbox() as sandbox:
        try:
            await sandbox.check(MODE)
        except SandboxError as error:
            print(f"restricted mode: not measured, {error}")
            return
        native = answers((sys.executable, "-I", "-c", CODE))

        async def waiting() -> None:
            assert (await sandbox.execute(CODE, mode=MODE)).stdout == "42\n"

        async def cold() -> float:
            await sandbox._pool.cleanup_idle(0.0)
            await settled(sandbox)
            await asyncio.sleep(PAUSE_S)
            begin = time.perf_counter()
            result = await sandbox.execute(CODE, mode=MODE)
            elapsed = time.perf_counter() - begin
            assert result.stdout == "42\n"
            assert result.cold
            await settled(sandbox)
            return elapsed

        yield await compare("a restricted print, pre-started", waiting, native, against=AGAINST, limit=1, pairs=40)
        yield await compare("the same, cold", cold, native, against=AGAINST, limit=4, pairs=40)
