"""The face over all modes: which mode a run gets, what it refuses, what the views show. Launchers are fakes with real guests."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gleitzeit_nb.core.execution import ContainerPoolSettings, ExecutionRequest, Limits, ModeSettings, SandboxSettings, default_modes
from gleitzeit_nb.errors import (
    ConfigError,
    EngineClosedError,
    ImageMissingError,
    ModeDisabledError,
    SandboxUnavailableError,
    TransferError,
    WrongLoopError,
)
from gleitzeit_nb.events import ContainerLost, RunEnded
from gleitzeit_nb.sandbox import DockerExecutor, Sandbox
from tests.sandbox.subprocess_channel import SubprocessLauncher
from tests.support.waiting import until

POOL = ContainerPoolSettings(min_warm=0)
LONG = "import time\nprint('begun')\ntime.sleep(60)"


@pytest.fixture
def other(tmp_path: Path) -> SubprocessLauncher:
    folder = tmp_path / "other"
    folder.mkdir()
    return SubprocessLauncher(folder)


@pytest_asyncio.fixture
async def sandbox(launcher: SubprocessLauncher, other: SubprocessLauncher) -> AsyncIterator[Sandbox]:
    """`launcher` stands for Docker, `other` for restricted."""
    async with Sandbox(SandboxSettings(container_pool=POOL), launchers={"docker": launcher, "restricted": other}) as made:
        yield made


def with_modes(*modes: ModeSettings, **settings: Any) -> SandboxSettings:
    return SandboxSettings({**default_modes(), **{mode.id: mode for mode in modes}}, container_pool=POOL, **settings)


# -- which mode ----------------------------------------------------------------------------------------------------------------


async def test_auto_is_docker_where_there_is_one(sandbox: Sandbox) -> None:
    assert sandbox.default_mode == ""
    assert await sandbox.resolve_default() == ("docker-sandbox", "a plain child process")
    assert (await sandbox.execute("1")).mode == "docker-sandbox"
    assert sandbox.default_mode == "docker-sandbox"


async def test_auto_is_restricted_without_docker(sandbox: Sandbox, launcher: SubprocessLauncher) -> None:
    launcher.failure = SandboxUnavailableError("no daemon")
    assert (await sandbox.execute("1")).mode == "restricted"


async def test_auto_is_settled_once_and_does_not_step_down_later(sandbox: Sandbox, launcher: SubprocessLauncher) -> None:
    await sandbox.resolve_default()
    launcher.failure = SandboxUnavailableError("the daemon was stopped")
    with pytest.raises(SandboxUnavailableError, match="the daemon was stopped"):
        await sandbox.execute("1")


async def test_auto_does_not_step_up_either(sandbox: Sandbox, launcher: SubprocessLauncher) -> None:
    launcher.failure = SandboxUnavailableError("no daemon")
    await sandbox.resolve_default()
    launcher.failure = None
    assert (await sandbox.execute("1")).mode == "restricted"


async def test_without_any_isolation_nothing_runs_and_every_reason_is_named(
    sandbox: Sandbox, launcher: SubprocessLauncher, other: SubprocessLauncher
) -> None:
    launcher.failure = ImageMissingError("no image: gleitzeit-nb images build")
    other.failure = SandboxUnavailableError("no user namespaces")
    with pytest.raises(SandboxUnavailableError) as caught:
        await sandbox.execute("print('ran')")
    for part in ("docker-sandbox  no image: gleitzeit-nb images build", "restricted      no user namespaces", "never run without"):
        assert part in str(caught.value)
    launcher.failure = None
    assert (await sandbox.execute("1")).ok


async def test_auto_is_never_local(launcher: SubprocessLauncher, other: SubprocessLauncher) -> None:
    launcher.failure = other.failure = SandboxUnavailableError("no")
    enabled = replace(default_modes()["local"], enabled=True)
    async with Sandbox(
        with_modes(enabled), launchers={"docker": launcher, "restricted": other, "local": SubprocessLauncher(launcher.root)}
    ) as sandbox:
        with pytest.raises(SandboxUnavailableError):
            await sandbox.execute("1")
        assert (await sandbox.execute("1", "local")).ok


async def test_a_named_mode_is_never_replaced(sandbox: Sandbox, launcher: SubprocessLauncher) -> None:
    launcher.failure = SandboxUnavailableError("no daemon")
    with pytest.raises(SandboxUnavailableError, match="no daemon"):
        await sandbox.execute("1", "docker-sandbox")
    async with Sandbox(with_modes(default_mode="docker-sandbox"), launchers={"docker": launcher}) as named:
        assert named.default_mode == "docker-sandbox"
        with pytest.raises(SandboxUnavailableError, match="no daemon"):
            await named.execute("1")


async def test_a_mode_that_is_switched_off_says_how_to_switch_it_on(sandbox: Sandbox) -> None:
    with pytest.raises(ModeDisabledError, match=r"without any isolation.*enabled: true"):
        await sandbox.execute("1", "local")


async def test_an_unknown_mode_names_the_nearest(sandbox: Sandbox) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'docker-sandbox'"):
        await sandbox.execute("1", "docker-sandbx")


async def test_a_mode_called_auto_means_the_default(sandbox: Sandbox) -> None:
    assert (await sandbox.execute("1", "auto")).mode == "docker-sandbox"


# -- a run ----------------------------------------------------------------------------------------------------------------------


async def test_a_run_tells_its_times_and_what_held_it(sandbox: Sandbox) -> None:
    cold, warm = [await sandbox.execute("import time; time.sleep(0.1)") for _ in range(2)]
    assert cold.timings.start_s > 0
    assert warm.timings.start_s == 0
    assert warm.timings.run_s >= 0.1
    assert cold.container == warm.container
    assert warm.isolation == "a plain child process; weaker: no isolation: a test's double"


async def test_limits_are_the_modes_with_the_runs_own_on_top(launcher: SubprocessLauncher) -> None:
    mode = ModeSettings("m", "docker", "M", limits=Limits(timeout_s=0.3, output_bytes=500))
    async with Sandbox(with_modes(mode), launchers={"docker": launcher}) as sandbox:
        assert (await sandbox.execute(LONG, "m")).status == "timeout"
        assert (await sandbox.execute("import time; time.sleep(0.5)", "m", timeout="20s")).ok
        result = await sandbox.execute("print('x' * 2000)", "m", max_output="1k", timeout=20)
        assert result.truncated == {"stdout": 2001 - 1024}


async def test_a_request_can_be_given_whole(sandbox: Sandbox) -> None:
    result = await sandbox.execute(ExecutionRequest("mine", "y = x * 2", inputs={"x": 21}, outputs=("y",), limits=Limits(timeout_s=20)))
    assert result.outputs == {"y": 42}
    with pytest.raises(TypeError):
        await sandbox.execute(ExecutionRequest("mine", "1"), "restricted")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"network": "bridge"}, "'none' or 'restricted'"),
        ({"network": "none", "allow": ["example.org"]}, "Leave out one"),
        ({"allow": ["https://example.org/"]}, "should be a host"),
        ({"allow": "example.org"}, "must be a list"),
        ({"session": "a b"}, "no name for a session"),
        ({"volumes": {"/data": {"bind": "/data"}}}, "no folder is named beneath which volumes may lie"),
        ({"volumes": ["/data"]}, "volumes should be host:guest"),
        ({"volumes": {"/data": "/data"}, "mode": "restricted"}, "'restricted' is no container and has no volumes"),
        ({"gpu": True, "mode": "restricted"}, "'restricted' is no container and has no gpu"),
        ({"memory_limit": "lots"}, "lots"),
        ({"memory_limit": "1m"}, "memory_limit should be at least 16m"),
        ({"timeout": 0}, "0"),
        ({"pids_limit": -1}, "pids_limit should be greater than or equal to 1, not -1"),
        ({"cpu_limit": "two"}, "This run cannot have its limits: cpu_limit should be a valid number"),
        ({"max_output": "65m"}, "at most"),
    ],
)
async def test_what_cannot_be_had_is_refused_by_name_and_nothing_runs(
    sandbox: Sandbox, launcher: SubprocessLauncher, options: Mapping[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        await sandbox.execute("1", **options)
    assert launcher.channels == []


async def test_an_unknown_keyword_is_a_type_error(sandbox: Sandbox) -> None:
    with pytest.raises(TypeError, match="privileged"):
        await sandbox.execute("1", privileged=True)  # type: ignore[call-arg]


async def test_what_cannot_be_transferred_costs_no_worker(sandbox: Sandbox) -> None:
    await sandbox.execute("1")
    with pytest.raises(TransferError):
        await sandbox.execute("1", inputs={"x": object()})
    assert [type(event).__name__ for event in sandbox.events.log] == ["ContainerMade", "RunEnded"]


@pytest.mark.parametrize(("code", "reason"), [(LONG, "timeout"), ("raise MemoryError", "oom")])
async def test_a_worker_is_discarded_after_such_a_run(sandbox: Sandbox, code: str, reason: str) -> None:
    await sandbox.execute(code, timeout=0.3)
    assert [event.reason for event in sandbox.events.log if isinstance(event, ContainerLost)] == [reason]
    assert (await sandbox.execute("1")).ok


async def test_every_run_ends_in_an_event(sandbox: Sandbox) -> None:
    await sandbox.execute("1")
    await sandbox.execute("1/0")
    assert [event.status for event in sandbox.events.log if isinstance(event, RunEnded)] == ["ok", "error"]


# -- cancelling -----------------------------------------------------------------------------------------------------------------


async def test_a_run_can_be_cancelled_by_its_id_and_keeps_its_output(sandbox: Sandbox) -> None:
    heard: list[str] = []
    running = asyncio.create_task(sandbox.execute(LONG, on_output=lambda _, text: heard.append(text)))
    await until(lambda: bool(heard))
    (view,) = sandbox.run_views()
    assert sandbox.cancel(view.id)
    result = await asyncio.wait_for(running, 10)
    assert (result.status, result.stdout) == ("killed", "begun\n")
    assert not sandbox.cancel(view.id)


async def test_a_run_can_be_cancelled_while_it_waits(launcher: SubprocessLauncher) -> None:
    settings = replace(with_modes(), container_pool=replace(POOL, max_containers=1))
    async with Sandbox(settings, launchers={"docker": launcher}) as sandbox:
        first = asyncio.create_task(sandbox.execute(LONG, label="first"))
        await until(lambda: bool(sandbox.run_views()) and sandbox.run_views()[0].state == "running")
        second = asyncio.create_task(sandbox.execute(LONG, label="second"))
        await until(lambda: len(sandbox.run_views()) == 2 and sandbox.run_views()[1].state == "queued 1st")
        assert sandbox.describe(sandbox.run_views()[1].id) == "queued 1st"
        sandbox.cancel(sandbox.run_views()[1].id)
        result = await asyncio.wait_for(second, 10)
        assert (result.status, result.detail) == ("killed", "stopped before it started")
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert sandbox.run_views() == ()
        assert (await sandbox.execute("1")).ok


async def test_cancelling_the_caller_discards_the_worker(sandbox: Sandbox, launcher: SubprocessLauncher) -> None:
    heard: list[str] = []
    running = asyncio.create_task(sandbox.execute(LONG, on_output=lambda _, text: heard.append(text)))
    await until(lambda: bool(heard))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 5)
    assert [event.reason for event in sandbox.events.log if isinstance(event, ContainerLost)] == ["cancelled"]
    await until(lambda: launcher.channels[0].process.returncode is not None)


# -- views ----------------------------------------------------------------------------------------------------------------------


async def test_views_show_each_mode_as_it_is(sandbox: Sandbox, launcher: SubprocessLauncher) -> None:
    views = {view.id: view for view in sandbox.mode_views()}
    assert [(view.level, view.enabled, view.available, view.note) for view in views.values()] == [
        (3, True, None, ""),
        (4, True, None, ""),
        (2, True, None, ""),
        (1, False, None, "disabled"),
    ]
    launcher.failure = SandboxUnavailableError("no daemon\nstart it")
    with pytest.raises(SandboxUnavailableError):
        await sandbox.check("docker-sandbox")
    await sandbox.execute("1", "restricted")
    docker, _, restricted, _ = sandbox.mode_views()
    assert (docker.available, docker.note) == (False, "no daemon")
    assert (restricted.available, restricted.note, restricted.containers) == (True, "no isolation: a test's double", 1)


async def test_a_users_own_container_mode_is_level_four(launcher: SubprocessLauncher) -> None:
    async with Sandbox(with_modes(ModeSettings("mine", "docker", "Mine")), launchers={"docker": launcher}) as sandbox:
        assert [view.level for view in sandbox.mode_views()] == [3, 4, 2, 1, 4]


async def test_an_image_that_one_run_named_says_nothing_about_the_mode(sandbox: Sandbox, launcher: SubprocessLauncher) -> None:
    await sandbox.execute("1")
    launcher.failure = ImageMissingError("no image nope")
    with pytest.raises(ImageMissingError):
        await sandbox.execute("1", image="nope")
    assert sandbox.mode_views()[0].available is True


async def test_a_run_shows_while_it_goes_on(sandbox: Sandbox) -> None:
    running = asyncio.create_task(sandbox.execute("\n\nimport time\ntime.sleep(60)"))
    await until(lambda: bool(sandbox.run_views()) and sandbox.run_views()[0].state == "running")
    (view,) = sandbox.run_views()
    assert (view.kind, view.label, view.where) == ("sandbox", "import time", "docker-sandbox")
    assert sandbox.describe(view.id).startswith("running, ")
    assert sandbox.describe("unknown") == ""
    assert sandbox.mode_views()[0].active == 1
    sandbox.cancel(view.id)
    await running


# -- life -----------------------------------------------------------------------------------------------------------------------


async def test_it_is_used_between_start_and_close() -> None:
    sandbox = Sandbox()
    with pytest.raises(EngineClosedError):
        await sandbox.execute("1")
    await sandbox.start()
    await sandbox.start()
    await sandbox.close()
    await sandbox.close()
    with pytest.raises(EngineClosedError):
        await sandbox.execute("1")
    with pytest.raises(EngineClosedError):
        await sandbox.start()


async def test_it_belongs_to_one_loop(sandbox: Sandbox) -> None:
    raised: list[BaseException] = []

    def elsewhere() -> None:
        try:
            asyncio.run(sandbox.execute("1"))
        except WrongLoopError as exc:
            raised.append(exc)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    await asyncio.to_thread(thread.join)
    assert len(raised) == 1


async def test_closing_closes_the_launchers(launcher: SubprocessLauncher) -> None:
    async with Sandbox(launchers={"docker": launcher}) as sandbox:
        await sandbox.execute("1")
    assert launcher.closed


def test_settings_may_be_a_dictionary() -> None:
    sandbox = Sandbox({"default_mode": "restricted", "modes": {"docker-sandbox": {"memory_limit": "256m"}}})
    assert sandbox.default_mode == "restricted"
    assert sandbox.settings.modes["docker-sandbox"].limits.memory_bytes == 256 << 20


def test_an_executor_knows_containers_only() -> None:
    executor = DockerExecutor({"default_mode": "restricted", "modes": {"local": {"enabled": True}}})
    assert set(executor.settings.modes) == {"docker-sandbox", "docker-datascience"}
    assert executor.default_mode == "docker-sandbox"


def test_nothing_heavy_is_loaded_before_it_is_needed() -> None:
    code = "import sys\nfrom gleitzeit_nb.sandbox import Sandbox\nSandbox()\n"
    code += "print('docker' in sys.modules, 'gleitzeit_nb.sandbox.docker' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "False False\n"
