"""A guest that is a process of this machine: its pipes, and the certainty that nothing of it is left."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence

from gleitzeit_nb.errors import SandboxProtocolError, SandboxUnavailableError
from gleitzeit_nb.sandbox.cgroup import Cgroup
from gleitzeit_nb.sandbox.channel import Expectations
from gleitzeit_nb.sandbox.jail.preamble import READY

READ_BYTES = 64 << 10
BUFFER_BYTES = 256 << 10  # more than this unread, and the guest has to wait
SAID_BYTES = 8 << 10  # how much of its stderr is kept to explain an end
STARTS_WITHIN_S = 30.0
ENDS_WITHIN_S = 30.0  # a supervisor needs its time for a fork bomb on a busy machine; killed itself, it would leave it behind


class Pipes(asyncio.SubprocessProtocol):
    """stdin and stdout with flow control both ways, and the first of what stderr said. One loop, no lock."""

    def __init__(self) -> None:
        self.transport: asyncio.SubprocessTransport
        self.said = bytearray()
        self.exited = asyncio.Event()
        self.closed = asyncio.Event()
        self._changed = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._buffer = bytearray()
        self._paused = False
        self._ended = False

    # -- what asyncio calls ---------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.SubprocessTransport)
        self.transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self.said += data[: SAID_BYTES - len(self.said)]
        else:
            self._buffer += data
            if len(self._buffer) > BUFFER_BYTES and not self._paused:
                self._paused = True
                self._reading().pause_reading()
        self._changed.set()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 1:
            self._ended = True
        if fd == 0:
            self._writable.set()
        self._changed.set()

    def process_exited(self) -> None:
        self.exited.set()
        self._changed.set()
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()
        self._ended = True
        self._changed.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # -- what the guest's channel calls ---------------------------------------------------------------------------------------

    async def read(self) -> bytes:
        while not self._buffer and not self._ended:
            await self._change()
        data = bytes(self._buffer[:READ_BYTES])
        del self._buffer[:READ_BYTES]
        if self._paused and len(self._buffer) <= BUFFER_BYTES // 2:
            self._paused = False
            if not self._ended:
                self._reading().resume_reading()
        return data

    async def write(self, data: bytes) -> bool:
        """False when nobody is there to read it."""
        stdin = self.transport.get_pipe_transport(0)
        if not isinstance(stdin, asyncio.WriteTransport) or stdin.is_closing() or self.exited.is_set():
            return False
        stdin.write(data)
        await self._writable.wait()
        return not (stdin.is_closing() or self.exited.is_set())

    async def ready(self) -> bool:
        """The preamble's word on stderr; False when it ended without."""
        while READY not in self.said:
            if self.closed.is_set():
                return False
            await self._change()
        return True

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _reading(self) -> asyncio.ReadTransport:
        stdout = self.transport.get_pipe_transport(1)
        assert isinstance(stdout, asyncio.ReadTransport)
        return stdout

    def explanation(self) -> str:
        """The last line that the started program said, harmless to print."""
        lines = self.said.replace(READY, b"").decode("utf-8", "replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
        return "".join(char for char in last if char.isprintable())[:500]


class GuestProcess:
    """`strike` ends everything inside (it may be called again, and after the end); `cgroup` is removed at the end."""

    def __init__(self, pipes: Pipes, kind: str, expectations: Expectations, strike: Callable[[], None], cgroup: Cgroup | None) -> None:
        self._pipes = pipes
        self._name = f"{kind}-{pipes.transport.get_pid()}"
        self._expectations = expectations
        self._strike = strike
        self._cgroup = cgroup
        self._last_oom_kills = 0
        self._ending: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<GuestProcess {self._name} {'ended' if self._pipes.exited.is_set() else 'running'}>"

    @property
    def ended(self) -> bool:
        """Killed, and everything that held it released."""
        return self._ending is not None and self._ending.done()

    @property
    def name(self) -> str:
        return self._name

    @property
    def expectations(self) -> Expectations:
        return self._expectations

    async def read(self) -> bytes:
        return await self._pipes.read()

    async def write(self, data: bytes) -> None:
        if not await self._pipes.write(data):
            raise SandboxProtocolError(f"{self._name} has gone; its last words: {self._pipes.explanation()}")

    async def kill(self) -> None:
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._end())
        await asyncio.shield(self._ending)

    async def oom_kills(self) -> int:
        kills = self._counted(Cgroup.oom_kills)
        self._last_oom_kills = self._last_oom_kills if kills is None else kills
        return self._last_oom_kills  # also once the group has gone, since who asks may learn of the end first

    def begin_peak(self) -> None:
        if self._cgroup is not None:
            self._cgroup.begin_peak()

    def peak_bytes(self) -> int | None:
        return self._cgroup.peak_bytes() if self._cgroup is not None else None

    async def memory_bytes(self) -> int | None:
        return self._counted(Cgroup.memory_bytes)

    async def resize(self, memory_bytes: int, cpus: float) -> None:
        raise SandboxUnavailableError(f"{self._name} keeps the limits that it was started with")

    def _counted(self, question: Callable[[Cgroup], int]) -> int | None:
        if self._cgroup is None:
            return None
        try:
            return question(self._cgroup)
        except FileNotFoundError:  # removed with the guest
            return None

    async def _end(self) -> None:
        try:
            self._strike()
            if self._cgroup is not None:
                self._cgroup.kill()
            await within(ENDS_WITHIN_S, self._pipes.exited.wait())
        finally:
            self._pipes.transport.close()  # kills what we started, should it still be there
            await within(ENDS_WITHIN_S, self._pipes.exited.wait())
            if self._cgroup is not None:
                await self.oom_kills()
                await self._cgroup.remove()


