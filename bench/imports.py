"""What `import gleitzeit_nb` costs, against `import pydantic`: each measured inside a fresh interpreter, without its start."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

from bench.paired import compare
from bench.promises import Promise


async def _import(module: str) -> float:
    timed = f"import time; begin = time.perf_counter(); import {module}; print(time.perf_counter() - begin)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", timed, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"`import {module}` failed")
    return float(output)


async def import_promises() -> AsyncIterator[Promise]:
    yield await compare(
        "import gleitzeit_nb",
        lambda: _import("gleitzeit_nb"),
        lambda: _import("pydantic"),
        against="import pydantic",
        limit=0.3,
        pairs=15,
        warm_up=1,
    )
