"""A cell that prints a DataFrame, where the container has pandas imported already, against `docker exec` of a fresh interpreter."""

from __future__ import annotations

from collections.abc import AsyncIterator

from bench.paired import compare
from bench.promises import Promise
from bench.sandbox import docker
from gleitzeit_nb.core.execution import DATASCIENCE_IMAGE, DATASCIENCE_MODE
from gleitzeit_nb.errors import SandboxError
from gleitzeit_nb.sandbox import Sandbox

CODE = "import pandas\nprint(pandas.DataFrame({'name': ['a', 'b', 'c'], 'count': [1, 2, 3]}))"
SHOWN = "  name  count\n0    a      1\n1    b      2\n2    c      3"


async def datascience_promises() -> AsyncIterator[Promise]:
    async with Sandbox() as sandbox:
        try:
            await sandbox.check(DATASCIENCE_MODE)
        except SandboxError as error:
            print(f"data science: not measured, {error}")
            return
        container = await docker("run", "--detach", "--rm", "--network", "none", DATASCIENCE_IMAGE, "sleep", "600")
        try:
            yield await _frame_promise(sandbox, container)
        finally:
            await docker("kill", container)


async def _frame_promise(sandbox: Sandbox, container: str) -> Promise:
    async def ours() -> None:
        result = await sandbox.execute(CODE, mode=DATASCIENCE_MODE)
        assert result.stdout.rstrip() == SHOWN, result

    async def control() -> None:
        assert (await docker("exec", container, "python3", "-c", CODE)).strip() == SHOWN.strip()

    return await compare("a cell that prints a DataFrame", ours, control, against="docker exec python3 -c", limit=0.12, pairs=12)
