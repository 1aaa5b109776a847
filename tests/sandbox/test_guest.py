"""The real guest, in a plain process without isolation: how code runs, what comes back, and what is left."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gleitzeit_nb.core.execution import MIB, ExecutionRequest, ExecutionResult, Limits
from gleitzeit_nb.sandbox.bundle import guest_command, guest_source
from gleitzeit_nb.sandbox.connection import GuestConnection
from gleitzeit_nb.sandbox.wiping import empty_directory
from tests.sandbox.subprocess_channel import SubprocessChannel
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Runner:
    def __init__(self, connection: GuestConnection, work: Path) -> None:
        self.connection = connection
        self.work = work

    async def __call__(
        self, code: str, *, on_output: Any = None, allowed: Any = None, limits: Any = None, **request: Any
    ) -> ExecutionResult:
        request = {"filename": "<cell>", **request}
        return await self.connection.run(ExecutionRequest("id", code, **request), Limits(**(limits or {})), on_output, allowed)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def run(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Runner]:
    work = tmp_path_factory.mktemp("work")
    connection = GuestConnection(await SubprocessChannel.start(work))
    await connection.open()
    yield Runner(connection, work)
    await connection.close()


def alive(pid: int | str) -> bool:
    return os.path.exists(f"/proc/{pid}")


def children_of(pid: int) -> str:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text()


# -- what code sees ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "stdout"),
    [
        ("6 * 7", "42\n"),
        ("6 * 7;", ""),
        ("x = 1\nx", "1\n"),
        ("None", ""),
        ("", ""),
        ("# only words", ""),
        ("'ü\\n'", "'ü\\n'\n"),
        ("import asyncio\nawait asyncio.sleep(0)\n'slept'", "'slept'\n"),
        ("async def f(): return 5\nawait f()", "5\n"),
        ("import asyncio\ntask = asyncio.ensure_future(asyncio.sleep(0, 'one loop'))\nx = 1\nawait task", "'one loop'\n"),
        ("[await x for x in []]", "[]\n"),
        ("def f():\n    return __name__\nf()", "'__main__'\n"),
        ("import inspect\ndef f(): pass\nprint(inspect.getsource(f), end='')", "def f(): pass\n"),
        ("import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.05), print('late'))).start()", "late\n"),
        ("import atexit\natexit.register(print, 'bye');", "bye\n"),
        ("import subprocess\nsubprocess.run(['echo', 'child']);", "child\n"),
        ("from multiprocessing import Process\np = Process(target=print, args=('forked',)); p.start(); p.join()", "forked\n"),
        ("import sys\nsys.stdout = None", ""),
    ],
)
async def test_code_runs_as_in_a_notebook(run: Runner, code: str, stdout: str) -> None:
    result = await run(code)
    shown = "".join(f"{each.text}\n" for each in result.displays)
    assert (result.status, result.stdout + shown, result.stderr, result.traceback) == ("ok", stdout, "", "")


@pytest.mark.parametrize(
    ("code", "exit_code", "detail"),
    [
        ("1/0", 1, "raised ZeroDivisionError"),
        ("import sys; sys.exit(3)", 3, "left with exit code 3"),
        ("raise SystemExit(256 + 5)", 5, "left with exit code 5"),
        ("raise SystemExit('no')", 1, "left with exit code 1"),
        ("import os; os._exit(9)", 9, "left with exit code 9"),
        ("import os; os.kill(os.getpid(), 11)", -11, "ended by signal SIGSEGV"),
        ("import os; os.kill(os.getpid(), 9)", -9, "ended by signal SIGKILL"),
        ("raise KeyboardInterrupt", 1, "raised KeyboardInterrupt"),
        ("def f(): f()\nf()", 1, "raised RecursionError"),
        ("(" * 100_000, 1, None),
        ("class E(BaseException):\n    def __str__(self): raise E\nraise E", 1, "raised E"),
        ("import os; os.close(3); 1/0", 1, "left with exit code 1"),
        ("\ud800", 1, None),
    ],
)
async def test_code_that_fails_is_an_error_with_its_reason(run: Runner, code: str, exit_code: int, detail: str | None) -> None:
    result = await run(code)
    assert (result.status, result.exit_code) == ("error", exit_code)
    assert detail is None or result.detail == detail


async def test_exit_zero_is_ok_and_sends_outputs(run: Runner) -> None:
    result = await run("x = 5\nimport sys\nsys.exit()", outputs=("x",))
    assert (result.status, result.outputs) == ("ok", {"x": 5})


async def test_a_memory_error_is_oom(run: Runner) -> None:
    assert (await run("raise MemoryError")).status == "oom"


async def test_a_traceback_shows_the_codes_own_lines(run: Runner) -> None:
    result = await run("def f(x):\n    return 1 / x\n\nf(0)")
    lines = [line for line in result.traceback.splitlines() if "^" not in line]
    assert lines == [
        "Traceback (most recent call last):",
        '  File "<cell>", line 4, in <module>',
        "    f(0)",
        '  File "<cell>", line 2, in f',
        "    return 1 / x",
        "ZeroDivisionError: division by zero",
    ]


async def test_a_traceback_out_of_await_has_no_frame_of_the_loop(run: Runner) -> None:
    result = await run("async def f():\n    raise ValueError('x')\nawait f()")
    assert [line for line in result.traceback.splitlines() if "File" in line] == [
        '  File "<cell>", line 3, in <module>',
        '  File "<cell>", line 2, in f',
    ]


async def test_chained_exceptions_are_shown_without_the_guest(run: Runner) -> None:
    result = await run("try:\n    {}['a']\nexcept KeyError as exc:\n    raise ValueError('b') from exc")
    assert "KeyError: 'a'\n\nThe above exception was the direct cause" in result.traceback
    assert "gleitzeit" not in result.traceback


async def test_a_syntax_error_points_into_the_code(run: Runner) -> None:
    result = await run("x = 1\ny = = 2")
    assert result.traceback.startswith('  File "<cell>", line 2\n    y = = 2\n')
    assert "SyntaxError" in result.traceback


@pytest.mark.parametrize("code", ["!ls", "x = 1\n%timeit x", "%%bash\nls"])
async def test_magics_are_refused_with_a_sentence(run: Runner, code: str) -> None:
    assert (await run(code)).traceback.endswith("Shell commands and magics do not run in the sandbox: it takes plain Python.\n")


async def test_a_very_long_traceback_is_shortened(run: Runner) -> None:
    result = await run("raise ValueError('x' * 1_000_000)")
    assert len(result.traceback) < 60_000


@pytest.mark.parametrize(("code", "status"), [("import math", "ok"), ("from json import dumps", "ok"), ("import os.path", "error")])
async def test_allowed_modules_are_a_courtesy(run: Runner, code: str, status: str) -> None:
    result = await run(code, allowed=("math", "json"))
    assert result.status == status
    assert status == "ok" or "this mode allows only: json, math" in result.traceback


async def test_random_numbers_differ_between_runs(run: Runner) -> None:
    first, second = [(await run("import random; print(random.random())")).stdout for _ in range(2)]
    assert first != second


# -- values and output ----------------------------------------------------------------------------------------------------------


async def test_values_go_in_and_come_out(run: Runner) -> None:
    result = await run("y = {'n': x['n'] + 1}\nz = data[::-1]", inputs={"x": {"n": 41}, "data": b"abc"}, outputs=("y", "z"))
    assert result.outputs == {"y": {"n": 42}, "z": b"cba"}


async def test_large_values_cross_in_pieces(run: Runner) -> None:
    data = os.urandom(5 * MIB + 3)
    result = await run("out = data", inputs={"data": data}, outputs=("out",))
    assert result.outputs == {"out": data}


async def test_an_output_that_cannot_cross_is_named_and_the_others_come(run: Runner) -> None:
    result = await run("a = 1\nb = object()", outputs=("a", "b", "c"))
    assert (result.status, result.exit_code, result.outputs) == ("error", 0, {"a": 1})
    assert "'b' cannot be passed out: it is of type object" in result.detail
    assert "'c' cannot be passed out: the code did not define it" in result.detail


async def test_an_output_above_its_limit_is_refused_inside(run: Runner) -> None:
    result = await run("x = b'x' * 2000", outputs=("x",), limits={"value_bytes": 1000})
    assert "takes 2000 bytes and the limit for a value is 1000" in result.detail


async def test_code_that_writes_its_own_report_loses_only_its_outputs(run: Runner) -> None:
    result = await run("import os\nos.write(3, b'garbage'); x = 1", outputs=("x",))
    assert (result.status, result.outputs) == ("error", {})
    assert (await run("1")).ok


async def test_a_report_flood_is_cut(run: Runner) -> None:
    result = await run("import os\nfor _ in range(64): os.write(3, b'x' * (1 << 20))")
    assert result.exit_code == 0
    assert (await run("1")).ok


async def test_output_streams_as_it_comes_and_apart(run: Runner) -> None:
    heard: list[tuple[str, str]] = []
    go_on = run.work / "go"
    code = "import os, sys, time\nprint('one')\nprint('two', file=sys.stderr)\n"
    code += "while not os.path.exists('go'): time.sleep(0.01)\nprint('three')"
    running = asyncio.create_task(run(code, on_output=lambda name, text: heard.append((name, text))))
    await until(lambda: len(heard) == 2)
    assert sorted(heard) == [("stderr", "two\n"), ("stdout", "one\n")]
    go_on.touch()
    assert (await running).stdout == "one\nthree\n"
    assert heard[-1] == ("stdout", "three\n")


async def test_a_listener_that_fails_does_not_end_the_run(run: Runner, caplog: pytest.LogCaptureFixture) -> None:
    def listen(name: str, text: str) -> None:
        raise OSError("gone")

    assert (await run("print(1)\nprint(2)", on_output=listen)).stdout == "1\n2\n"
    assert "hears no more" in caplog.text


async def test_characters_cut_between_pieces_come_whole(run: Runner) -> None:
    code = "import os, time\nfor byte in '€'.encode(): os.write(1, bytes([byte])); time.sleep(0.02)"
    assert (await run(code)).stdout == "€"


async def test_each_stream_has_its_own_allowance(run: Runner) -> None:
    code = "import os\nos.write(1, b'a' * 5000 + b'END'); os.write(2, b'b' * 900);"
    result = await run(code, limits={"output_bytes": 1000})
    assert result.truncated == {"stdout": 4003}
    assert result.stdout == "a" * 750 + "\n[... 4003 bytes left out ...]\n" + "a" * 247 + "END"
    assert result.stderr == "b" * 900


async def test_output_as_long_as_its_allowance_is_kept_whole(run: Runner) -> None:
    result = await run("print('x' * 999)", limits={"output_bytes": 1000})
    assert (result.stdout, result.truncated) == ("x" * 999 + "\n", {})


# -- ends ----------------------------------------------------------------------------------------------------------------------


async def test_the_deadline_ends_every_process_and_keeps_the_output(run: Runner) -> None:
    code = "import os, time\nprint(os.getpid(), flush=True)\nif os.fork() == 0: os.setsid()\nprint(os.getpid(), flush=True)\ntime.sleep(60)"
    result = await run(code, limits={"timeout_s": 0.5})
    assert (result.status, result.exit_code) == ("timeout", -9)
    pids = {int(word) for word in result.stdout.split()}
    assert len(pids) == 2
    assert not any(alive(pid) for pid in pids)


async def test_a_run_can_be_cancelled_by_a_word(run: Runner) -> None:
    heard: list[str] = []
    running = asyncio.create_task(run("import time\nprint('begun')\ntime.sleep(60)", on_output=lambda _, text: heard.append(text)))
    await until(lambda: bool(heard))
    run.connection.cancel()
    result = await asyncio.wait_for(running, 5)
    assert (result.status, result.stdout) == ("killed", "begun\n")
    assert (await run("1")).ok


async def test_a_cancel_without_a_run_changes_nothing(run: Runner) -> None:
    run.connection.cancel()
    await run.connection.channel.write(b"C\0\0\0\0")
    assert (await run("print(1)")).stdout == "1\n"


async def test_a_fork_bomb_without_a_pid_namespace_is_killed(run: Runner) -> None:
    code = """
