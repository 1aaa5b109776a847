"""The tests' fake Ollama in a process of its own, so that its work is nobody's in the comparison. Ends with its stdin."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


async def serve() -> None:
    from tests.support.fake_ollama import FakeOllama

    async with FakeOllama() as server:
        print(server.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


@asynccontextmanager
async def fake_server() -> AsyncIterator[str]:
    """The URL of a server that has the model "llama3.2" and echoes the prompt word by word."""
    command = [sys.executable, "-m", "bench.fake_server"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=pipe, stdout=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.stdin.close()
        await process.wait()


if __name__ == "__main__":
    asyncio.run(serve())
