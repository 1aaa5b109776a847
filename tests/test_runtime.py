"""The bridge between blocking cells and the engine's loop."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gleitzeit_nb.errors import EngineClosedError
from gleitzeit_nb.runtime import Runtime, current_runtime, get_runtime, on_engine


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    made = Runtime()
    yield made
    made.close()


def interrupt_soon(delay_s: float = 0.2) -> None:
    """As Jupyter's stop button: SIGINT to this process while its main thread blocks."""
    threading.Timer(delay_s, os.kill, (os.getpid(), signal.SIGINT)).start()


async def endless(ended: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        ended.append("cancelled")
        raise


def test_call_returns_what_the_coroutine_returns_and_raises_what_it_raises(runtime: Runtime) -> None:
    async def fails() -> None:
        raise LookupError("gone")

    assert runtime.call(asyncio.sleep(0, "result")) == "result"
    with pytest.raises(LookupError, match="gone"):
        runtime.call(fails())


def test_an_interrupt_cancels_the_call_and_is_raised_within_half_a_second(runtime: Runtime) -> None:
    ended: list[str] = []
    interrupt_soon()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        runtime.call(endless(ended))
    assert ended == ["cancelled"]
    assert time.monotonic() - begin < 2.0


def test_call_from_the_loops_own_thread_is_refused_instead_of_hanging(runtime: Runtime) -> None:
    async def inside() -> None:
        runtime.call(asyncio.sleep(0))

    with pytest.raises(RuntimeError, match="await the coroutine"):
        runtime.call(inside())


async def test_acall_keeps_the_callers_loop_turning_and_cancels_with_it(runtime: Runtime) -> None:
    ended: list[str] = []
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.01)

    turning = asyncio.create_task(turn())
    assert await runtime.acall(asyncio.sleep(0.3, "done")) == "done"
    assert turns > 5
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(runtime.acall(endless(ended)), timeout=0.2)
    runtime.call(asyncio.sleep(0.05))
    assert ended == ["cancelled"]
    turning.cancel()


def test_iterate_gives_everything_in_order_and_empty_batches_while_nothing_comes(runtime: Runtime) -> None:
    async def slow() -> AsyncIterator[int]:
        for number in range(3):
            yield number
        await asyncio.sleep(0.2)
        yield 3

    batches = list(runtime.iterate(slow(), tick_s=0.02))
    assert [item for batch in batches for item in batch] == [0, 1, 2, 3]
    assert [] in batches


def test_iterate_gives_what_came_before_it_raises_the_sources_error(runtime: Runtime) -> None:
    async def breaks() -> AsyncIterator[int]:
        yield 1
        raise ValueError("cut")

    batches = runtime.iterate(breaks())
    assert next(batches) == [1]
    with pytest.raises(ValueError, match="cut"):
        next(batches)


def test_an_interrupt_or_a_break_closes_the_source(runtime: Runtime) -> None:
    closed: list[str] = []

    async def ticking(name: str) -> AsyncIterator[int]:
        try:
            while True:
                yield 1
                await asyncio.sleep(0.01)
        finally:
            closed.append(name)

    for _ in runtime.iterate(ticking("break")):
        break
    interrupt_soon()
    with pytest.raises(KeyboardInterrupt):
        for _ in runtime.iterate(ticking("interrupt")):
            pass
    assert closed == ["break", "interrupt"]


def test_there_is_one_runtime_until_it_is_closed() -> None:
    first = get_runtime()
    assert get_runtime() is first
    assert current_runtime() is first
    first.close()
    assert first.closed
    assert current_runtime() is None
    second = get_runtime()
    assert second is not first
    second.close()


def test_a_forked_child_gets_a_runtime_of_its_own() -> None:
    runtime = get_runtime()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        answer = b"none" if current_runtime() is None else b"inherited"
        os.write(write, answer + (b" works" if get_runtime().call(asyncio.sleep(0, True)) else b""))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 100) == b"none works"
    os.close(read)
    os.close(write)
    runtime.close()


@pytest.fixture
def no_instances(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An engine of this configuration asks no network."""
    file = tmp_path / "gleitzeit.yaml"
    file.write_text("ollama: {instances: []}\n")
    file.chmod(0o600)
    monkeypatch.setenv("GLEITZEIT_CONFIG", str(file))


def test_listeners_hear_of_the_engine_that_starts_and_that_it_stopped(no_instances: None) -> None:
    heard: list[object] = []
    forget = on_engine(heard.append)
    assert heard == []
    runtime = get_runtime()
    assert runtime.current_engine is None
    engine = runtime.engine
    late: list[object] = []
    forget_late = on_engine(late.append)
    assert (heard, late) == ([engine], [engine])
    forget_late()
    runtime.close()
    assert (heard, late) == ([engine, None], [engine])
    again = get_runtime()
    engine = again.engine
    assert heard[2:] == [engine], "a listener outlives the runtime that it was told by"
    forget()
    again.close()
    assert len(heard) == 3


def test_a_listener_that_fails_stops_nobody(no_instances: None, runtime: Runtime, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[object] = []

    def fails(_: object) -> None:
        raise LookupError("broken view")

    runtime.on_engine(fails)
    runtime.on_engine(heard.append)
    assert heard == []
    engine = runtime.engine
    assert heard == [engine]
    assert "broken view" in caplog.text


def test_submit_waits_for_nothing_and_a_closed_runtime_refuses(runtime: Runtime) -> None:
    ended: list[str] = []
    future = runtime.submit(endless(ended))
    assert not future.done()
    future.cancel()
    runtime.call(asyncio.sleep(0))
    assert ended == ["cancelled"]
    runtime.close()
    with pytest.raises(EngineClosedError):
        runtime.submit(asyncio.sleep(0))


def test_a_child_that_ends_with_the_process_is_no_news(project_root: Path) -> None:
    code = (
        "import asyncio, atexit, os, signal, time\n"
        "from gleitzeit_nb.runtime import get_runtime\n"
        "atexit.register(lambda: (os.kill(child.pid, signal.SIGKILL), time.sleep(1)))\n"  # runs after the runtime's own, which is younger
        "child = get_runtime().call(asyncio.create_subprocess_exec('sleep', '60'))\n"
        "print('to the end')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project_root, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "to the end\n", "")
