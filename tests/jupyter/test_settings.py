"""`%config GleitzeitNB`: what may be set, what it does at once, and what is said of what may not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets import TraitError
from traitlets.config import Config

from gleitzeit_nb.jupyter import extension
from gleitzeit_nb.jupyter.settings import GleitzeitNB
from tests.support.shell import FakeRuntime, Shell
from tests.support.snapshots import MOCK_UP


def test_what_is_set_holds_for_the_next_cell_and_a_cell_s_own_options_win(shell: Shell) -> None:
    shell.run("%config GleitzeitNB.model = 'mixtral'\n%config GleitzeitNB.tags = ['gpu']\n%config GleitzeitNB.deadline = 30")
    shell.run("%%llm\nhi")
    shell.run("%%llm -m llava -t cpu --deadline 5\nhi")
    shell.run("%%llm -t ''\nhi")
    asked = [(each.model, each.tags, each.deadline_s) for each in shell.engine.pool.requests]
    assert asked == [("mixtral", ("gpu",), 30.0), ("llava", ("cpu",), 5.0), ("mixtral", (), 30.0)]


def test_tags_may_be_written_as_a_cell_s_are(shell: Shell) -> None:
    shell.run("%config GleitzeitNB.tags = 'gpu,vision'")
    assert shell.front.settings.tags == ["gpu", "vision"]


def test_a_mode_and_a_timeout_hold_for_the_sandbox(shell: Shell) -> None:
    shell.run("%config GleitzeitNB.mode = 'restricted'\n%config GleitzeitNB.timeout = 7")
    shell.run("%%sandbox\npass")
    shell.run("%%sandbox --mode docker-sandbox --timeout 2m\npass")
    assert [(run["mode"], run["timeout"]) for run in shell.engine.sandbox.runs] == [("restricted", 7.0), ("docker-sandbox", "2m")]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("model", "a\nb", "on one line"),
        ("mode", "x" * 300, "at most 200 characters"),
        ("strategy", "roundrobin", "Did you mean 'round_robin'"),
        ("tags", ["gpu\x00"], "printed"),
        ("tags", 3, "list"),
        ("deadline", 0, "greater than 0"),
        ("timeout", -1, "greater than 0"),
        ("thread", "a b", "thread"),
        ("stream", "yes", "boolean"),
    ],
)
def test_what_means_nothing_is_refused_where_it_is_set(shell: Shell, name: str, value: object, said: str) -> None:
    before = getattr(shell.front.settings, name)
    with pytest.raises(TraitError, match=said):
        setattr(shell.front.settings, name, value)
    assert getattr(shell.front.settings, name) == before


def test_every_setting_says_what_it_does_and_is_shown(shell: Shell) -> None:
    own = GleitzeitNB.class_own_traits(config=True)
    shown = shell.run("%config GleitzeitNB").stdout
    for name, trait in own.items():
        assert len(trait.help) > 20
        assert f"GleitzeitNB.{name}=" in shown
    assert set(own) == {"model", "tags", "strategy", "deadline", "stream", "cache", "thread", "mode", "timeout", "debug"}


@pytest.fixture
def bare() -> Iterator[InteractiveShell]:
    InteractiveShell.clear_instance()
    ip = InteractiveShell.instance()
    yield ip
    extension.unload(ip)
    ip.history_manager.end_session()
    InteractiveShell.clear_instance()


def test_an_ipython_configuration_sets_them(bare: InteractiveShell) -> None:
    bare.config.GleitzeitNB = Config(model="mixtral", tags=["gpu"], timeout=9)
    settings = extension.load(bare, lambda: FakeRuntime(MOCK_UP)).settings
    assert (settings.model, settings.tags, settings.timeout) == ("mixtral", ["gpu"], 9.0)


def test_a_setting_that_cannot_be_used_is_told_and_the_others_are(bare: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    bare.config.GleitzeitNB = Config(model="mixtral", strategy="nearest", stream="perhaps")
    settings = extension.load(bare, lambda: FakeRuntime(MOCK_UP)).settings
    assert (settings.model, settings.strategy, settings.stream) == ("mixtral", "", None)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "not used: GleitzeitNB.strategy: there is no load balancing strategy 'nearest'" in said[0]
