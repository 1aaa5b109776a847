"""Files into a `%%sandbox` cell and out of it, in a real IPython shell over a scripted sandbox."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gleitzeit_nb.core.execution import ExecutionResult, Timings
from gleitzeit_nb.errors import RunFailedError, TransferError, UsageError
from tests.support.shell import Shell

OK = ExecutionResult("ok", "docker-sandbox", timings=Timings(run_s=0.012), isolation="a container without network")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_files_are_named_as_the_notebook_sees_them(shell: Shell, folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "a.csv").write_text("1")
    shell.run("name = 'a'")
    shell.run("%%sandbox --file data/{name}.csv --file data/a.csv:b.csv\npass")
    run = shell.engine.sandbox.runs[0]
    assert (run["files"], run["artifacts"]) == ({"data/a.csv": Path("data/a.csv"), "b.csv": Path("data/a.csv")}, False)


def test_files_that_the_code_leaves_are_written_and_listed(shell: Shell, folder: Path) -> None:
    left_out = {"link": "it is a link"}
    shell.engine.sandbox.result = replace(OK, artifacts={"d/plot.png": b"x" * 1500, "a": b""}, left_out=left_out)
    cell = shell.run("%%sandbox --artifacts out -o run\npass")
    assert shell.engine.sandbox.runs[0]["artifacts"] is True
    assert (folder / "out" / "d" / "plot.png").read_bytes() == b"x" * 1500
    assert cell.shown_value["text/plain"].splitlines()[1:] == [
        "out: d/plot.png (1.5 kB), a (0 bytes)",
        "not brought out: link (it is a link)",
    ]
    assert shell.ip.user_ns["run"].artifacts == {"d/plot.png": b"x" * 1500, "a": b""}


def test_a_cell_that_runs_again_replaces_what_it_wrote(shell: Shell, folder: Path) -> None:
    for content in (b"first", b"second"):
        shell.engine.sandbox.result = replace(OK, artifacts={"a": content})
        assert shell.run("%%sandbox --artifacts out\npass").error is None
    assert (folder / "out" / "a").read_bytes() == b"second"


def test_a_file_of_yours_is_not_replaced_unasked(shell: Shell, folder: Path) -> None:
    (folder / "a").write_text("mine")
    shell.engine.sandbox.result = replace(OK, artifacts={"a": b"theirs"})
    cell = shell.run("%%sandbox --artifacts . --no-fail\npass")
    assert isinstance(cell.error, TransferError)
    assert "--overwrite" in str(cell.error)
    assert (folder / "a").read_text() == "mine"
    assert shell.run("%%sandbox --artifacts . --overwrite\npass").error is None
    assert (folder / "a").read_text() == "theirs"


def test_a_run_that_failed_gives_its_files_too(shell: Shell, folder: Path) -> None:
    shell.engine.sandbox.result = replace(OK, status="timeout", detail="ran longer than 2 s", artifacts={"log": b"so far"})
    assert isinstance(shell.run("%%sandbox --artifacts out\npass").error, RunFailedError)
    assert (folder / "out" / "log").read_bytes() == b"so far"


@pytest.mark.parametrize(("line", "said"), [("--file nope.csv", "no 'nope.csv'"), ("--overwrite", "--artifacts DIR")])
def test_files_that_mean_nothing_are_refused_before_anything_runs(shell: Shell, folder: Path, line: str, said: str) -> None:
    cell = shell.run(f"%%sandbox {line}\npass")
    assert isinstance(cell.error, UsageError)
    assert said in str(cell.error)
    assert shell.engine.sandbox.runs == []
