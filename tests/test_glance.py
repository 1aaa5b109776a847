"""What the servers say before an engine runs: over real sockets, and nothing is left behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gleitzeit_nb import glance as glances
from gleitzeit_nb.config import Config, load
from gleitzeit_nb.core.access import Secret
from gleitzeit_nb.glance import glance
from gleitzeit_nb.snapshot import InstanceView
from tests.support.fake_ollama import FakeOllama, Fault, Kind
from tests.support.waiting import until

LISTED = ("llama3.2:latest", "mixtral:latest")


def configured(*servers: FakeOllama, **more: object) -> Config:
    instances = [{"id": each.id, "url": each.url, "tags": ["gpu"], "models": ["declared"], **more} for each in servers]
    return load({"instances": instances}, environ={}, home=Path("/nonexistent"))


async def seen(config: Config) -> list[InstanceView]:
    views: list[InstanceView] = []
    await glance(config, views.append)
    return views


async def test_what_is_configured_is_told_at_once_and_what_the_server_says_when_it_says_it() -> None:
    async with FakeOllama("north", LISTED) as north:
        north.shelf.loaded["mixtral:latest"] = "as usual"
        views = await seen(configured(north))
    assert [(view.id, view.tags, view.state, view.models) for view in views] == [
        ("north", ("gpu",), "unknown", ("declared",)),
        ("north", ("gpu",), "healthy", ("llama3.2", "mixtral")),
    ]
    assert [model.name for model in views[-1].warm] == ["mixtral"]


async def test_nothing_is_loaded_and_no_model_is_asked() -> None:
    async with FakeOllama("north", LISTED) as north:
        await seen(configured(north))
    assert sorted(request.path for request in north.requests) == ["/api/ps", "/api/tags"]


async def test_a_server_that_hangs_keeps_back_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glances, "PATIENCE_S", 0.3)
    async with FakeOllama("dead") as dead, FakeOllama("north", LISTED) as north:
        dead.fault = Fault(Kind.HANG_BEFORE_HEADERS, everywhere=True)
        last = {view.id: view for view in await seen(configured(dead, north))}
    assert (last["dead"].state, last["dead"].models) == ("unhealthy", ("declared",))
    assert last["north"].models == ("llama3.2", "mixtral")


async def test_a_key_is_sent_as_the_pool_would() -> None:
    async with FakeOllama("north", LISTED, api_key="s3cret-key") as north:
        [_, told] = await seen(configured(north, api_key=Secret("s3cret-key")))
        [_, refused] = await seen(configured(north))
    assert told.models == ("llama3.2", "mixtral")
    assert (refused.state, refused.models) == ("unhealthy", ("declared",))
    assert "s3cret" not in repr(told)


async def test_an_unconfigured_server_is_found_where_one_usually_is() -> None:
    async with FakeOllama("north", LISTED) as north:
        config = load(environ={"OLLAMA_HOST": north.url}, home=Path("/nonexistent"))
        views = await seen(config)
    assert views[-1].models == ("llama3.2", "mixtral")


async def test_where_none_answers_the_embedded_model_is_told_of_and_not_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gleitzeit_nb.embedded.server.is_ready", lambda: True)
    config = load(environ={"OLLAMA_HOST": "http://127.0.0.1:9"}, home=Path("/nonexistent"))
    [view] = await seen(config)
    assert (view.id, view.state, view.models) == ("embedded", "unknown", ("smollm2:135m",))


async def test_a_recording_answers_alone_and_nobody_is_asked(tmp_path: Path) -> None:
    recording = tmp_path / "answers.jsonl"
    recording.write_text("")
    async with FakeOllama("north", LISTED) as north:
        environ = {"GLEITZEIT_REPLAY": str(recording), "GLEITZEIT_OLLAMA_INSTANCES": f"north:{north.url}"}
        assert await seen(load(environ=environ, home=Path("/nonexistent"))) == []
    assert north.requests == []


async def test_a_look_that_is_given_up_closes_its_connections() -> None:
    async with FakeOllama("dead") as dead:
        dead.fault = Fault(Kind.HANG_BEFORE_HEADERS, everywhere=True)
        looking = asyncio.create_task(seen(configured(dead)))
        await until(lambda: dead.requests)
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        await until(lambda: not dead.in_flight)
