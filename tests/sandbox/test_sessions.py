"""Variables that outlive a run: kept for the runs of one name, told when they are gone, seen by nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from gleitzeit_nb.core.execution import DOCKER_MODE, MIB, ContainerPoolSettings, ExecutionResult, SandboxSettings
from gleitzeit_nb.errors import ConfigError, SandboxBusyError, SandboxError, SandboxUnavailableError
from gleitzeit_nb.events import SessionEnded
from gleitzeit_nb.sandbox import Sandbox
from tests.sandbox.subprocess_channel import SubprocessLauncher
from tests.support.waiting import until

POOL = ContainerPoolSettings(min_warm=0, max_sessions=2)
LONG = "import time\nprint('begun', flush=True)\ntime.sleep(60)"


@pytest_asyncio.fixture
async def sandbox(launcher: SubprocessLauncher) -> AsyncIterator[Sandbox]:
    """Real guests without isolation."""
    async with Sandbox(SandboxSettings(container_pool=POOL), launchers={"docker": launcher, "restricted": launcher}) as made:
        yield made


async def cell(sandbox: Sandbox, code: str, session: str = "work", **options: object) -> ExecutionResult:
    return await sandbox.execute(code, session=session, **options)  # type: ignore[arg-type]


async def begun(sandbox: Sandbox, code: str, **options: object) -> asyncio.Task[ExecutionResult]:
    """The code's run, which has printed that it has begun."""
    heard: list[str] = []
    running = asyncio.create_task(cell(sandbox, code, on_output=lambda _stream, text: heard.append(text), **options))
    await until(lambda: "begun" in "".join(heard))
    return running


async def said(sandbox: Sandbox, code: str, session: str = "work") -> str:
    result = await cell(sandbox, f"print(({code}))", session)
    assert result.ok, result
    return result.stdout.strip()


def ends(sandbox: Sandbox) -> list[str]:
    return [event.reason for event in sandbox.events.log if isinstance(event, SessionEnded)]


# -- what is kept -----------------------------------------------------------------------------------------------------------------


async def test_variables_imports_functions_and_files_are_kept(sandbox: Sandbox) -> None:
    await cell(sandbox, "import json, os\nx = 40\ndef more(): return x + 2\nopen('left', 'w').write('file'); os.mkdir('d'); os.chdir('d')")
    assert await said(sandbox, "more(), json.dumps(x), open('../left').read(), os.path.basename(os.getcwd())") == "(42, '40', 'file', 'd')"
    await cell(sandbox, "x = 1")
    assert await said(sandbox, "more()") == "3"


async def test_values_go_in_and_out(sandbox: Sandbox) -> None:
    await cell(sandbox, "total = 0")
    result = await cell(sandbox, "total += sum(numbers)", inputs={"numbers": [1, 2, 3]}, outputs=("total",))
    assert result.outputs == {"total": 6}
    result = await cell(sandbox, "blob = b'x' * len(blob)", inputs={"blob": b"y" * (3 * MIB)}, outputs=("blob", "total"))
    assert (len(result.outputs["blob"]), result.outputs["total"]) == (3 * MIB, 6)


async def test_an_exception_or_exit_leaves_the_session_as_it_was(sandbox: Sandbox) -> None:
    await cell(sandbox, "x = 1")
    assert (await cell(sandbox, "x = 2\nraise ValueError(x)")).status == "error"
    left = await cell(sandbox, "import sys; sys.exit(3)")
    assert (left.status, left.exit_code) == ("error", 3)
    assert await said(sandbox, "x") == "2"


async def test_a_traceback_names_the_run_in_which_a_function_was_defined(sandbox: Sandbox) -> None:
    await cell(sandbox, "def half(n):\n    return 1 / n")
    text = (await cell(sandbox, "x = 1\nhalf(0)")).traceback
    assert 'File "<work, run 2>", line 2, in <module>\n    half(0)' in text
    assert 'File "<work, run 1>", line 2, in half\n    return 1 / n' in text
    named = await cell(sandbox, "half(0)", filename="<cell 7>")
    assert 'File "<cell 7>", line 1, in <module>\n    half(0)' in named.traceback


async def test_what_one_run_began_to_await_the_next_can_go_on_with(sandbox: Sandbox) -> None:
    await cell(
        sandbox,
        "import asyncio\nqueue = asyncio.Queue()\nasync def give(): await queue.put(42)\n"
        "task = asyncio.ensure_future(give())\nawait asyncio.sleep(0)",
    )
    assert await said(sandbox, "await queue.get(), task.done()") == "(42, True)"