import os, time
for _ in range(40):
    if os.fork() == 0:
        os.setsid()
        if os.fork(): os._exit(0)
        time.sleep(60)
"""
    assert (await run(code)).ok
    left = children_of(int(run.connection.channel.name.rpartition("-")[2])).split()
    assert len(left) <= 1  # the process of the next run, which waits for it


async def test_the_guest_ends_with_its_input_and_takes_the_run_along(tmp_path: Path) -> None:
    channel = await SubprocessChannel.start(tmp_path)
    connection = GuestConnection(channel)
    await connection.open()
    heard: list[str] = []
    code = "import os, time\nopen('left', 'w')\nprint(os.getpid(), flush=True)\ntime.sleep(60)"
    running = asyncio.create_task(connection.run(ExecutionRequest("id", code), Limits(), lambda _, text: heard.append(text)))
    await until(lambda: bool(heard))
    assert channel.process.stdin is not None
    channel.process.stdin.close()
    assert (await running).status == "lost"
    await asyncio.wait_for(channel.process.wait(), 5)
    assert not alive(heard[0].strip())
    assert os.listdir(tmp_path) == []
    await connection.close()


async def test_the_guest_is_not_found_by_importing(run: Runner) -> None:
    result = await run("import sys\nprint([name for name in sys.modules if 'gleitzeit' in name])")
    assert result.stdout == "[]\n"


async def test_the_bootstrap_ends_quietly_without_source(tmp_path: Path) -> None:
    command = guest_command(sys.executable, work=str(tmp_path), wiped=[])
    for sent in (b"", b"\0\0", guest_source()[:1000]):
        done = await asyncio.to_thread(subprocess.run, command, input=sent, capture_output=True, timeout=20, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


FURNISHED = "import sys; print('inspect' in sys.modules)"


async def test_what_many_runs_need_is_imported_once_for_all_after_the_first(run: Runner) -> None:
    await run("pass")
    assert (await run(FURNISHED)).stdout == "True\n"


async def test_a_guest_that_was_made_ahead_has_it_for_its_first_run(tmp_path: Path) -> None:
    for patience_s in (0.3, 1.0, 3.0, 10.0):
        connection = GuestConnection(await SubprocessChannel.start(tmp_path))
        await connection.open()
        await asyncio.sleep(patience_s)
        found = await Runner(connection, tmp_path)(FURNISHED)
        await connection.close()
        if found.stdout == "True\n":
            return
    raise AssertionError("it had time enough, and did not import anything")


def starts(path: str) -> bool:
    return subprocess.run([path, "-I", "-c", ""], capture_output=True, timeout=60, check=False).returncode == 0


PYTHONS = [path for minor in range(8, 16) if (path := shutil.which(f"python3.{minor}")) and starts(path)]


@pytest.mark.parametrize("python", [*PYTHONS, sys.executable])
async def test_any_python_that_this_machine_has_can_be_a_guest(tmp_path: Path, python: str) -> None:
    connection = GuestConnection(await SubprocessChannel.start(tmp_path, command=guest_command(python, work=str(tmp_path), wiped=[])))
    await connection.open()
    result = await connection.run(ExecutionRequest("id", "y = x + 1\nprint(y)", inputs={"x": 41}, outputs=("y",)), Limits())
    assert (result.status, result.stdout, result.outputs) == ("ok", "42\n", {"y": 42})
    assert (await connection.run(ExecutionRequest("id", "1/0"), Limits())).traceback.endswith("ZeroDivisionError: division by zero\n")
    await connection.close()


# -- what it used --------------------------------------------------------------------------------------------------------------

SPIN = "import time\nwhile time.process_time() < 0.2: pass\n"


@pytest.mark.parametrize(
    ("code", "limits"),
    [
        (SPIN, {}),
        (SPIN + "1/0", {}),
        (SPIN + "import os; os.kill(os.getpid(), 9)", {}),
        (SPIN + "time.sleep(60)", {"timeout_s": 1.5}),
        ("import os\nif os.fork(): os.wait()\nelse:\n  exec(" + repr(SPIN) + ")\n  os._exit(0)", {}),
    ],
    ids=["ends", "fails", "is killed", "is late", "forks"],
)
async def test_a_run_says_what_it_used_however_it_ends(run: Runner, code: str, limits: dict[str, Any]) -> None:
    result = await run("x = bytearray(b'x') * (40 << 20)\n" + code, limits=limits)
    assert result.usage is not None
    assert 0.2 <= result.usage.cpu_s < 5
    assert 40 * MIB < result.usage.peak_bytes < 200 * MIB
    assert result.usage.whole is False


async def test_what_one_run_used_is_not_charged_to_the_next(run: Runner) -> None:
    await run(SPIN + "x = bytearray(b'x') * (80 << 20)")
    usage = (await run("print(1)")).usage
    assert usage is not None
    assert (usage.cpu_s < 0.2, usage.peak_bytes < 80 * MIB) == (True, True)


async def test_cells_of_a_session_are_charged_one_by_one(tmp_path: Path) -> None:
    connection = GuestConnection(await SubprocessChannel.start(tmp_path))
    await connection.open()
    used = [
        (await connection.run(ExecutionRequest("id", code, session="s"), Limits())).usage for code in (SPIN, "1", "import os; os._exit(0)")
    ]
    assert [usage is not None and usage.cpu_s >= 0.15 for usage in used] == [True, False, False]
    await connection.close()


# -- wiping --------------------------------------------------------------------------------------------------------------------


async def test_wiping_follows_no_link(tmp_path: Path) -> None:
    kept, wiped = tmp_path / "kept", tmp_path / "wiped"
    kept.mkdir()
    wiped.mkdir(mode=0o755)
    (kept / "file").write_text("precious")
    (wiped / "link").symlink_to(kept)
    (wiped / "inner").mkdir()
    (wiped / "inner" / "link").symlink_to(kept / "file")
    (wiped / "inner" / "broken").symlink_to("nowhere")
    os.mkfifo(wiped / "inner" / "pipe")
    assert empty_directory(str(wiped), 0o755)
    assert list(wiped.iterdir()) == []
    assert (kept / "file").read_text() == "precious"


async def test_wiping_refuses_a_link_in_place_of_the_directory(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("precious")
    (tmp_path / "wiped").symlink_to(kept)
    assert not empty_directory(str(tmp_path / "wiped"), stat.S_IMODE(kept.stat().st_mode))
    assert (kept / "file").exists()


async def test_a_directory_that_has_gone_is_not_clean(tmp_path: Path) -> None:
    assert not empty_directory(str(tmp_path / "gone"), 0o700)