BEFORE = "before it was closed off: "


Telling = Callable[[int], Awaitable[bytes]]
"""Given the process's id, what it shall read first. Called as soon as it is started, so that much can be done while the program loads."""


def at_once(message: bytes) -> Telling:
    async def tell(_: int) -> bytes:
        return message

    return tell


async def start_process(
    command: Sequence[str], environment: Mapping[str, str], pass_fds: Sequence[int] = (), tell: Telling | None = None
) -> Pipes:
    """Started, with every layer on. SandboxUnavailableError with the program's own words when it ended before."""
    loop = asyncio.get_running_loop()
    _, pipes = await loop.subprocess_exec(Pipes, *command, env=dict(environment), pass_fds=tuple(pass_fds), start_new_session=True)
    ready = False
    try:
        if tell is not None:
            await pipes.write(await tell(pipes.transport.get_pid()))
        ready = bool(await within(STARTS_WITHIN_S, pipes.ready()))
    finally:
        if not ready:
            pipes.transport.close()
    if not ready:
        status = pipes.transport.get_returncode()
        ended = f"took longer than {STARTS_WITHIN_S:.0f} s" if status is None else f"ended (exit status {status})"
        raise SandboxUnavailableError(f"The sandbox's first process {ended} {BEFORE}{pipes.explanation()}")
    return pipes


async def within(seconds: float, awaitable: Awaitable[bool]) -> bool:
    """Its result; False when it takes longer."""
    try:
        return await asyncio.wait_for(awaitable, seconds)
    except asyncio.TimeoutError:
        return False


class Namespace:
    """The first process of a jail's own PID namespace: its end is the end of everything inside, and the kernel sees to that."""

    def __init__(self, pipes: Pipes) -> None:
        self._pipes = pipes
        self._first = self._open_first(pipes.transport.get_pid())

    @staticmethod
    def _open_first(outer: int) -> int | None:
        """A handle that cannot mean another process later; None where the kernel keeps no list of children."""
        try:
            with open(f"/proc/{outer}/task/{outer}/children", encoding="ascii") as file:
                return os.pidfd_open(int(file.read().split()[0]))
        except (OSError, IndexError):
            return None

    def strike(self) -> None:
        """bwrap's outer process ends once the inner one is reaped, which is after everything inside; without a handle on the inner
        one, killing the outer does it (``--die-with-parent``), only that nobody waits for it."""
        if self._first is None:
            signal_process(self._pipes, signal.SIGKILL)
            return
        try:
            signal.pidfd_send_signal(self._first, signal.SIGKILL)
        except ProcessLookupError:
            signal_process(self._pipes, signal.SIGKILL)
        os.close(self._first)
        self._first = None


def signal_process(pipes: Pipes, number: signal.Signals) -> None:
    try:
        pipes.transport.send_signal(number)
    except ProcessLookupError:
        return
