"""Errors below cells of plain Python: ours are short, others are as ever, and other people's handlers are left alone."""

from __future__ import annotations

import re
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from gleitzeit_nb.errors import NoInstanceError, PoolError
from gleitzeit_nb.jupyter import extension
from tests.support.kernel import running_kernel
from tests.support.shell import Shell, open_shell
from tests.support.snapshots import MOCK_UP

FAILING = """from gleitzeit_nb.errors import NoInstanceError
def look():
    raise NoInstanceError("no instance can answer", [("gpu-1", "no tag gpu"), ("gpu-2", "draining")])

look()"""


def uncoloured(lines: list[str]) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(lines))


class Handler:
    """Somebody else's, as `set_custom_exc` takes it."""

    def __init__(self) -> None:
        self.seen: list[BaseException] = []

    def __call__(self, shell: InteractiveShell, kind: Any, error: BaseException, trace: Any, tb_offset: Any = None) -> None:
        self.seen.append(error)
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset)


def test_plain_python_fails_in_a_few_lines_that_name_the_cells_line(shell: Shell) -> None:
    cell = shell.run(FAILING)
    assert isinstance(cell.error, NoInstanceError)
    assert [line.strip() for line in cell.error_lines] == [
        "\x1b[1mNoInstanceError\x1b[0m: no instance can answer",
        "gpu-1  no tag gpu",
        "gpu-2  draining",
        "Line 5 of the cell. The whole trace: %tb",
    ]


def test_a_function_of_an_earlier_cell_is_not_taken_for_the_cell(shell: Shell) -> None:
    shell.run(FAILING.rpartition("\n")[0])
    assert shell.run("look()").error_lines[-1].startswith("Line 1 of the cell.")


def test_an_awaited_call_fails_as_briefly(shell: Shell) -> None:
    cell = shell.run("async def ask():\n    raise NoInstanceError('nobody')\nfrom gleitzeit_nb.errors import NoInstanceError\nawait ask()")
    assert isinstance(cell.error, NoInstanceError)
    assert [line.strip() for line in cell.error_lines[1:]] == ["Line 4 of the cell. The whole trace: %tb"]


def test_the_whole_trace_is_there_on_demand_and_short_again_when_raised_again(shell: Shell) -> None:
    shell.run(f"{FAILING.rpartition(chr(10))[0]}\ntry:\n    look()\nexcept NoInstanceError as error:\n    kept = error")
    assert len(shell.run("raise kept").error_lines) == 4
    whole = shell.run("%tb").error_lines
    assert len(whole) > 10
    assert "in look()" in uncoloured(whole)
    assert len(shell.run("raise kept").error_lines) == 4
    shell.run("%config GleitzeitNB.debug = True")
    assert len(shell.run(FAILING).error_lines) > 10


def test_a_magic_names_no_line(shell: Shell) -> None:
    shell.engine.pool.script = [NoInstanceError("nobody")]
    assert shell.run("%%llm\nhi").error_lines[-1] == "The whole trace: %tb"


def test_other_exceptions_are_shown_as_ever(shell: Shell) -> None:
    assert "1 / 0" in uncoloured(shell.run("x = 1\n1 / 0").error_lines)


@pytest.fixture
def other() -> Handler:
    return Handler()


@pytest.mark.parametrize(("kinds", "sees_ours"), [((ZeroDivisionError,), False), ((Exception,), True)])
def test_a_handler_that_was_there_keeps_what_it_handled(other: Handler, kinds: tuple[type[Exception], ...], sees_ours: bool) -> None:
    with open_shell(MOCK_UP) as shell:
        extension.unload(shell.ip)
        shell.ip.set_custom_exc(kinds, other)
        before = (shell.ip.custom_exceptions, shell.ip.CustomTB)
        shell.front = extension.load(shell.ip, lambda: shell.runtime)
        cells = [shell.run("1 / 0"), shell.run(FAILING)]
        assert [type(error) for error in other.seen] == [ZeroDivisionError] + [NoInstanceError] * sees_ours
        assert "1 / 0" in uncoloured(cells[0].error_lines)
        assert len(cells[1].error_lines) == 4, "short, whoever shows it"
        extension.unload(shell.ip)
        assert (shell.ip.custom_exceptions, shell.ip.CustomTB) == before


def test_unloading_leaves_a_handler_alone_that_was_set_later(shell: Shell, other: Handler) -> None:
    shell.ip.set_custom_exc((PoolError,), other)
    assert shell.run("raise ValueError(1)").error_lines
    extension.unload(shell.ip)
    assert len(shell.run(FAILING).error_lines) > 10
    assert [type(error) for error in other.seen] == [NoInstanceError]


def test_after_unloading_errors_are_whole_again(shell: Shell) -> None:
    extension.unload(shell.ip)
    assert shell.ip.custom_exceptions == ()
    assert len(shell.run(FAILING).error_lines) > 10


def test_a_kernel_shows_them_briefly_too(project_root: Any) -> None:
    with running_kernel(project_root, {"OLLAMA_HOST": "127.0.0.1:9", "GLEITZEIT_REPLAY": "/nowhere/answers.jsonl"}) as kernel:
        kernel.run("import gleitzeit_nb as g")
        awaited = kernel.run("# a pool\nasync with g.OllamaPoolManager(instances=[]) as pool:\n    await pool.chat('phi', 'hi')")
        asked = kernel.run("from gleitzeit_nb import ask\n\nask('hi')")
        whole = kernel.run("%tb")
    assert awaited.error["ename"] == "NoInstanceError"
    assert "Line 3 of the cell" in awaited.error["traceback"][-1]
    assert (asked.error["ename"], asked.reply["status"]) == ("ConfigError", "error")
    assert "Line 3 of the cell" in asked.error["traceback"][-1]
    assert all(len("\n".join(run.error["traceback"]).split("\n")) <= 6 for run in (awaited, asked))
    assert len("\n".join(whole.error["traceback"] or whole.of("stream")).split("\n")) > 6