async def test_random_numbers_go_on_from_the_seed_of_an_earlier_run(sandbox: Sandbox) -> None:
    await cell(sandbox, "import random; random.seed(7); random.random()")
    import random

    expected = random.Random(7)
    expected.random()
    assert await said(sandbox, "random.random()") == str(expected.random())


async def test_what_a_thread_prints_between_runs_comes_with_the_next(sandbox: Sandbox) -> None:
    await cell(
        sandbox,
        "import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.2), print('late', flush=True)), daemon=True).start()",
    )
    result = await cell(sandbox, "import time; time.sleep(0.6); print('now')")
    assert result.stdout == "late\nnow\n"


# -- who sees it ------------------------------------------------------------------------------------------------------------------


async def test_sessions_are_apart_from_each_other_and_from_runs_without_one(sandbox: Sandbox, launcher: SubprocessLauncher) -> None:
    await sandbox.execute("1")
    first = await cell(sandbox, "x = 1", "a")
    second = await cell(sandbox, "x = 2", "b")
    alone = await sandbox.execute("print('x' in globals())")
    assert alone.stdout == "False\n"
    assert len({first.container, second.container, alone.container}) == 3
    assert (await said(sandbox, "x", "a"), await said(sandbox, "x", "b")) == ("1", "2")


async def test_a_session_begins_in_a_worker_that_never_ran_anything(sandbox: Sandbox) -> None:
    used = (await sandbox.execute("1")).container
    assert (await cell(sandbox, "1")).container != used


async def test_sessions_take_no_room_of_the_pool(launcher: SubprocessLauncher) -> None:
    settings = SandboxSettings(container_pool=replace(POOL, max_containers=1))
    async with Sandbox(settings, launchers={"docker": launcher}) as sandbox:
        await cell(sandbox, "x = 1", "a")
        await cell(sandbox, "x = 2", "b")
        assert (await sandbox.execute("1")).ok
        assert await said(sandbox, "x", "a") == "1"


async def test_no_more_sessions_than_configured(sandbox: Sandbox) -> None:
    for name in "ab":
        await cell(sandbox, "1", name)
    with pytest.raises(SandboxBusyError, match=r"2 sessions are open already \(a, b\).*\n.*reset NAME.*max_sessions"):
        await cell(sandbox, "1", "c")
    assert await sandbox.reset_session("a")
    await cell(sandbox, "1", "c")


# -- one after the other ------------------------------------------------------------------------------------------------------------


async def test_runs_of_one_session_wait_for_each_other_in_order(sandbox: Sandbox) -> None:
    await cell(sandbox, "import time; log = []")
    await asyncio.gather(*(cell(sandbox, f"time.sleep(0.05); log.append({number})") for number in range(5)))
    assert await said(sandbox, "log") == "[0, 1, 2, 3, 4]"


async def test_a_run_that_waits_for_its_session_says_so_and_can_be_stopped(sandbox: Sandbox) -> None:
    await cell(sandbox, "x = 1")
    running = asyncio.create_task(cell(sandbox, "import time; time.sleep(1)", id="first"))
    await until(lambda: sandbox.describe("first").startswith("running"))
    waiting = asyncio.create_task(cell(sandbox, "x = 2", id="second"))
    await until(lambda: sandbox.describe("second") == "waiting for its session's other run")
    assert sandbox.cancel("second")
    assert (await waiting).status == "killed"
    assert (await running).ok
    assert await said(sandbox, "x") == "1"


async def test_two_first_runs_share_one_start(sandbox: Sandbox, launcher: SubprocessLauncher) -> None:
    results = await asyncio.gather(*(cell(sandbox, f"x{number} = 1") for number in range(3)))
    assert len({result.container for result in results}) == 1
    assert len(launcher.channels) == 1


# -- ends -----------------------------------------------------------------------------------------------------------------------------


async def test_an_interrupt_that_the_code_yields_to_keeps_the_session(sandbox: Sandbox) -> None:
    await cell(sandbox, "x = 1")
    running = await begun(sandbox, LONG, id="long")
    assert sandbox.cancel("long")
    result = await running
    assert (result.status, result.stdout) == ("killed", "begun\n")
    assert "its variables are still there" in result.detail
    assert await said(sandbox, "x") == "1"
    assert ends(sandbox) == []


