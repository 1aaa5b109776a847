"""`%llm warm`, `pull`, `unload`, `delete` in a real IPython shell, over a real pool of fake servers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from gleitzeit_nb.core.runner_options import Kept, warning
from gleitzeit_nb.errors import ModelNotFoundError, NoInstanceError, UpkeepError, UsageError
from gleitzeit_nb.llm.pool import OllamaPoolManager
from tests.llm.conftest import settings_for
from tests.support.completing import offered
from tests.support.fake_ollama import FakeOllama
from tests.support.shell import Shell, reply_of

L = "llama3.2:latest"


class Fleet:
    """Two fake servers and a pool of them on the shell's loop."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.a, self.b = FakeOllama("a"), FakeOllama("b")
        self.pool: OllamaPoolManager | None = None
        shell.runtime.call(self._open())

    async def _open(self) -> None:
        await self.a.listen()
        await self.b.listen()
        self.pool = OllamaPoolManager(settings=settings_for(self.a, self.b))
        await self.pool.initialize()
        self.shell.engine.pool = self.pool  # type: ignore[assignment]

    async def close(self) -> None:
        assert self.pool is not None
        await self.pool.close()
        await asyncio.gather(self.a.die(), self.b.die())


@pytest.fixture
def fleet(shell: Shell) -> Iterator[Fleet]:
    opened = Fleet(shell)
    yield opened
    shell.runtime.call(opened.close())


@pytest.fixture
def plain(terminal: Shell) -> Iterator[Fleet]:
    opened = Fleet(terminal)
    yield opened
    terminal.runtime.call(opened.close())


def test_warm_loads_and_says_where(fleet: Fleet) -> None:
    assert "a  has llama3.2 loaded (it took" in fleet.shell.run("%llm warm llama3.2 --instance a").stdout
    assert fleet.shell.run("%llm warm llama3.2 --all").stdout.count("has llama3.2 loaded") == 2
    assert (fleet.a.loads, fleet.b.loads) == (1, 1)


def test_unload_says_where_it_was_loaded(fleet: Fleet) -> None:
    fleet.shell.run("%llm warm llama3.2 --instance b")
    assert "unloaded on b." in fleet.shell.run("%llm unload llama3.2").stdout
    assert fleet.b.loaded == {}
    assert "loaded nowhere" in fleet.shell.run("%llm unload llama3.2").stdout


def test_delete_asks_for_the_word_and_says_what_it_would_delete_where(fleet: Fleet) -> None:
    asked = fleet.shell.run("%llm delete llama3.2")
    assert isinstance(asked.error, UsageError)
    for part in ("llama3.2:latest on a, 2 MB, digest ", "llama3.2:latest on b", "Add --yes"):
        assert part in str(asked.error)
    assert (fleet.a.models, fleet.b.models) == ([L], [L])
    assert "llama3.2 is deleted on a." in fleet.shell.run("%llm delete llama3.2 --instance a --yes").stdout
    assert (fleet.a.models, fleet.b.models) == ([], [L])
    assert isinstance(fleet.shell.run("%llm delete nobody").error, ModelNotFoundError)


def test_pull_draws_in_one_place_of_a_notebook(fleet: Fleet) -> None:
    fleet.a.shelf.registry.append("phi:3b")
    fleet.a.shelf.pull_step_s = 0.15
    cell = fleet.shell.run("%llm pull phi:3b --instance a")
    texts = [display["data"]["text/plain"] for display in cell.displays]
    assert texts[-1] == "a  has phi:3b"
    assert any("█" in text for text in texts[:-1])
    assert len({display["transient"]["display_id"] for display in cell.displays if "transient" in display}) <= 1
    assert cell.stdout == ""


def test_pull_prints_lines_in_a_terminal(plain: Fleet) -> None:
    for server in (plain.a, plain.b):
        server.shelf.registry.append("phi:3b")
        server.shelf.pull_steps = 100
    lines = plain.shell.run("%llm pull phi:3b --all").stdout.splitlines()
    assert {"a  has phi:3b", "b  has phi:3b"} <= set(lines)
    assert 10 < len(lines) < 40


def test_an_interrupt_stops_the_fetching(fleet: Fleet, interrupting: Callable[..., AbstractContextManager[None]]) -> None:
    fleet.a.shelf.registry.append("phi:3b")
    fleet.a.shelf.pull_steps, fleet.a.shelf.pull_step_s = 10_000, 0.05
    with interrupting(after_s=0.5):
        cell = fleet.shell.run("%llm pull phi:3b --instance a")
    assert isinstance(cell.error, KeyboardInterrupt)
    give_up = time.monotonic() + 10
    while fleet.a.shelf.pulling and time.monotonic() < give_up:
        time.sleep(0.02)
    assert (fleet.a.shelf.pulling, fleet.a.models) == (0, [L])


def test_what_makes_no_sense_is_refused_with_what_to_write(fleet: Fleet) -> None:
    for line, kind, said in (
        ("%llm pull", UsageError, "which model"),
        ("%llm warm llama3.2 --instance a --all", UsageError, "one of the three"),
        ("%llm warm llama3.2 --al", UsageError, "did you mean --all"),
        ("%llm wram llama3.2", UsageError, "no subcommand"),
        ("%llm pull phi:3b", NoInstanceError, "say which instance"),
        ("%llm pull nobody:1b --instance a", UpkeepError, "file does not exist"),
    ):
        error = fleet.shell.run(line).error
        assert isinstance(error, kind), line
        assert said in str(error)
    assert "--yes" in fleet.shell.run("%llm delete --help").stdout
    assert "%llm pull" in fleet.shell.run("%llm").stdout


def test_tab_offers_models_and_instances_behind_a_command(shell: Shell) -> None:
    snapshot = shell.engine.snapshot()
    assert {"warm", "pull", "unload", "delete"} <= set(offered(shell, "%llm "))
    assert set(offered(shell, "%llm warm ")) >= {name for view in snapshot.instances for name in view.models}
    assert offered(shell, "%llm pull x --instance ") == [view.id for view in snapshot.instances]
    assert "--yes" in offered(shell, "%llm delete x ")
    assert offered(shell, "%llm models ") == ["--help"]


def test_an_option_that_was_not_followed_is_told_below_the_answer(shell: Shell) -> None:
    from dataclasses import replace

    notice = warning(Kept("num_ctx", 8192, 4096), L, "north", 12.0)
    shell.engine.pool.reply = lambda text: replace(reply_of(text), notices=(notice,))
    shown = shell.run("%%llm\nhi").shown_value
    assert shown["text/plain"].splitlines()[1].startswith("num_ctx=8192 was not sent")
    assert "--force-ctx" in shown["text/html"]


def test_constraints_reach_the_request(shell: Shell) -> None:
    shell.run("%%llm --gpu --private --min-context 16k --max-latency 500 --fallback phi:3b,qwen --fallback llava --force-ctx\nhi")
    asked = shell.engine.pool.requests[-1]
    assert (asked.require_gpu, asked.private, asked.min_context, asked.max_latency_ms) == (True, True, 16384, 500.0)
    assert (asked.fallback_models, asked.force_ctx) == (("phi:3b", "qwen", "llava"), True)
    shell.run("%%llm\nhi")
    asked = shell.engine.pool.requests[-1]
    assert (asked.require_gpu, asked.private, asked.min_context, asked.fallback_models) == (False, False, None, ())
    error = shell.run("%%llm --min-context lots\nhi").error
    assert "not a number of tokens, such as 8192 or 8k" in str(error)
