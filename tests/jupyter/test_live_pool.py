"""A real shell on a real engine that reads a file, over servers that fail: what a person sees of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from gleitzeit_nb.errors import StreamInterrupted
from gleitzeit_nb.jupyter import extension
from gleitzeit_nb.runtime import Runtime
from tests.support.fake_ollama import FakeOllama, Fault, Kind


def until(condition: Callable[[], object], limit_s: float = 10.0) -> None:
    give_up = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < give_up, "it did not become true in time"
        time.sleep(0.01)


@pytest.fixture
def elsewhere() -> Iterator[Runtime]:
    """A loop for the servers, so that a cell may block its thread."""
    runtime = Runtime()
    yield runtime
    runtime.close()


@pytest.fixture
def servers(elsewhere: Runtime) -> Iterator[dict[str, FakeOllama]]:
    made = {name: FakeOllama(name) for name in ("old", "new", "by-hand")}
    for server in made.values():
        elsewhere.call(server.listen())
    yield made
    for server in made.values():
        elsewhere.call(server.die())


class Notebook:
    """A real shell on a real engine that reads a file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.runtime = Runtime()
        InteractiveShell.clear_instance()
        self.ip = InteractiveShell.instance()
        extension.load(self.ip, lambda: self.runtime)

    def write(self, *servers: FakeOllama, more: str = "") -> None:
        rows = "".join(f"    - {{id: {server.id}, url: {server.url}}}\n" for server in servers)
        self.file.write_text(f"ollama:\n  instances:\n{rows}{more}")

    def run(self, cell: str) -> tuple[Any, str, BaseException | None]:
        """(value, what was printed, error) of a cell."""
        with capture_output() as captured:
            result = self.ip.run_cell(cell)
        return result.result, captured.stdout, result.error_in_exec or result.error_before_exec

    @property
    def instances(self) -> set[str]:
        return {view.id for view in self.runtime.engine.snapshot().instances}

    def close(self) -> None:
        extension.unload(self.ip)
        assert self.ip.history_manager is not None
        self.ip.history_manager.end_session()
        InteractiveShell.clear_instance()
        self.runtime.close()


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    monkeypatch.setenv("GLEITZEIT_CONFIG", str(tmp_path / "config.yaml"))
    opened = Notebook(tmp_path / "config.yaml")
    yield opened
    opened.close()


def test_what_changed_in_the_file_is_taken_over_and_the_rest_goes_on(
    notebook: Notebook, servers: dict[str, FakeOllama], elsewhere: Runtime
) -> None:
    old, new, by_hand = servers["old"], servers["new"], servers["by-hand"]
    notebook.write(old)
    assert notebook.run("%%llm\nfirst")[0].instance == "old"
    pool, runtime = notebook.runtime.engine.pool, notebook.runtime
    runtime.call(pool.add_instance(by_hand.settings(tags=("mine",))))
    old.gate.clear()
    running = runtime.submit(pool.chat("llama3.2", "still running", instance="old"))
    until(lambda: old.in_flight == 1)
    notebook.write(new, more="  load_balancing: {strategy: round_robin, retry_attempts: 1}\n")
    _, printed, error = notebook.run("%gleitzeit reload")
    assert (printed, error) == ("The configuration was read again.\n", None)
    assert notebook.instances == {"new", "by-hand"}
    assert {notebook.run("%%llm\nsecond")[0].instance for _ in range(4)} == {"new", "by-hand"}
    assert notebook.run("%%llm --tags mine\nthird")[0].instance == "by-hand"
    assert not running.done()
    elsewhere.call(_open(old))
    assert running.result(10).instance == "old"
    assert notebook.runtime.engine.pool is pool


async def _open(server: FakeOllama) -> None:
    server.gate.set()


def test_a_file_with_a_mistake_changes_nothing_and_is_named(notebook: Notebook, servers: dict[str, FakeOllama]) -> None:
    notebook.write(servers["old"])
    notebook.run("%%llm\nfirst")
    notebook.write(servers["new"], more="  load_balancing: {strategy: fastest}\n")
    _, _, error = notebook.run("%gleitzeit reload")
    assert "config.yaml" in str(error)
    assert notebook.instances == {"old"}
    assert notebook.run("%%llm\nsecond")[0].instance == "old"


def test_an_answer_that_breaks_off_is_asked_again_on_request_and_says_so(notebook: Notebook, servers: dict[str, FakeOllama]) -> None:
    old, new = servers["old"], servers["new"]
    notebook.write(old, new)
    old.fault = Fault(Kind.CUT, after=2)
    value, printed, error = notebook.run("%%llm --prefer old --restart-on-cut\none two three")
    assert error is None
    assert printed.startswith("one two \n(asked again)\none two three \n")
    assert (value.text, value.instance) == ("one two three ", "new")
    assert value.footer().endswith("1 retry (old: truncated)")
    assert value.footer() in printed
    _, printed, error = notebook.run("%%llm --prefer old\none two three")
    assert printed.startswith("one two \n(the answer was cut here)\n")
    assert "--restart-on-cut" in printed
    assert isinstance(error, StreamInterrupted)
    assert error.partial == "one two "


def test_several_answers_are_spread_over_the_instances(notebook: Notebook, servers: dict[str, FakeOllama]) -> None:
    for server in servers.values():
        server.token_s = 0.05
        server.loaded["llama3.2:latest"] = 1  # else the first that has loaded it would be waited for
    notebook.write(*servers.values())
    answers, _, error = notebook.run("%%llm -n 3\none two three four")
    assert error is None
    assert {answer.instance for answer in answers} == set(servers)
    assert sorted(server.requests[-1].body["options"]["seed"] for server in servers.values()) == [1, 2, 3]


def test_a_conversation_goes_on_where_it_has_been_read(notebook: Notebook, servers: dict[str, FakeOllama]) -> None:
    notebook.write(*servers.values())
    first = notebook.run(f"%%llm --thread t\n{'word ' * 2000}")[0].instance
    assert [notebook.run("%%llm --thread t\nand now?")[0].instance for _ in range(4)] == [first] * 4
    receipts = notebook.runtime.engine.pool.receipts()
    assert {receipt.session for receipt in receipts} == {"t"}