async def test_cancelling_the_caller_interrupts_too(sandbox: Sandbox) -> None:
    await cell(sandbox, "x = 1")
    running = await begun(sandbox, LONG)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await asyncio.wait_for(said(sandbox, "x"), 20) == "1"


async def test_an_interrupt_during_an_await_keeps_the_loop(sandbox: Sandbox) -> None:
    await cell(sandbox, "import asyncio; x = 1; lock = asyncio.Lock()")
    running = await begun(sandbox, "print('begun', flush=True); await asyncio.sleep(60)", id="long")
    sandbox.cancel("long")
    assert (await running).status == "killed"
    assert await said(sandbox, "await lock.acquire(), x") == "(True, 1)"


async def test_an_interrupt_that_is_ignored_ends_the_session_and_says_so(sandbox: Sandbox) -> None:
    await cell(sandbox, "x = 1")
    stubborn = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('begun', flush=True)\ntime.sleep(60)"
    running = await begun(sandbox, stubborn, id="long")
    sandbox.cancel("long")
    result = await running
    assert (result.status, result.stdout) == ("killed", "begun\n")
    assert "variables are gone" in result.detail
    anew = await cell(sandbox, "print('x' in globals())")
    assert anew.stdout == "False\n"
    assert anew.session == "work (new: the one before is over, a run was stopped and did not yield)"
    assert (await cell(sandbox, "1")).session == "work"


async def test_the_deadline_ends_the_session_and_says_that_its_variables_are_gone(sandbox: Sandbox) -> None:
    await cell(sandbox, "x = 1")
    result = await cell(sandbox, LONG, timeout=0.5)
    assert (result.status, result.stdout) == ("timeout", "begun\n")
    assert result.detail == "ran longer than 0.5 s; the session 'work' is over and its variables are gone"
    assert result.session == "work (over: a run was too long and was killed)"
    assert (await cell(sandbox, "print('x' in globals())")).stdout == "False\n"


