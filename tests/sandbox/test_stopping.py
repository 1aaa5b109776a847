"""Ending runs, containers and sessions from outside, by the ids that views show."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from gleitzeit_nb.core.execution import ContainerPoolSettings, ExecutionResult, SandboxSettings
from gleitzeit_nb.events import ContainerLost
from gleitzeit_nb.sandbox import Sandbox
from gleitzeit_nb.snapshot import ContainerView
from tests.sandbox.subprocess_channel import SubprocessLauncher
from tests.support.waiting import until

LONG = "import time\nprint('begun', flush=True)\ntime.sleep(60)"
PANEL = "stopped from the side panel"
POOL = ContainerPoolSettings(min_warm=0)


@pytest_asyncio.fixture
async def sandbox(launcher: SubprocessLauncher) -> AsyncIterator[Sandbox]:
    async with Sandbox(SandboxSettings(container_pool=POOL), launchers={"docker": launcher}) as made:
        yield made


async def begun(sandbox: Sandbox, **options: Any) -> asyncio.Task[ExecutionResult]:
    """A long run that has printed."""
    heard: list[str] = []
    task = asyncio.create_task(sandbox.execute(LONG, on_output=lambda _, text: heard.append(text), **options))
    await until(lambda: bool(heard))
    return task


async def ended(running: asyncio.Task[ExecutionResult]) -> ExecutionResult:
    """Its result, without cancelling it: that would end it too."""
    await asyncio.wait({running}, timeout=10)
    assert running.done(), "it goes on"
    return running.result()


def only(sandbox: Sandbox) -> ContainerView:
    [view] = sandbox.container_views()
    return view


def losses(sandbox: Sandbox) -> list[str]:
    return [event.reason for event in sandbox.events.log if isinstance(event, ContainerLost)]


async def test_a_cancelled_run_says_who_ended_it_and_keeps_its_output(sandbox: Sandbox) -> None:
    running = await begun(sandbox, id="cell")
    assert sandbox.cancel("cell", "cancelled from the side panel")
    [view] = sandbox.run_views()
    assert (view.state, view.cancellable) == ("being cancelled", False)
    result = await ended(running)
    assert (result.status, result.stdout, result.detail) == ("killed", "begun\n", "cancelled from the side panel before its end")


async def test_a_run_whose_image_is_still_being_made_can_be_cancelled(
    launcher: SubprocessLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up: list[str] = []

    class SlowShelf:
        async def image_for(self, mode: Any, image: Any, lines: Any, progress: Any) -> str:
            progress("installing 3 wheels\x1b[31m")
            try:
                await asyncio.sleep(60)
            finally:
                given_up.append("wheels")
            return "image"

        def close(self) -> None:
            return

    async with Sandbox(SandboxSettings(container_pool=POOL), launchers={"docker": launcher}) as sandbox:
        monkeypatch.setattr(sandbox, "_layers", SlowShelf())
        told: list[str] = []
        running = asyncio.create_task(sandbox.execute("1", id="cell", requirements=["seaborn==0.13.2"], on_progress=told.append))
        await until(lambda: bool(told))
        [view] = sandbox.run_views()
        assert view.state == sandbox.describe("cell") == "installing 3 wheels␛[31m"
        assert view.container == ""
        assert sandbox.cancel("cell", "cancelled from the side panel")
        result = await ended(running)
        assert (result.status, result.detail) == ("killed", "cancelled from the side panel before it started")
        assert given_up == ["wheels"]
        assert (sandbox.run_views(), sandbox.container_views()) == ((), ())


async def test_a_container_is_shown_through_its_life(sandbox: Sandbox) -> None:
    running = await begun(sandbox, id="cell")
    view = only(sandbox)
    assert (view.mode, view.state, view.runs, view.session, view.run) == ("docker-sandbox", "running", 0, "", "cell")
    assert sandbox.run_views()[0].container == view.id
    sandbox.cancel("cell")
    await running
    assert sandbox.container_views() == ()
    await sandbox.execute("1")
    view = only(sandbox)
    assert (view.state, view.runs, view.run) == ("idle", 1, "")


async def test_an_idle_container_is_removed_and_not_replaced_unasked(launcher: SubprocessLauncher) -> None:
    async with Sandbox(SandboxSettings(container_pool=replace(POOL, min_warm=1)), launchers={"docker": launcher}) as sandbox:
        await sandbox.execute("1")
        await sandbox.warm()
        assert await sandbox.stop_container(only(sandbox).id, PANEL)
        await sandbox._pool.settled()
        assert sandbox.container_views() == ()
        assert losses(sandbox) == ["stopped"]
        assert sandbox.security_view().counts == ()
        assert (await sandbox.execute("1")).ok


async def test_a_running_container_is_removed_and_its_run_says_why(sandbox: Sandbox) -> None:
    running = await begun(sandbox)
    assert await sandbox.stop_container(only(sandbox).id, PANEL)
    result = await ended(running)
    assert (result.status, result.stdout, result.detail) == ("killed", "begun\n", "stopped from the side panel before its end")
    assert losses(sandbox) == ["cancelled"]


async def test_the_container_of_a_session_ends_the_session(sandbox: Sandbox) -> None:
    await sandbox.execute("x = 1", session="work")
    view = only(sandbox)
    assert (view.state, view.session, view.runs) == ("session", "work", 1)
    running = await begun(sandbox, session="work", id="cell")
    assert only(sandbox).run == "cell"
    assert await sandbox.stop_container(view.id, PANEL)
    result = await ended(running)
    assert result.status == "killed"
    assert result.detail.startswith("stopped from the side panel before its end; the session 'work' is over")
    assert (sandbox.session_views(), sandbox.container_views()) == ((), ())


@pytest.mark.parametrize("name", ["", "subprocess-0", "x" * 1000, "*"])
async def test_what_is_no_container_of_this_sandbox_is_left_alone(sandbox: Sandbox, name: str) -> None:
    await sandbox.execute("1")
    assert not await sandbox.stop_container(name, PANEL)
    assert only(sandbox).state == "idle"
