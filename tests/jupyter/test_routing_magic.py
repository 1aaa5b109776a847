"""`--strategy`, `%config GleitzeitNB.strategy` and `%llm explain` in a real IPython shell, over a scripted pool."""

from __future__ import annotations

import pytest
from traitlets import TraitError

from gleitzeit_nb.errors import UsageError
from tests.support.shell import Shell


def test_a_cell_chooses_its_strategy(shell: Shell) -> None:
    shell.run("%config GleitzeitNB.strategy = 'round_robin'")
    shell.run("%%llm --strategy least_loaded\nhi")
    shell.run("%%llm\nhi")
    assert [request.strategy for request in shell.engine.pool.requests] == ["least_loaded", "round_robin"]


def test_an_unknown_strategy_is_refused_with_the_nearest(shell: Shell) -> None:
    cell = shell.run("%%llm --strategy least_load\nhi")
    assert isinstance(cell.error, UsageError)
    assert "Did you mean 'least_loaded'" in str(cell.error)
    with pytest.raises(TraitError, match="Did you mean 'round_robin'"):
        shell.front.settings.strategy = "roundrobin"
    assert shell.engine.pool.requests == []


def test_explain_takes_the_options_of_a_cell_and_asks_nobody(shell: Shell) -> None:
    cell = shell.run("%llm explain -m llava -t gpu --strategy priority --deadline 3")
    (asked,) = shell.engine.pool.requests
    assert (asked.model, asked.tags, asked.strategy, asked.deadline_s) == ("llava", ("gpu",), "priority", 3.0)
    assert cell.stdout.splitlines()[0] == "llava by priority"
    assert "gpu-1     yes   1.5" in cell.stdout


def test_help_lists_every_strategy_with_what_it_does(shell: Shell) -> None:
    for command in ("%llm help", "%gleitzeit help", "%llm explain --help"):
        out = shell.run(command).stdout
        assert "  weighted " in out, command
        assert "in proportion to each instance's `weight`" in out
