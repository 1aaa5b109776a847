"""`%config GleitzeitNB`: what may be set, what it does at once, and what is said of what may not."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets import TraitError
from traitlets.config import Config

from gleitzeit_nb.jupyter import extension
from gleitzeit_nb.jupyter.settings import GleitzeitNB, SettingError
from tests.support.shell import FakeRuntime, Shell
from tests.support.snapshots import MOCK_UP

STRATEGIES = (
    "auto, least_loaded, round_robin, weighted, latency_based, model_affinity, priority, specialization, or '' for the configured one"
)
SWITCH = "True, False, or None for what is configured"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


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


@pytest.mark.parametrize(
    ("statement", "lines"),
    [
        (
            "strategy = 'roundrobin'",
            [
                "SettingError: GleitzeitNB.strategy cannot be 'roundrobin': did you mean 'round_robin'?",
                f"It takes: {STRATEGIES}",
                "It is still ''. All settings: %config GleitzeitNB",
            ],
        ),
        (
            "stream = 'yes'",
            [
                "SettingError: GleitzeitNB.stream cannot be 'yes'",
                f"It takes: {SWITCH}",
                "It is still None. All settings: %config GleitzeitNB",
            ],
        ),
        (
            "modle = 'mixtral'",
            [
                "SettingError: GleitzeitNB has no setting 'modle': did you mean 'mode' or 'model'?",
                "It has: cache, deadline, debug, mode, model, strategy, stream, tags, thread, timeout",
                "All settings: %config GleitzeitNB",
            ],
        ),
    ],
)
def test_config_of_what_is_refused_fails_its_cell_in_three_lines(shell: Shell, statement: str, lines: list[str]) -> None:
    cell = shell.run(f"%config GleitzeitNB.{statement}\nafter = 1")
    assert isinstance(cell.error, SettingError)
    assert [_COLOUR.sub("", line) for line in cell.error_lines] == lines
    assert "after" not in shell.ip.user_ns
    assert cell.stderr == ""


def test_what_a_refused_value_says_of_itself_stays_one_short_line(shell: Shell) -> None:
    shell.ip.user_ns["value"] = type("Hostile", (), {"__repr__": lambda _: "\x1b[31m" + "x\n" * 1000})()
    first, *_ = shell.run("%config GleitzeitNB.model = value").error_lines
    assert "\n" not in first
    assert "\x1b[31m" not in first
    assert len(first) < 200


def test_other_classes_are_configured_as_ever(shell: Shell) -> None:
    shell.run("%config IPCompleter.greedy = True")
    assert shell.ip.Completer.greedy is True


@pytest.mark.parametrize("name", GleitzeitNB.class_own_traits(config=True))
def test_every_setting_can_be_set_to_what_it_is(shell: Shell, name: str) -> None:
    assert shell.run(f"%config GleitzeitNB.{name} = {getattr(shell.front.settings, name)!r}").error is None


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
    assert capsys.readouterr().err.splitlines() == [
        f"A setting of your IPython configuration is not used: GleitzeitNB.strategy cannot be 'nearest'. It takes: {STRATEGIES}",
        f"A setting of your IPython configuration is not used: GleitzeitNB.stream cannot be 'perhaps'. It takes: {SWITCH}",
    ]


def test_a_setting_that_there_is_not_is_told_as_well(bare: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    bare.config.GleitzeitNB = Config(modle="mixtral", timeout=9)
    assert extension.load(bare, lambda: FakeRuntime(MOCK_UP)).settings.timeout == 9.0
    assert "not used: GleitzeitNB has no setting 'modle': did you mean 'mode' or 'model'?" in capsys.readouterr().err
