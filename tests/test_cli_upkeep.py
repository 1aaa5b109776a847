"""`gleitzeit-nb warm`, `pull`, `unload`, `delete`, as people call them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from gleitzeit_nb.cli import main
from tests.support.fake_ollama import FakeOllama

L = "llama3.2:latest"


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FakeOllama, FakeOllama]]:
    """Two fakes on a loop of their own, configured by the environment."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def opened() -> tuple[FakeOllama, FakeOllama]:
        pair = FakeOllama("a"), FakeOllama("b")
        for server in pair:
            await server.listen()
        return pair

    async def closed() -> None:
        await asyncio.gather(*(server.die() for server in pair))

    pair = asyncio.run_coroutine_threadsafe(opened(), loop).result(10)
    monkeypatch.setenv("GLEITZEIT_OLLAMA_INSTANCES", ",".join(f"{server.id}:{server.url}" for server in pair))
    yield pair
    asyncio.run_coroutine_threadsafe(closed(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_models_are_loaded_fetched_unloaded_and_deleted(servers: tuple[FakeOllama, FakeOllama], capsys: pytest.CaptureFixture[str]) -> None:
    a, b = servers
    a.shelf.registry.append("phi:3b")
    assert main(["pull", "phi:3b", "--instance", "a"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "a  has phi:3b"
    assert main(["warm", "llama3.2", "--all"]) == 0
    assert capsys.readouterr().out.count("has llama3.2 loaded") == 2
    assert main(["unload", "llama3.2", "--instance", "b"]) == 0
    assert "unloaded on b." in capsys.readouterr().out
    assert main(["delete", "llama3.2"]) == 2
    err = capsys.readouterr().err
    assert "llama3.2:latest on a" in err
    assert "Add --yes" in err
    assert L in a.models
    assert main(["delete", "llama3.2", "--yes"]) == 0
    assert (a.models, b.models) == (["phi:3b"], [])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["pull", "new"], 1, "say which instance"),
        (["pull", "nobody:1b", "--instance", "a"], 1, "file does not exist"),
        (["warm", "llama3.2", "--instance", "a", "--all"], 2, "one of the three"),
        (["delete", "nobody:1b"], 1, "nothing to delete"),
        (["unload", "llama3.2", "--tags", "tpu"], 1, "no instance with the tags tpu"),
    ],
)
def test_what_cannot_be_says_why_and_what_to_do(
    servers: tuple[FakeOllama, FakeOllama], capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    assert main(arguments) == code
    assert said in capsys.readouterr().err


def test_ask_takes_constraints_and_a_chain_of_models(servers: tuple[FakeOllama, FakeOllama], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", "hi", "-m", "nobody:1b", "--private", "--fallback", "phi:3b,llama3.2"]) == 0
    assert "llama3.2" in capsys.readouterr().err
    assert main(["ask", "hi", "-m", "llama3.2", "--gpu"]) == 1
    assert "no GPU is known" in capsys.readouterr().err
