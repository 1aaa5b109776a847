"""The make targets' set-up: done once, honest about what it may not do, and careful with what others started."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import provision, provision_venv


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of its own for provision_venv, with an environment that claims to be whole."""
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    monkeypatch.setattr(provision_venv, "ROOT", tmp_path)
    monkeypatch.setattr(provision_venv, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(provision_venv, "STAMP", tmp_path / ".venv" / "stamp.json")
    return tmp_path


def stamp(*extras: str) -> None:
    provision_venv.STAMP.write_text(json.dumps({"key": provision_venv.key(), "extras": list(extras)}))


def test_the_developers_environment_serves_the_demo_too() -> None:
    assert provision_venv.satisfies({"dev"}, {"demo", "labextension"})
    assert not provision_venv.satisfies({"demo"}, {"demo", "labextension"})


def test_a_second_run_installs_nothing(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stamp("demo")
    monkeypatch.setattr("sys.argv", ["provision_venv.py", "demo"])
    monkeypatch.setattr(provision_venv.subprocess, "run", lambda *_, **__: pytest.fail("something was run"))
    provision_venv.main()


def test_other_requirements_are_installed_again(checkout: Path) -> None:
    stamp("demo")
    assert provision_venv.installed_extras() == {"demo"}
    (checkout / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    assert provision_venv.installed_extras() == set()


def test_a_torn_stamp_counts_as_none(checkout: Path) -> None:
    provision_venv.STAMP.write_text('{"key": ')
    assert provision_venv.installed_extras() == set()


def test_who_may_not_install_is_told_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provision_venv.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(provision_venv, "ENGINE_LIBRARY", "libabsent.so.0")
    monkeypatch.setattr(provision_venv.os, "geteuid", lambda: 1000)
    with pytest.raises(SystemExit, match=r"apt-get install python3\.\d+-venv libgomp1 "):
        provision_venv.ensure_packages()


def test_packages_that_change_nothing_are_installed_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provision_venv, "missing_packages", lambda: ["libgomp1"])
    monkeypatch.setattr(provision_venv.os, "geteuid", lambda: 0)
    monkeypatch.setattr(provision_venv.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(provision_venv.subprocess, "run", lambda *_, **__: pytest.fail("something was run"))
    monkeypatch.setenv(provision_venv.INSTALLED, "libgomp1")
    with pytest.raises(SystemExit, match="is installed, and yet"):
        provision_venv.ensure_packages()


def test_a_step_that_fails_says_so_and_lets_the_others_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> str:
        raise provision.StepError("no Docker daemon answers")

    steps = provision.Steps(tmp_path / "steps.tsv")
    steps.run("first", fail)
    steps.run("second", lambda: "ready")
    assert "NOT DONE: no Docker daemon answers" in capsys.readouterr().out
    assert [line.partition("\t")[2] for line in (tmp_path / "steps.tsv").read_text().splitlines()] == [
        "provision: first",
        "provision: second",
    ]


def test_a_failing_command_shows_the_end_of_its_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provision, "CACHE", tmp_path)
    with pytest.raises(provision.StepError, match=r"(?s)status 3.*the reason"):
        provision.run_quietly("step", ["sh", "-c", "echo the reason; exit 3"])


def test_a_daemon_that_answers_is_never_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provision, "daemon_answers", lambda: True)
    monkeypatch.setattr(provision.subprocess, "Popen", lambda *_, **__: pytest.fail("a second daemon was started"))
    with provision.DockerDaemon().for_a_while() as daemon:
        assert daemon.start() == "answers already"


def test_a_daemon_that_this_run_started_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`dockerd` is a stand-in here that only waits; it answers once its file is there."""
    started = tmp_path / "started"
    binary = tmp_path / "dockerd"
    binary.write_text(f"#!/bin/sh\ntouch {started}\nexec sleep 600\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(provision, "CACHE", tmp_path)
    monkeypatch.setattr(provision, "daemon_answers", started.exists)
    monkeypatch.setattr(provision.os, "geteuid", lambda: 0)
    with provision.DockerDaemon().for_a_while() as daemon:
        pid = int(daemon.start().rpartition(" ")[2])
        assert Path(f"/proc/{pid}").exists()
    assert not Path(f"/proc/{pid}").exists()


def test_who_may_not_start_a_daemon_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provision, "daemon_answers", lambda: False)
    monkeypatch.setattr(provision.os, "geteuid", lambda: 1000)
    with pytest.raises(provision.StepError, match="no Docker daemon answers"):
        provision.DockerDaemon().start()