@pytest.mark.parametrize("code", ["import os; os._exit(0)", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"])
async def test_code_that_ends_its_process_ends_the_session(sandbox: Sandbox, code: str) -> None:
    await cell(sandbox, "x = 1")
    result = await cell(sandbox, code)
    assert result.session == "work (over: its process ended)"
    assert "variables are gone" in result.detail
    assert (await cell(sandbox, "print('x' in globals())")).stdout == "False\n"


async def test_a_process_that_ends_between_runs_loses_the_next_one(sandbox: Sandbox) -> None:
    await cell(sandbox, "import os, threading; threading.Timer(0.1, os._exit, (0,)).start()")
    await asyncio.sleep(0.5)
    result = await cell(sandbox, "print('ran')")
    assert (result.status, result.stdout) == ("lost", "")
    assert "ended between two runs" in result.detail
    assert (await cell(sandbox, "1")).ok


async def test_a_sandbox_that_goes_away_between_runs_is_noticed_and_told(sandbox: Sandbox, launcher: SubprocessLauncher) -> None:
    await cell(sandbox, "x = 1")
    launcher.channels[0].process.kill()
    await until(lambda: ends(sandbox) == ["its sandbox went away"])
    result = await cell(sandbox, "print('x' in globals())")
    assert (result.stdout, result.session) == ("False\n", "work (new: the one before is over, its sandbox went away)")


async def test_the_end_is_told_by_the_first_run_that_begins(sandbox: Sandbox, launcher: SubprocessLauncher) -> None:
    await cell(sandbox, "x = 1")
    launcher.channels[0].process.kill()
    await until(lambda: ends(sandbox) == ["its sandbox went away"])
    launcher.failure = SandboxUnavailableError("no daemon answers")
    with pytest.raises(SandboxUnavailableError):
        await cell(sandbox, "x")
    launcher.failure = None
    assert "its sandbox went away" in (await cell(sandbox, "1")).session
    assert (await cell(sandbox, "1")).session == "work"


async def test_a_reset_ends_it_also_in_the_middle_of_a_run(sandbox: Sandbox) -> None:
    await cell(sandbox, "x = 1")
    heard: list[str] = []
    running = asyncio.create_task(cell(sandbox, LONG, on_output=lambda _, text: heard.append(text)))
    await until(lambda: bool(heard))
    assert await sandbox.reset_session("work")
    ended = await running
    assert (ended.status, ended.stdout) == ("killed", "begun\n")
    assert ended.detail == "its session was reset before its end; the session 'work' is over and its variables are gone"
    assert not await sandbox.reset_session("work")
    result = await cell(sandbox, "print('x' in globals())")
    assert (result.stdout, result.session) == ("False\n", "work (new)")


async def test_an_idle_session_ends_after_its_time(launcher: SubprocessLauncher) -> None:
    settings = SandboxSettings(container_pool=replace(POOL, session_idle_timeout_s=0.1))
    async with Sandbox(settings, launchers={"docker": launcher}) as sandbox:
        await cell(sandbox, "x = 1")
        await until(lambda: ends(sandbox) == ["it was idle for 0.1 s"])
        assert sandbox.session_views() == ()


# -- what is shown, and refused -----------------------------------------------------------------------------------------------------


async def test_a_session_is_shown(sandbox: Sandbox) -> None:
    assert (await cell(sandbox, "1")).session == "work (new)"
    await cell(sandbox, "2")
    (view,) = sandbox.session_views()
    assert (view.name, view.mode, view.state, view.runs) == ("work", DOCKER_MODE, "idle", 2)


async def test_what_a_run_does_not_name_is_its_sessions(sandbox: Sandbox) -> None:
    await cell(sandbox, "x = 1", mode="restricted", memory_limit="64m")
    result = await cell(sandbox, "print(x)")
    assert (result.stdout, result.mode) == ("1\n", "restricted")


@pytest.mark.parametrize(
    ("options", "named"), [({"memory_limit": "64m"}, "memory"), ({"image": "other"}, "image"), ({"mode": "restricted"}, "mode")]
)
async def test_a_session_keeps_the_sandbox_that_it_began_in(sandbox: Sandbox, options: dict[str, object], named: str) -> None:
    await cell(sandbox, "x = 1")
    with pytest.raises(ConfigError, match=f"cannot get another {named} now.\n.*reset work"):
        await cell(sandbox, "1", **options)
    assert await said(sandbox, "x") == "1"


@pytest.mark.parametrize("name", ["", "../up", "a b", "x" * 65, "-x"])
async def test_a_name_that_cannot_be_is_refused(sandbox: Sandbox, name: str) -> None:
    with pytest.raises(ConfigError, match="is no name for a session"):
        await cell(sandbox, "1", name)


async def test_a_session_cannot_be_fresh(sandbox: Sandbox) -> None:
    with pytest.raises(ConfigError, match="fresh asks for the opposite"):
        await cell(sandbox, "1", fresh=True)


# -- where it is isolated -----------------------------------------------------------------------------------------------------------


@pytest.mark.docker
async def test_in_a_container(docker_sandbox: Sandbox) -> None:
    await in_isolation(docker_sandbox, DOCKER_MODE)
    assert (docker_sandbox.session_views()[0].peak_bytes or 0) > MIB


async def test_in_restricted_mode() -> None:
    async with Sandbox(SandboxSettings(container_pool=POOL)) as sandbox:
        try:
            await sandbox.check("restricted")
        except SandboxError as exc:
            pytest.skip(f"no restricted mode here: {exc}")
        await in_isolation(sandbox, "restricted")


async def in_isolation(sandbox: Sandbox, mode: str) -> None:
    """The session's process is its guest's child and as unprivileged; what it left is gone with it."""
    await cell(sandbox, "import os; x = 1; open('left', 'w').write('x')", mode=mode)
    assert await said(sandbox, "x, os.getppid(), os.path.exists('left')") == "(1, 1, True)"
    assert await said(sandbox, "[line.split()[1] for line in open('/proc/self/status') if line.startswith(('CapEff', 'Seccomp:'))]") == (
        "['0000000000000000', '2']"
    )
    running = await begun(sandbox, LONG, id="long")
    sandbox.cancel("long")
    assert (await running).status == "killed"
    assert await said(sandbox, "x") == "1"
    assert (await cell(sandbox, "b = bytearray(2 << 30)", timeout=20)).status == "oom"
    assert (await sandbox.execute("import os; print(os.path.exists('left'), 'x' in globals())", mode)).stdout == "False False\n"
    assert (await cell(sandbox, LONG, timeout=0.5)).status == "timeout"
    assert (await cell(sandbox, "print('x' in globals(), __import__('os').listdir())")).stdout == "False []\n"
