"""`%%llm?`, `%gleitzeit?` and `--help`: what they look like."""

from __future__ import annotations

import pytest
from IPython.core.oinspect import getdoc

from gleitzeit_nb.jupyter.arguments import WIDTH
from gleitzeit_nb.jupyter.gleitzeit_magic import COMMANDS
from gleitzeit_nb.jupyter.llm_magic import SUBCOMMANDS
from tests.support.shell import Shell

SCREEN = 56  # lines


def doc(shell: Shell, name: str, kind: str) -> str:
    """As `?` and Shift+Tab find it."""
    return getdoc(shell.ip.magics_manager.magics[kind][name]) or ""


@pytest.mark.parametrize("magic", ["llm", "sandbox"])
def test_the_help_of_a_cell_magic_fits_a_screen_and_names_it_as_it_is_written(shell: Shell, magic: str) -> None:
    printed = shell.run(f"%%{magic} --help\nx").stdout.rstrip("\n")
    lines = printed.split("\n")
    assert lines[0] == f"usage: %%{magic} [OPTIONS]"
    assert len(lines) <= SCREEN
    assert max(map(len, lines)) <= WIDTH
    assert f"    %%{magic} " in printed  # an example
    for title in ("help:", "what is shown:"):
        assert f"\n{title}\n" in printed
    options = [line for line in lines if line.startswith("  -")]
    assert all("  " in line.strip() for line in options), "each option says on its own line what it does"


def test_the_question_mark_shows_what_the_magic_does_and_every_option(shell: Shell) -> None:
    for magic in ("llm", "sandbox"):
        shown = doc(shell, magic, "cell")
        assert shown.startswith(f"usage: %%{magic} [OPTIONS]")
        assert max(map(len, shown.splitlines())) <= WIDTH
        assert "--help" in shown
        assert shown.count("usage:") == 1


def test_the_lines_of_commands_list_them_all(shell: Shell) -> None:
    for name, commands in (("llm", SUBCOMMANDS), ("gleitzeit", COMMANDS)):
        shown = doc(shell, name, "line")
        assert all(f"%{name} {command} " in shown for command in commands)
        assert max(map(len, shown.splitlines())) <= WIDTH
    assert "--model NAME" in doc(shell, "llm", "line")  # which Lab shows for %%llm


LINES = [*(f"%gleitzeit {each}" for each in COMMANDS), *(f"%llm {each}" for each in SUBCOMMANDS)]


@pytest.mark.parametrize("line", LINES)
def test_every_command_has_a_help_that_does_nothing_else(shell: Shell, line: str) -> None:
    cell = shell.run(f"{line} --help")
    assert cell.error is None
    assert "usage: " in cell.stdout
    assert shell.engine.pool.requests == []
    assert shell.engine.pool.draining == []
