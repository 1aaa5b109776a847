"""The honest fake of a guest channel: the real guest in a plain child process, without any isolation."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

from gleitzeit_nb.core.execution import Limits, ModeSettings
from gleitzeit_nb.errors import SandboxProtocolError, SandboxUnavailableError
from gleitzeit_nb.sandbox.bundle import guest_command
from gleitzeit_nb.sandbox.channel import Expectations


class SubprocessChannel:
    """`oom`, `expected` and `rigid` are what the channel says about itself; tests set them. `sizes`: what it was changed to."""

    def __init__(self, process: asyncio.subprocess.Process, expected: Expectations) -> None:
        self.process = process
        self.expected = expected
        self.oom = 0
        self.rigid = False
        self.sizes: list[tuple[int, float]] = []

    @classmethod
    async def start(cls, work: Path, expected: Expectations | None = None, command: Sequence[str] | None = None) -> SubprocessChannel:
        command = command or guest_command(sys.executable, work=str(work), wiped=[str(work)])
        process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env={})
        return cls(process, expected or Expectations(weaker="no isolation: a test's double"))

    @property
    def name(self) -> str:
        return f"subprocess-{self.process.pid}"

    @property
    def expectations(self) -> Expectations:
        return self.expected

    async def read(self) -> bytes:
        assert self.process.stdout is not None
        return await self.process.stdout.read(1 << 16)

    async def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(data)
            await self.process.stdin.drain()
        except (ConnectionError, RuntimeError) as exc:
            raise SandboxProtocolError("the guest has gone") from exc

    async def kill(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()  # the guest kills and wipes at the end of its input; SIGKILL alone would leave its children
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.process.wait(), 2)
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def oom_kills(self) -> int:
        return self.oom

    async def memory_bytes(self) -> int | None:
        return None

    async def resize(self, memory_bytes: int, cpus: float) -> None:
        if self.rigid:
            raise SandboxUnavailableError("it stays as it is")
        self.sizes.append((memory_bytes, cpus))


class SubprocessLauncher:
    """Launches channels; `failure` is raised instead when it is set. `channels` holds all that were made."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.failure: Exception | None = None
        self.channels: list[SubprocessChannel] = []
        self.made_with: list[Limits] = []
        self.closed = False
        self._numbers = itertools.count()

    async def check(self, mode: ModeSettings) -> str:
        if self.failure is not None:
            raise self.failure
        return "a plain child process"

    async def launch(self, mode: ModeSettings, limits: Limits, image: str | None) -> SubprocessChannel:
        if self.failure is not None:
            raise self.failure
        work = self.root / f"work-{next(self._numbers)}"
        work.mkdir()
        channel = await SubprocessChannel.start(work)
        self.channels.append(channel)
        self.made_with.append(limits)
        return channel

    async def aclose(self) -> None:
        self.closed = True
