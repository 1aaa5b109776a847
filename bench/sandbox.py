"""Warm, fresh and parallel sandboxed runs against what people do today: `docker exec`, `docker run`, and the host's own Python."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from bench.paired import compare
from bench.promises import Promise, at_most
from gleitzeit_nb.core.execution import DOCKER_MODE, Limits
from gleitzeit_nb.errors import SandboxError
from gleitzeit_nb.sandbox import Sandbox, images
from gleitzeit_nb.sandbox.profile import seccomp_profile

CODE = "print(6 * 7)"
PARALLEL, MANY = 4, 200
FEW = 40  # of the many, for the slow control


async def _command(*words: str) -> str:
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(words[:2])} failed")
    return output.decode().strip()


async def docker(*arguments: str) -> str:
    return await _command("docker", *arguments)


async def sandbox_promises() -> AsyncIterator[Promise]:
    async with Sandbox() as sandbox:
        try:
            await sandbox.check(DOCKER_MODE)
        except SandboxError as error:
            print(f"sandbox: not measured, {error}")
            return
        image = await images.default_image()
        container = await docker("run", "--detach", "--rm", "--network", "none", image, "sleep", "600")
        try:
            async for promise in _promises(sandbox, image, container):
                yield promise
        finally:
            await docker("kill", container)


async def _promises(sandbox: Sandbox, image: str, container: str) -> AsyncIterator[Promise]:
    inside = ("docker", "exec", container, "python3", "-c", CODE)
    ours, control = _run(sandbox), answers(inside)
    yield await compare("a warm sandboxed print", ours, control, against="docker exec python3 -c", limit=0.08, pairs=40)
    yield await _slowest(ours, control)
    native = answers((sys.executable, "-I", "-c", CODE))
    yield await compare("the same", ours, native, against="python3 -I -c on the host", limit=0.5, pairs=60)
    yield await _fresh(sandbox, image)
    yield await _parallel(sandbox, inside)
    yield await _memory(sandbox)
    yield await _overshoot(sandbox)


def _run(sandbox: Sandbox) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        result = await sandbox.execute(CODE, mode=DOCKER_MODE)
        assert result.stdout == "42\n"

    return run


def answers(command: tuple[str, ...]) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        assert await _command(*command) == "42"

    return run


async def _slowest(ours: Callable[[], Awaitable[None]], control: Callable[[], Awaitable[None]]) -> Promise:
    """The 95th percentile of ours against the control's median, in turn."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(60):
        for which in (0, 1) if number % 3 == 0 else (0,):
            begin = time.perf_counter()
            await (ours, control)[which]()
            times[which].append(time.perf_counter() - begin)
    late, usual = statistics.quantiles(times[0], n=20)[-1], statistics.median(times[1])
    seen = f"p95 {late * 1000:.1f} ms against the p50 {usual * 1000:.1f} ms of docker exec"
    return Promise("its p95", late / usual, 0.15, seen)


async def _fresh(sandbox: Sandbox, image: str) -> Promise:
    """From the containers that were made ready; the refill is not in it, and is waited for."""
    with tempfile.TemporaryDirectory() as folder:
        profile = _written(Path(folder, "seccomp.json"))
        control = answers(("docker", *_hardened(profile), image, "python3", "-c", CODE))

        async def ours() -> float:
            await sandbox.execute(CODE, mode=DOCKER_MODE, fresh=True)  # asks for some to be kept, and takes what an earlier one left
            await settled(sandbox)
            begin = time.perf_counter()
            result = await sandbox.execute(CODE, mode=DOCKER_MODE, fresh=True)
            elapsed = time.perf_counter() - begin
            assert (result.stdout, result.cold) == ("42\n", "")
            await settled(sandbox)
            return elapsed

        against = "docker run --rm with the same hardening"
        return await compare("a print in a fresh container", ours, control, against=against, limit=0.05, pairs=12, warm_up=1)


def _written(profile: Path) -> Path:
    profile.write_text(seccomp_profile())
    return profile


def _hardened(profile: Path) -> list[str]:
    limits = Limits()
    words = ["run", "--rm", "--network", "none", "--read-only", "--user", "65534:65534", "--cap-drop", "ALL", "--ipc", "private"]
    words += ["--security-opt", "no-new-privileges:true", "--security-opt", f"seccomp={profile}", "--pids-limit", str(limits.pids)]
    words += ["--memory", str(limits.memory_bytes), "--memory-swap", str(limits.memory_bytes), "--cpus", str(limits.cpus)]
    return [*words, "--log-driver", "none", "--tmpfs", "/work", "--tmpfs", "/tmp", "--workdir", "/work"]


async def settled(sandbox: Sandbox) -> None:
    await sandbox._pool.settled()


async def _parallel(sandbox: Sandbox, inside: tuple[str, ...]) -> Promise:
    async def rate(work: Callable[[], Awaitable[None]], count: int) -> float:
        room = asyncio.Semaphore(PARALLEL)

        async def one() -> None:
            async with room:
                await work()

        begin = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(count)))
        return count / (time.perf_counter() - begin)

    ours, control = _run(sandbox), answers(inside)
    await rate(ours, MANY)  # the containers for it are made in this round
    await settled(sandbox)
    rates = [(await rate(ours, MANY), await rate(control, FEW)) for _ in range(3)]
    mine, others = (statistics.median(each) for each in zip(*rates, strict=True))
    seen = f"{mine:.0f} runs/s against {others:.1f} of docker exec, {PARALLEL} at a time, {MANY} runs"
    return Promise("runs in parallel", mine / others, 15, seen, at_least=True)


async def _memory(sandbox: Sandbox) -> Promise:
    """Of one idle warm container: its control group, and the daemon's shim."""
    result = await sandbox.execute(CODE, mode=DOCKER_MODE)
    assert result.container is not None
    await sandbox._pool.cleanup_idle(0.0)
    result = await sandbox.execute(CODE, mode=DOCKER_MODE)
    guest = next(view.memory_bytes for view in sandbox.mode_views() if view.id == DOCKER_MODE) or 0
    shim = _shim_bytes(str(result.container))
    seen = f"guest {guest / 1e6:.1f} MB, shim {shim / 1e6:.1f} MB (its share)"
    return at_most("memory of an idle warm container", (guest + shim) / 1e6, 25, seen, "MB")


def _shim_bytes(container: str) -> int:
    """The proportional share of the shim's pages: its program is the same for all containers."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"containerd-shim" in words[0] and any(container.encode() in word for word in words):
                lines = (process / "smaps_rollup").read_text().splitlines()
                return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except OSError:
            continue
    return 0


async def _overshoot(sandbox: Sandbox) -> Promise:
    times = []
    for _ in range(5):
        await sandbox.execute(CODE, mode=DOCKER_MODE)
        begin = time.perf_counter()
        result = await sandbox.execute("while True: pass", mode=DOCKER_MODE, timeout=0.5)
        assert result.status == "timeout"
        times.append(time.perf_counter() - begin - 0.5 - result.timings.start_s - result.timings.queue_s)
        await settled(sandbox)
    over = statistics.median(times) * 1000
    return at_most("overshoot of a timeout", over, 200, f"median of {len(times)}, of {0.5} s", "ms")
