"""What `import gleitzeit_nb` and `%load_ext` cost, against `import pydantic`: each measured in a fresh interpreter, without its start."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

from bench.paired import compare
from bench.promises import Promise

SHELL = "from IPython.core.interactiveshell import InteractiveShell; shell = InteractiveShell.instance(); "


async def _timed(statement: str, before: str = "") -> float:
    code = f"{before}import time; begin = time.perf_counter(); {statement}; print(time.perf_counter() - begin)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"`{statement}` failed")
    return float(output)


async def import_promises() -> AsyncIterator[Promise]:
    yield await compare(
        "import gleitzeit_nb",
        lambda: _timed("import gleitzeit_nb"),
        lambda: _timed("import pydantic"),
        against="import pydantic",
        limit=0.3,
        pairs=15,
        warm_up=1,
    )
    yield await compare(
        "%load_ext gleitzeit_nb, IPython being up",
        lambda: _timed("shell.run_line_magic('load_ext', 'gleitzeit_nb')", SHELL),
        lambda: _timed("import pydantic", SHELL),
        against="import pydantic",
        limit=1.5,
        pairs=15,
        warm_up=1,
    )
