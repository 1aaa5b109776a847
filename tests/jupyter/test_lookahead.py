"""Tab in a fresh notebook: what is offered before the first cell has started the engine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gleitzeit_nb import glance
from gleitzeit_nb.config import load
from gleitzeit_nb.errors import ConfigError
from gleitzeit_nb.jupyter import extension
from gleitzeit_nb.jupyter.completion import lookahead
from tests.support.completing import offered
from tests.support.fake_ollama import FakeOllama, Fault, Kind
from tests.support.kernel import serving
from tests.support.shell import Shell
from tests.support.waiting import wait_until

LISTED = ("llama3.2:latest", "mixtral:latest")


@pytest.fixture
def north() -> Iterator[FakeOllama]:
    with serving(FakeOllama("north", LISTED)) as server:
        server.shelf.loaded["mixtral:latest"] = "as usual"
        yield server


@pytest.fixture
def fresh(shell: Shell, north: FakeOllama, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """No engine yet, and a patience that a busy machine does not exhaust."""
    runtime: Any = shell.runtime
    runtime.started = False
    configure(shell, north)
    monkeypatch.setattr(lookahead, "FIRST_S", 30.0)
    return shell


def configure(shell: Shell, *servers: FakeOllama) -> None:
    instances = [{"id": each.id, "url": each.url, "tags": ["gpu"]} for each in servers]
    config = load({"instances": instances, "aliases": {"fast": "mixtral"}}, environ={}, home=Path("/nonexistent"))
    shell.engine.config = config


def looking() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "gleitzeit-look"]


def test_the_first_tab_offers_what_the_servers_have_with_loaded_models_first(fresh: Shell) -> None:
    assert offered(fresh, "%%llm -m ") == ["mixtral", "llama3.2", "fast"]
    assert offered(fresh, "%%llm --instance ") == ["north"]
    assert offered(fresh, "%%llm -t ") == ["gpu"]
    assert offered(fresh, "%config GleitzeitNB.model = 'll") == ["llama3.2"]


def test_no_engine_is_started_and_a_server_is_asked_once_in_a_while(fresh: Shell, north: FakeOllama) -> None:
    for _ in range(5):
        offered(fresh, "%%llm -m ")
    runtime: Any = fresh.runtime
    assert runtime.started is False
    assert sorted(request.path for request in north.requests) == ["/api/ps", "/api/tags"]


def test_what_is_wanted_of_the_notebook_alone_asks_nobody(fresh: Shell, north: FakeOllama) -> None:
    assert "--model" in offered(fresh, "%%llm --mod")
    assert "docker-sandbox" in offered(fresh, "%%sandbox --mode ")
    assert offered(fresh, "%%llm\nmodel ") == []
    assert (north.requests, looking()) == ([], [])


def test_a_list_that_is_old_is_asked_for_again_and_offered_meanwhile(
    fresh: Shell, north: FakeOllama, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "mixtral" in offered(fresh, "%%llm -m ")
    monkeypatch.setattr(lookahead, "FRESH_S", 0.0)
    north.shelf.models = ["phi3:latest"]
    assert offered(fresh, "%%llm -m ")
    wait_until(lambda: "phi3" in offered(fresh, "%%llm -m "))
    assert "llama3.2" not in offered(fresh, "%%llm -m ")


def test_a_server_that_hangs_keeps_no_tab_waiting_and_the_others_are_offered(fresh: Shell, north: FakeOllama) -> None:
    with serving(FakeOllama("dead")) as dead:
        dead.fault = Fault(Kind.HANG_BEFORE_HEADERS, everywhere=True)
        configure(fresh, north, dead)
        lookahead.FIRST_S = 0.2  # the fixture restores it
        wait_until(lambda: "mixtral" in offered(fresh, "%%llm -m "))
        assert offered(fresh, "%%llm --instance ") == ["north", "dead"]


def test_a_configuration_that_cannot_be_read_offers_nothing_and_says_nothing(
    fresh: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreadable() -> None:
        raise ConfigError("the file is no YAML")

    monkeypatch.setattr(fresh.runtime, "config", unreadable)
    assert offered(fresh, "%%llm -m ") == []
    assert capsys.readouterr() == ("", "")


def test_once_an_engine_runs_it_alone_says_what_there_is(fresh: Shell) -> None:
    assert offered(fresh, "%%llm --instance ") == ["north"]
    runtime: Any = fresh.runtime
    runtime.started = True
    assert "gpu-1" in offered(fresh, "%%llm --instance ")
    assert "north" not in offered(fresh, "%%llm --instance ")


def test_a_look_ends_with_the_extension(fresh: Shell, north: FakeOllama) -> None:
    north.fault = Fault(Kind.HANG_BEFORE_HEADERS, everywhere=True)
    lookahead.FIRST_S = 0.0  # the fixture restores it
    offered(fresh, "%%llm -m ")
    wait_until(lambda: bool(north.requests))
    extension.unload(fresh.ip)
    fresh.runtime.close()
    wait_until(lambda: not looking())


def test_none_begins_when_the_extension_is_gone(fresh: Shell) -> None:
    ahead = lookahead.LookAhead(fresh.front)
    ahead.close()
    assert ahead.instances() == ()
    wait_until(lambda: not looking())


def test_a_later_tab_waits_for_nobody(fresh: Shell, north: FakeOllama, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "mixtral" in offered(fresh, "%%llm -m ")
    monkeypatch.setattr(lookahead, "FRESH_S", 0.0)
    monkeypatch.setattr(glance, "PATIENCE_S", 60.0)
    north.fault = Fault(Kind.HANG_BEFORE_HEADERS, everywhere=True)
    assert "mixtral" in offered(fresh, "%%llm -m ")
    assert looking(), "the server has not answered yet"
