"""The mode `local`: tidy, and with no isolation. The attempts that fail in restricted mode succeed here: those tests can fail."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gleitzeit_nb.core.execution import MIB, ExecutionRequest, ExecutionResult, Limits, ModeSettings
from gleitzeit_nb.errors import ConfigError, ModeDisabledError, SandboxProtocolError
from gleitzeit_nb.jupyter.dashboard.markup import static
from gleitzeit_nb.jupyter.values import SandboxRun
from gleitzeit_nb.rendering.text import status_text
from gleitzeit_nb.sandbox import Sandbox
from gleitzeit_nb.sandbox.connection import GuestConnection
from gleitzeit_nb.sandbox.local import LocalLauncher
from tests.support import snapshots
from tests.support.waiting import until

MODE = ModeSettings("local", "local", "Local", environment={"GIVEN": "yes"})
LIMITS = Limits(timeout_s=30)


@pytest.fixture
async def launcher() -> AsyncIterator[LocalLauncher]:
    made = LocalLauncher()
    yield made
    await made.aclose()


@pytest.fixture
async def guest(launcher: LocalLauncher) -> AsyncIterator[GuestConnection]:
    connection = GuestConnection(await launcher.launch(MODE, LIMITS, None))
    await connection.open()
    yield connection
    await connection.close()


async def run(guest: GuestConnection, code: str) -> ExecutionResult:
    return await guest.run(ExecutionRequest("run", code), LIMITS)


async def test_it_says_everywhere_that_there_is_no_isolation(launcher: LocalLauncher, guest: GuestConnection) -> None:
    assert "no isolation" in await launcher.check(MODE)
    assert guest.channel.expectations.weaker == "no isolation"
    assert "no isolation" in repr(launcher)


async def test_every_view_of_a_run_marks_it_whatever_the_mode_is_called() -> None:
    modes = {"box": {"type": "native", "trusted": True, "label": "Strong box"}}
    async with Sandbox({"modes": modes, "container_pool": {"min_warm": 0}}) as sandbox:
        (view,) = (each for each in sandbox.mode_views() if each.id == "box")
        assert (view.enabled, view.level, view.note) == (True, 1, "no isolation")
        running = asyncio.create_task(sandbox.execute("print(1)\nimport time\ntime.sleep(60)", "box"))
        await until(lambda: any(each.state == "running" for each in sandbox.run_views()))
        (run_view,) = sandbox.run_views()
        assert run_view.where == "box (no isolation)"
        sandbox.cancel(run_view.id)
        assert "no isolation" in SandboxRun(await running).footer()
        assert "no isolation" in SandboxRun(await sandbox.execute("1/0", "box")).footer()
        snapshot = replace(snapshots.MOCK_UP, modes=sandbox.mode_views(), runs=(run_view,))
        assert "no isolation" in status_text(snapshot)
        assert "no isolation" in static(snapshot)


async def test_it_is_off_until_it_is_switched_on() -> None:
    async with Sandbox() as sandbox:
        with pytest.raises(ModeDisabledError, match=r"runs code on this machine without any isolation. Configure `enabled: true`"):
            await sandbox.execute("1", "local")
        assert [view.note for view in sandbox.mode_views() if view.id == "local"] == ["disabled"]


async def test_it_runs_with_a_clean_environment_in_a_directory_of_its_own(guest: GuestConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST_SECRET", "x")
    result = await run(
        guest, "import os; print(os.environ.get('HOST_SECRET'), os.environ['GIVEN'], os.listdir('.'), os.environ['HOME'] == os.getcwd())"
    )
    assert result.stdout == "None yes [] True\n"


async def test_it_is_not_isolated(guest: GuestConnection, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("the host's own")
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = f"""
import os, socket
print(open({str(tmp_path / "file")!r}).read())
os.kill({os.getpid()}, 0)
socket.create_connection({server.getsockname()!r}, 10).close()
"""
        result = await run(guest, code)
    assert (result.status, result.stdout) == ("ok", "the host's own\n"), result


async def test_what_a_run_leaves_is_gone_before_the_next(guest: GuestConnection) -> None:
    await run(guest, "open('left', 'w').close()")
    assert (await run(guest, "import os; print(os.listdir('.'))")).stdout == "[]\n"


async def test_memory_is_bounded_per_process(launcher: LocalLauncher) -> None:
    guest = GuestConnection(await launcher.launch(MODE, Limits(memory_bytes=64 * MIB), None))
    await guest.open()
    assert (await run(guest, "held = bytearray(200 << 20)")).status == "oom"
    await guest.close()


async def test_the_work_directory_goes_with_the_guest(launcher: LocalLauncher) -> None:
    guest = GuestConnection(await launcher.launch(MODE, LIMITS, None))
    await guest.open()
    directory = (await run(guest, "import os; os.makedirs('a/b'); os.chmod('a', 0); print(os.getcwd())")).stdout.strip()
    assert os.path.isdir(directory)  # noqa: ASYNC240 - nobody waits
    await guest.close()
    assert not os.path.exists(directory)  # noqa: ASYNC240 - nobody waits


async def test_a_guest_that_has_gone_refuses_what_is_written_to_it(launcher: LocalLauncher) -> None:
    channel = await launcher.launch(MODE, LIMITS, None)
    await channel.kill()
    await channel.kill()
    assert await channel.read() == b""
    with pytest.raises(SandboxProtocolError, match=channel.name):
        await channel.write(b"x")
    assert (await channel.oom_kills(), await channel.memory_bytes()) == (0, None)


async def test_closing_the_launcher_ends_its_guests(launcher: LocalLauncher) -> None:
    channel = await launcher.launch(MODE, LIMITS, None)
    await launcher.aclose()
    assert await channel.read() == b""


async def test_an_image_is_refused_because_there_is_none(launcher: LocalLauncher) -> None:
    with pytest.raises(ConfigError, match="has no images"):
        await launcher.launch(MODE, LIMITS, "python:3.12")
