"""`gleitzeit-nb explain`, over real HTTP servers."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator

import pytest

from gleitzeit_nb.cli import main
from tests.support.fake_ollama import FakeOllama


@pytest.fixture
def server() -> Iterator[str]:
    """The URL of a fake server on a loop of its own."""
    loop, fake = asyncio.new_event_loop(), FakeOllama("fake")
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(fake.listen(), loop).result(10)
    yield fake.url
    asyncio.run_coroutine_threadsafe(fake.die(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def test_it_shows_who_would_answer_and_exits_1_when_nobody_would(
    server: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLEITZEIT_OLLAMA_INSTANCES", f"one:{server}")
    assert main(["explain", "-m", "llama3.2", "--strategy", "priority"]) == 0
    assert "picked: 0/1 in flight" in capsys.readouterr().out
    assert main(["explain", "-m", "llama3.2", "-t", "gpu", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert [row["verdict"] for row in said["rows"]] == ["no tag gpu"]
    assert main(["explain", "--strategy", "fastest"]) == 1
    assert "there is no load balancing strategy 'fastest'" in capsys.readouterr().err
