"""A warm sandboxed `print` against what people do today: `docker exec` of a fresh interpreter in a running container."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from bench.paired import compare
from bench.promises import Promise
from gleitzeit_nb.core.execution import DOCKER_MODE
from gleitzeit_nb.errors import SandboxError
from gleitzeit_nb.sandbox import Sandbox, images

CODE = "print(6 * 7)"


async def docker(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec("docker", *arguments, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"docker {arguments[0]} failed")
    return output.decode().strip()


async def sandbox_promises() -> AsyncIterator[Promise]:
    async with Sandbox() as sandbox:
        try:
            await sandbox.check(DOCKER_MODE)
        except SandboxError as error:
            print(f"sandbox: not measured, {error}")
            return
        container = await docker("run", "--detach", "--rm", "--network", "none", await images.default_image(), "sleep", "600")
        try:
            yield await _print_promise(sandbox, container)
        finally:
            await docker("kill", container)


async def _print_promise(sandbox: Sandbox, container: str) -> Promise:
    async def ours() -> None:
        result = await sandbox.execute(CODE, mode=DOCKER_MODE)
        assert result.stdout == "42\n"

    async def control() -> None:
        assert await docker("exec", container, "python3", "-c", CODE) == "42"

    return await compare("a warm sandboxed print", ours, control, against="docker exec python3 -c", limit=0.25, pairs=40)
