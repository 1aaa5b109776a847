"""What a front end's commands do to a real pool and a real sandbox, and what they refuse."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from gleitzeit_nb.config import Config, load
from gleitzeit_nb.core.execution import ContainerPoolSettings, SandboxSettings
from gleitzeit_nb.engine import Engine
from gleitzeit_nb.errors import GleitzeitError, RequestCancelledError, UsageError
from gleitzeit_nb.jupyter.control.actions import Done, doing, perform
from gleitzeit_nb.jupyter.control.commands import COMMANDS, FIELDS, Command, read_command
from gleitzeit_nb.runtime import Runtime
from gleitzeit_nb.sandbox import Sandbox
from tests.sandbox.subprocess_channel import SubprocessLauncher
from tests.support.fake_ollama import FakeOllama
from tests.support.hostile import ANSI, NAME, SHORT_NAME
from tests.support.waiting import until

ENDLESS = ["x "] * 100_000


@dataclass
class NoRuntime:
    """Only what commands need of one."""

    reloads: int = 0
    ended: str = ""

    def reload(self) -> str:
        self.reloads += 1
        return self.ended

    def config(self) -> Config:
        return load(environ={}, home=Path("/nonexistent"))


@dataclass
class Panel:
    engine: Engine
    runtime: NoRuntime

    async def say(self, kind: str, **words: str) -> Done:
        command = read_command({"type": kind, **words})
        return await perform(command, self.engine, cast(Runtime, self.runtime))

    async def refused(self, kind: str, **words: str) -> str:
        with pytest.raises(GleitzeitError) as caught:
            await self.say(kind, **words)
        return str(caught.value)


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[SubprocessLauncher]:
    made = SubprocessLauncher(tmp_path)
    yield made
    for channel in made.channels:
        if channel.process.returncode is None:
            channel.process.kill()


@pytest.fixture
async def server() -> AsyncIterator[FakeOllama]:
    async with FakeOllama("gpu-1", token_s=0.005, tokens=lambda body: ENDLESS) as made:
        yield made


def configured(server: FakeOllama, **ollama: Any) -> Config:
    instance = {"id": server.id, "url": server.url, "max_concurrent": 1}
    return load({"instances": [instance], **ollama}, environ={}, home=Path("/nonexistent"))


@pytest.fixture
async def panel(server: FakeOllama, launcher: SubprocessLauncher) -> AsyncIterator[Panel]:
    async with Engine(configured(server)) as engine:
        settings = SandboxSettings(container_pool=ContainerPoolSettings(min_warm=0))
        before, engine._sandbox = engine.sandbox, Sandbox(settings, launchers={"docker": launcher})
        await before.close()
        await engine.sandbox.start()
        yield Panel(engine, NoRuntime())


async def asked(panel: Panel) -> asyncio.Task[Any]:
    """A request whose answer has begun."""
    task = asyncio.ensure_future(panel.engine.pool.chat("llama3.2", "hi"))
    await until(lambda: any(run.tokens for run in panel.engine.pool.run_views()))
    return task


async def begun(panel: Panel, **options: Any) -> asyncio.Task[Any]:
    heard: list[str] = []
    code = "import time\nprint('begun', flush=True)\ntime.sleep(60)"
    task = asyncio.ensure_future(panel.engine.sandbox.execute(code, on_output=lambda _, text: heard.append(text), **options))
    await until(lambda: bool(heard))
    return task


async def test_a_request_is_cancelled_by_its_id_in_the_snapshot(panel: Panel) -> None:
    task = await asked(panel)
    [run] = panel.engine.snapshot().runs
    assert (run.model, run.cancellable) == ("llama3.2", True)
    assert await panel.say("cancel", run=run.id) == Done("chat llama3.2 was cancelled.")
    with pytest.raises(RequestCancelledError, match="cancelled from the side panel"):
        await task
    assert panel.engine.snapshot().runs == ()
    assert "has no request or run" in await panel.refused("cancel", run=run.id)


async def test_a_run_is_cancelled_by_its_id_in_the_snapshot(panel: Panel) -> None:
    task = await begun(panel, label="[7] %%sandbox")
    [run] = panel.engine.snapshot().runs
    assert (await panel.say("cancel", run=run.id)).text == "[7] %%sandbox was cancelled."
    result = await asyncio.wait_for(task, 10)
    assert (result.status, result.detail) == ("killed", "cancelled from the side panel before its end")


async def test_a_container_is_stopped_with_what_was_in_it(panel: Panel) -> None:
    task = await begun(panel)
    [view] = panel.engine.snapshot().container_list
    assert (
        await panel.say("stop_container", container=view.id)
    ).text == f"The container {view.id} was stopped. The run in it ends as killed."
    assert (await asyncio.wait_for(task, 10)).detail == "stopped from the side panel before its end"
    await panel.engine.sandbox.execute("x = 1", session="work")
    [view] = panel.engine.snapshot().container_list
    told = (await panel.say("stop_container", container=view.id)).text
    assert told == f"The container {view.id} was stopped. The session work is over, and its variables are gone."
    assert panel.engine.snapshot().sessions == ()


async def test_a_session_is_reset(panel: Panel) -> None:
    await panel.engine.sandbox.execute("x = 1", session="work")
    assert (await panel.say("reset_session", session="work")).text == "The session work is over, and its variables are gone."
    assert "no session" in await panel.refused("reset_session", session="work")


async def test_a_model_is_loaded_and_unloaded_on_the_instance_that_is_meant(panel: Panel, server: FakeOllama) -> None:
    server.tokens = lambda body: []
    [view] = panel.engine.snapshot().instances
    told = (await panel.say("warm", instance="gpu-1", model=view.models[0])).text
    assert told.startswith(f"gpu-1  has {view.models[0]} loaded")
    assert [each.name for each in panel.engine.snapshot().instances[0].warm] == [view.models[0]]
    assert "gpu-1" in (await panel.say("unload", instance="gpu-1", model=view.models[0])).text
    await until(lambda: panel.engine.snapshot().instances[0].warm == ())
    assert "no loaded model" in await panel.refused("unload", instance="gpu-1", model=view.models[0])
    assert "no model 'mixtral'" in await panel.refused("warm", instance="gpu-1", model="mixtral")


async def test_the_pool_is_started_anew_and_cells_are_told(panel: Panel, server: FakeOllama) -> None:
    running = await asked(panel)
    waiting = asyncio.ensure_future(panel.engine.pool.chat("llama3.2", "hi"))
    await until(lambda: panel.engine.pool.queue_depth == 1)
    await panel.engine.sandbox.execute("x = 1", session="work")
    before = panel.engine.pool
    told = (await panel.say("restart_pool")).text
    assert told == "The pool was started anew with 1 instances. 2 requests have ended. Sandboxes and sessions go on."
    for task in (running, waiting):
        with pytest.raises(RequestCancelledError, match="cancelled because the pool was restarted"):
            await task
    assert panel.engine.pool is not before
    assert [each.name for each in panel.engine.snapshot().sessions] == ["work"]
    server.tokens = lambda body: ["well"]
    assert (await panel.engine.pool.chat("llama3.2", "hi")).text == "well"


async def test_what_watches_goes_on_over_a_restart(panel: Panel) -> None:
    seen: list[int] = []
    panel.engine.watch(lambda snapshot: seen.append(snapshot.seq))
    await until(lambda: bool(seen))
    await panel.say("restart_pool")
    count = len(seen)
    await panel.engine.pool.drain("gpu-1")
    await until(lambda: len(seen) > count)


async def test_reload_reads_the_configuration_again_also_before_anything_runs(panel: Panel) -> None:
    assert (await panel.say("reload")).text == "The configuration was read again."
    await perform(Command("reload"), None, cast(Runtime, panel.runtime))
    assert panel.runtime.reloads == 2
    panel.runtime.ended = "The sandbox was configured anew, which ended 1 run."
    assert (await panel.say("reload")).text == f"The configuration was read again. {panel.runtime.ended}"


@pytest.mark.filterwarnings("ignore::gleitzeit_nb.config.credentials.ConfigWarning")
async def test_diagnostics_tell_versions_findings_and_state_without_what_is_private(server: FakeOllama) -> None:
    config = load(
        {
            "instances": [
                {"id": "gpu-1", "url": server.url, "api_key": "canary-key-0001"},
                {"id": "far", "url": "http://ann:canary-pass-02@gpu-box.lab.example:11434", "headers": {"X-Key": "canary-head-03"}},
            ]
        },
        {"wheelhouse": "/home/ann/secret project/wheels"},
        environ={},
        home=Path("/home/ann"),
    )
    async with Engine(config) as engine:
        panel = Panel(engine, NoRuntime())
        told = await panel.say("diagnostics")
    for part in ("gleitzeit-nb ", "python ", "ipykernel ", "Doctor", "gpu-1", '"load_balancing"', "Ollama instances", server.url):
        assert part in told.report
    for private in ("canary", "gpu-box", "lab.example", "/home/ann", "ann:"):
        assert private not in told.report
    assert "http://(host 1):11434" in told.report
    assert len(told.report) <= 60_000


async def test_diagnostics_without_an_engine_start_none(panel: Panel) -> None:
    told = await perform(Command("diagnostics"), None, cast(Runtime, panel.runtime))
    assert "nothing runs yet" in told.report


@pytest.mark.parametrize("kind", [kind for kind in COMMANDS if FIELDS[kind]])
async def test_what_is_none_of_this_kernel_changes_nothing_and_is_told_in_a_line(panel: Panel, kind: str) -> None:
    await panel.engine.sandbox.execute("x = 1", session="work")
    before = panel.engine.snapshot()
    for text in (NAME, SHORT_NAME, ANSI, "x" * 1000, "\ud800", "gpu-1\x00", " gpu-1", "*", "work' or '1"):
        told = await panel.refused(kind, **dict.fromkeys(FIELDS[kind], text))
        assert len(told) < 300
    after = panel.engine.snapshot()
    assert (after.instances[0].draining, after.sessions, after.container_list) == (False, before.sessions, before.container_list)


@pytest.mark.parametrize("kind", [kind for kind in COMMANDS if kind not in ("reload", "diagnostics")])
async def test_nothing_is_started_for_a_command(panel: Panel, kind: str) -> None:
    with pytest.raises(UsageError, match="Nothing runs in this kernel yet"):
        await perform(Command(kind, "x", "y"), None, cast(Runtime, panel.runtime))


@pytest.mark.parametrize("kind", COMMANDS)
def test_every_command_that_takes_a_while_says_what_it_does(kind: str) -> None:
    assert doing(Command(kind, "gpu-1\n", "llama3.2")).count("\n") == 0


def test_reports_are_json() -> None:
    fields: Mapping[str, str] = Done("text", "report")._asdict()
    assert json.loads(json.dumps(fields)) == {"text": "text", "report": "report"}
