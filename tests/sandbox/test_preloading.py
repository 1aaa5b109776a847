"""Modules that a guest imports before it serves: what a run has of them, what it must not share, and what is said when it fails."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from gleitzeit_nb.core.execution import ExecutionRequest, Limits
from gleitzeit_nb.errors import SandboxProtocolError, SandboxUnavailableError
from gleitzeit_nb.sandbox import connection as connection_module
from gleitzeit_nb.sandbox.bundle import guest_command
from gleitzeit_nb.sandbox.channel import Expectations
from gleitzeit_nb.sandbox.connection import GuestConnection
from tests.sandbox.subprocess_channel import SubprocessChannel

Start = Callable[..., Awaitable[GuestConnection]]


@pytest_asyncio.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """A guest in a plain process that preloads modules, its connection not opened yet."""
    made: list[GuestConnection] = []

    async def start(*preload: str, setup: str = "") -> GuestConnection:
        command = guest_command(sys.executable, work=str(tmp_path), wiped=[str(tmp_path)], preload=preload)
        bootstrap = command.index("-c") + 1
        command[bootstrap] = f"{setup}\n{command[bootstrap]}"
        made.append(GuestConnection(await SubprocessChannel.start(tmp_path, Expectations(preload=preload), command)))
        return made[-1]

    yield start
    for connection in made:
        await connection.close()


async def said(connection: GuestConnection, code: str) -> str:
    """What it printed, and then the value of its last expression."""
    result = await connection.run(ExecutionRequest("id", code), Limits())
    return result.stdout + "".join(f"{shown.text}\n" for shown in result.displays)


def module(tmp_path: Path, source: str) -> str:
    """To be put before a guest's bootstrap, so that it finds the module `mine`."""
    folder = tmp_path.parent / f"{tmp_path.name}-modules"
    folder.mkdir()
    (folder / "mine.py").write_text(source)
    return f"import sys; sys.path.append({str(folder)!r}); sys.dont_write_bytecode = True"


async def test_a_run_finds_the_modules_imported(start: Start) -> None:
    connection = await start("sqlite3", "xml.dom.minidom")
    await connection.open()
    assert connection.facts["preloaded"] == ["sqlite3", "xml.dom.minidom"]
    assert (
        await said(connection, "import sys; print('sqlite3' in sys.modules, 'xml.dom.minidom' in sys.modules, 'csv' in sys.modules)")
        == "True True False\n"
    )


async def test_what_a_module_prints_gets_neither_between_the_frames_nor_into_a_run(start: Start, tmp_path: Path) -> None:
    source = "import os, sys\nos.write(1, b'raw' * 100)\nprint('said', flush=False)\nsys.stderr.write('complained')\n"
    connection = await start("mine", setup=module(tmp_path, source))
    await connection.open()
    assert await said(connection, "print('only this')") == "only this\n"


async def test_what_a_module_writes_is_gone_before_the_first_run(start: Start, tmp_path: Path) -> None:
    connection = await start("mine", setup=module(tmp_path, f"open({str(tmp_path / 'left')!r}, 'w').write('behind')"))
    await connection.open()
    assert await said(connection, "import os; print(os.listdir())") == "[]\n"


@pytest.mark.parametrize("code", ["import random; print(random.random())", "import numpy.random; print(numpy.random.random())"])
async def test_runs_do_not_share_their_random_numbers(start: Start, code: str) -> None:
    connection = await start("random", "numpy.random")
    await connection.open()
    drawn = {await said(connection, code) for _ in range(4)}
    assert len(drawn) == 4


@pytest.mark.parametrize(
    ("names", "source", "words"),
    [
        (["json", "no_such_module"], "", ["no_such_module: ModuleNotFoundError", "`preload`", "images list"]),
        (["mine"], "raise SystemExit('by mistake')", ["mine: SystemExit: by mistake"]),
        (["mine"], "raise ValueError('bad\\x1b[31m' + 'x' * 10_000)", ["mine: ValueError: bad"]),
    ],
)
async def test_a_module_that_cannot_be_imported_is_a_clear_refusal(
    start: Start, tmp_path: Path, names: Sequence[str], source: str, words: Sequence[str]
) -> None:
    connection = await start(*names, setup=module(tmp_path, source))
    with pytest.raises(SandboxUnavailableError) as caught:
        await connection.open()
    assert all(word in str(caught.value) for word in words)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert not connection.usable


async def test_a_module_whose_import_never_ends_is_given_up(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "PRELOAD_S", 0.3)
    connection = await start("mine", setup=module(tmp_path, "import time; time.sleep(600)"))
    with pytest.raises(SandboxProtocolError, match="while it was to import mine, and was killed"):
        await connection.open(0.2)
    assert connection.closed


async def test_a_module_that_ends_the_guest_is_seen_at_once(start: Start, tmp_path: Path) -> None:
    connection = await start("mine", setup=module(tmp_path, "import os; os._exit(3)"))
    with pytest.raises(SandboxProtocolError, match="ended before it could serve"):
        await connection.open()
