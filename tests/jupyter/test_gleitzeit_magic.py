"""`%gleitzeit` in a real IPython shell."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gleitzeit_nb.doctor import Finding
from gleitzeit_nb.errors import UsageError
from tests.support.shell import Shell
from tests.support.snapshots import EMPTY, hostile, mode, session


def test_status_prints_the_tables(shell: Shell) -> None:
    shown = shell.run("%gleitzeit status").stdout
    assert "gpu-1" in shown
    assert "Failed" in shown


def test_status_of_hostile_names_is_plain_text(shell: Shell) -> None:
    shell.engine.show(hostile())
    shown = shell.run("%gleitzeit status").stdout
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_doctor_prints_what_it_found(shell: Shell) -> None:
    shell.engine.findings = [Finding("ok", "python", "3.11"), Finding("missing", "docker", "no daemon\nstart one")]
    shown = shell.run("%gleitzeit doctor").stdout
    assert "docker" in shown
    assert "start one" in shown


def test_config_prints_the_settings_and_takes_a_file(shell: Shell) -> None:
    assert '"default_mode": "auto"' in shell.run("%gleitzeit config").stdout
    shell.run("%gleitzeit config use './my settings.yaml'")
    assert [str(each["use_file"]) for each in shell.runtime.configured] == ["my settings.yaml"]
    assert isinstance(shell.run("%gleitzeit config uses x").error, UsageError)


def test_drain_and_resume_name_an_instance_of_this_pool(shell: Shell) -> None:
    shell.run("%gleitzeit drain gpu-1")
    shell.run("%gleitzeit resume gpu-1")
    assert shell.engine.pool.draining == [("drain", "gpu-1"), ("resume", "gpu-1")]
    assert "did you mean gpu-1?" in str(shell.run("%gleitzeit drain gpu1").error)
    assert "There are: local, gpu-1" in str(shell.run("%gleitzeit drain").error)


@pytest.mark.docker
def test_images_prints_what_each_mode_runs_in(shell: Shell, docker_daemon: object) -> None:
    shown = shell.run("%gleitzeit images").stdout
    assert "Container modes" in shown
    assert "docker-sandbox" in shown


def test_selfcheck_names_the_modes_there_are(shell: Shell) -> None:
    assert isinstance(shell.run("%gleitzeit selfcheck docker-sandbx").error, UsageError)


def test_selfcheck_says_why_a_mode_cannot_be_looked_at(shell: Shell) -> None:
    assert "switched off" in shell.run("%gleitzeit selfcheck local").stdout


def test_reload_reads_the_configuration_again(shell: Shell) -> None:
    shell.run("%gleitzeit reload")
    assert shell.runtime.reloads == 1


@pytest.mark.parametrize(
    ("line", "said"), [("stauts", "status"), ("dashbord", "dashboard"), ("xyzzy", "Known are"), ("status now", "takes nothing")]
)
def test_what_it_does_not_know_it_says(shell: Shell, line: str, said: str) -> None:
    cell = shell.run(f"%gleitzeit {line}")
    assert isinstance(cell.error, UsageError)
    assert said in str(cell.error)


def test_without_a_command_it_lists_them(shell: Shell) -> None:
    assert "%gleitzeit drain" in shell.run("%gleitzeit").stdout


def test_a_terminal_gets_the_dashboard_as_text(terminal: Shell) -> None:
    cell = terminal.run("%gleitzeit dashboard")
    assert cell.value is None
    assert "Ollama instances" in cell.stdout


# -- the sandbox ----------------------------------------------------------------------------------------------------------------


def test_sandbox_prints_workers_and_sessions(shell: Shell) -> None:
    shell.engine.show(replace(EMPTY, modes=(mode(),), sessions=(session(),)))
    shown = shell.run("%gleitzeit sandbox").stdout
    for part in ("2 error, 40 ok", "1 timeout", "4/5", "work", "24 MB", "61 MB"):
        assert part in shown
    assert "4/5" not in shell.run("%gleitzeit sandbox sessions").stdout


def test_without_a_session_it_says_how_to_start_one(shell: Shell) -> None:
    assert "--session NAME" in shell.run("%gleitzeit sandbox sessions").stdout


def test_hostile_names_of_sessions_are_plain_text(shell: Shell) -> None:
    shell.engine.show(hostile())
    shown = shell.run("%gleitzeit sandbox").stdout
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_sandbox_warms_cleans_up_and_resets(shell: Shell) -> None:
    shell.engine.sandbox.sessions = ["work"]
    assert "docker-sandbox has its workers ready." in shell.run("%gleitzeit sandbox warm").stdout
    assert "restricted has" in shell.run("%gleitzeit sandbox warm restricted").stdout
    assert "2 idle workers were removed" in shell.run("%gleitzeit sandbox cleanup").stdout
    assert "variables are gone" in shell.run("%gleitzeit sandbox reset work").stdout
    assert shell.engine.sandbox.asked == [("warm", None), ("warm", "restricted"), ("cleanup", 0), ("reset", "work")]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("warn", "did you mean warm?"),
        ("reset", "takes the name"),
        ("reset nobody", "no session 'nobody'"),
        ("cleanup all", "more than it takes"),
    ],
)
def test_what_the_sandbox_command_does_not_know_it_says(shell: Shell, line: str, said: str) -> None:
    cell = shell.run(f"%gleitzeit sandbox {line}")
    assert isinstance(cell.error, UsageError)
    assert said in str(cell.error)
