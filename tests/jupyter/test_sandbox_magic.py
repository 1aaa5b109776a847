"""`%%sandbox` in a real IPython shell, over a scripted sandbox."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gleitzeit_nb.config.limit_sections import LIMIT_KEYS
from gleitzeit_nb.core.execution import ExecutionResult, ResultStatus, Timings, Usage
from gleitzeit_nb.core.network import NetworkRecord
from gleitzeit_nb.errors import RunFailedError, SandboxUnavailableError, UsageError
from gleitzeit_nb.jupyter.display.waiting_line import WaitingLine
from gleitzeit_nb.jupyter.values import SandboxRun
from tests.conftest import FakeClock
from tests.support.shell import Shell

OK = ExecutionResult("ok", "docker-sandbox", timings=Timings(run_s=0.012), isolation="a container without network")


def failed(status: ResultStatus, detail: str, **more: Any) -> ExecutionResult:
    return replace(OK, status=status, detail=detail, exit_code=1, **more)


def test_the_code_goes_as_it_stands(shell: Shell) -> None:
    shell.run("%%sandbox\nprint('{x} $y')\nawait f()")
    assert shell.engine.sandbox.runs[0]["code"] == "print('{x} $y')\nawait f()\n"
    assert shell.engine.sandbox.runs[0]["label"] == "[1] %%sandbox"


def test_options_reach_the_run(shell: Shell) -> None:
    shell.run("a = [1, 2]; where = 'restricted'")
    shell.run("%%sandbox --mode {where} --timeout 30s --memory 256m --cpu 0.5 --image img --in a --out x,y --out z --fresh\npass")
    run = shell.engine.sandbox.runs[0]
    assert (run["mode"], run["timeout"], run["memory_limit"], run["cpu_limit"], run["image"]) == ("restricted", "30s", "256m", 0.5, "img")
    assert (run["inputs"], run["outputs"], run["fresh"]) == ({"a": [1, 2]}, ("x", "y", "z"), True)


def test_every_limit_and_volume_reaches_the_run_by_the_keys_of_the_configuration(shell: Shell) -> None:
    line = "--pids 20 --max-output 2m --max-file-size 1m --max-open-files 99 --workspace-size 5m --workspace-files 77"
    shell.run(f"%%sandbox {line} --shm-size 2m --max-value 9m --volume ./a:/a --volume './b c:/b:rw' --gpu\npass")
    run = shell.engine.sandbox.runs[0]
    assert run["volumes"] == ["./a:/a", "./b c:/b:rw"]
    assert run["gpu"] is True
    given = {key: run[key] for key in LIMIT_KEYS.values() if run.get(key) is not None}
    assert given == {
        "pids_limit": 20,
        "max_output": "2m",
        "max_file_size": "1m",
        "max_open_files": 99,
        "workspace_size": "5m",
        "workspace_files": 77,
        "shm_size": "2m",
        "max_value": "9m",
    }
    assert "'many' is not a whole number" in str(shell.run("%%sandbox --pids many\npass").error)


def test_allowed_hosts_reach_the_run_each_once(shell: Shell) -> None:
    shell.run("%%sandbox --allow pypi.org,*.example.org --allow pypi.org --allow 192.0.2.7:8080\npass")
    assert shell.engine.sandbox.runs[0]["allow"] == ("pypi.org", "*.example.org", "192.0.2.7:8080")


def test_what_was_reached_and_refused_is_one_line_below_the_cell(shell: Shell) -> None:
    reached = NetworkRecord("example.org", 443, "allowed", "", 2, 800, 11_500)
    refused = NetworkRecord("evil.org", 443, "refused", "no rule allows it", 3)
    hostile = NetworkRecord("<b>\x1b[31mx\n</b>", 0, "refused", "", 1)
    shell.engine.sandbox.result = replace(OK, network=(reached, refused, hostile))
    shown = shell.run("%%sandbox --allow example.org\npass").shown_value
    _, line = shown["text/plain"].splitlines()
    assert line.startswith("network: example.org:443 allowed 2× 12 kB; evil.org:443 refused 3×; ")
    assert "<b>" not in shown["text/html"]
    assert "\x1b" not in line


def test_requirements_come_from_a_file_or_one_by_one(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "needs.txt").write_text("# mine\nseaborn==0.13.2\n")
    shell.run(f"%%sandbox --requirements {tmp_path}/needs.txt --requirements 'rich >= 13'\npass")
    assert shell.engine.sandbox.runs[0]["requirements"] == ("rich>=13", "seaborn==0.13.2")
    missing = shell.run("%%sandbox --requirements nowhere.txt\npass").error
    assert "nowhere.txt cannot be read (No such file or directory)" in str(missing)
    refused = shell.run("%%sandbox --requirements '-r x'\npass").error
    assert isinstance(refused, UsageError)
    assert len(shell.engine.sandbox.runs) == 1


def test_both_streams_arrive_apart_and_as_text(shell: Shell) -> None:
    shell.engine.sandbox.output = [
        ("stdout", "one\x1b[31m"),
        ("stderr", "warn\x1b]0;t\x07\n"),
        0.1,
        ("stdout", "red\x1b["),
        ("stdout", "0m\n50 %\r"),
    ]
    cell = shell.run("%%sandbox\npass")
    assert cell.stdout.startswith("onered\n50 %\r")
    assert cell.stderr == "warn␛]0;t␇\n"


def test_the_cells_value_is_the_run_in_one_line(shell: Shell) -> None:
    shell.engine.sandbox.result = OK
    cell = shell.run("%%sandbox -o run\npass")
    assert isinstance(cell.value, SandboxRun)
    assert cell.shown_value["text/plain"] == "docker-sandbox · ok · 12 ms · a container without network"
    assert shell.ip.user_ns["run"] is cell.value


def test_what_it_used_stands_in_the_line_and_waiting_that_took_its_time(shell: Shell) -> None:
    shell.engine.sandbox.result = replace(OK, usage=Usage(0.0084, 21_300_000), timings=Timings(queue_s=1.24, run_s=0.012))
    line = shell.run("%%sandbox\npass").shown_value["text/plain"]
    assert line == "docker-sandbox · ok · 12 ms · waited 1.2 s · CPU 8 ms · 21 MB · a container without network"


def test_what_is_weaker_and_what_was_cut_stand_in_the_line(shell: Shell) -> None:
    shell.engine.sandbox.result = replace(OK, mode="restricted", isolation="seccomp; weaker: no namespaces", truncated={"stdout": 12345})
    line = shell.run("%%sandbox\npass").shown_value["text/plain"]
    assert line == "restricted · ok · 12 ms · seccomp; weaker: no namespaces · 12,345 bytes of stdout left out"


def test_a_cold_start_says_why(shell: Shell) -> None:
    shell.engine.sandbox.result = replace(OK, cold="another image", timings=Timings(start_s=0.41, run_s=0.012))
    line = shell.run("%%sandbox --image img\npass").shown_value["text/plain"]
    assert line.startswith("docker-sandbox · ok · 12 ms · cold: another image, 410 ms · ")


def test_values_come_back_under_their_names_only(shell: Shell) -> None:
    shell.engine.sandbox.result = replace(OK, outputs={"x": 42, "y": "text", "sneaky": "no"})
    shell.run("%%sandbox --out x,y\npass")
    assert (shell.ip.user_ns["x"], shell.ip.user_ns["y"]) == (42, "text")
    assert "sneaky" not in shell.ip.user_ns


@pytest.mark.parametrize(
    ("status", "detail", "advice"),
    [
        ("error", "raised ValueError", "Mend the code"),
        ("timeout", "ran longer than 2 s", "--timeout"),
        ("oom", "used more memory than its limit of 128 MiB", "--memory"),
        ("killed", "stopped before its end", "again"),
        ("lost", "the sandbox went away", "doctor"),
    ],
)
def test_a_run_that_is_not_ok_fails_the_cell_with_its_status_by_name(shell: Shell, status: ResultStatus, detail: str, advice: str) -> None:
    shell.engine.sandbox.output = [("stdout", "before\n")]
    shell.engine.sandbox.result = failed(status, detail)
    cell = shell.run("%%sandbox -o run\npass")
    assert isinstance(cell.error, RunFailedError)
    assert cell.error.result.status == status
    assert 3 <= len(cell.error_lines) <= 6
    assert f"{status}: {detail}" in cell.error_lines[0]
    assert any(advice in line for line in cell.error_lines)
    assert cell.stdout.startswith("before\n")
    assert shell.ip.user_ns["run"].status == status
    assert shell.ip.user_ns["_"].status == status


def test_a_traceback_is_shown_as_the_codes_own_before_the_error(shell: Shell) -> None:
    trace = 'Traceback (most recent call last):\n  File "<sandbox>", line 1, in <module>\nValueError: no\x07\n'
    shell.engine.sandbox.result = failed("error", "raised ValueError", traceback=trace)
    cell = shell.run("%%sandbox\nraise ValueError('no\\a')")
    assert cell.stderr == trace.replace("\x07", "␇")


def test_no_fail_keeps_the_cell_alive(shell: Shell) -> None:
    shell.engine.sandbox.result = failed("timeout", "ran longer than 2 s")
    cell = shell.run("%%sandbox --no-fail -o attack\nwhile True: pass")
    assert cell.error is None
    assert cell.value.status == "timeout"
    assert shell.ip.user_ns["attack"].ok is False


def test_quiet_shows_nothing_but_still_fails(shell: Shell) -> None:
    shell.engine.sandbox.output = [("stdout", "noise")]
    assert shell.run("%%sandbox -q\npass").stdout == ""
    shell.engine.sandbox.result = failed("error", "raised X")
    cell = shell.run("%%sandbox -q\npass")
    assert isinstance(cell.error, RunFailedError)
    assert (cell.stdout, cell.stderr) == ("", "")


def test_a_sandbox_that_cannot_be_had_is_a_short_error(shell: Shell) -> None:
    shell.engine.sandbox.output = [SandboxUnavailableError("No sandbox can be had here.\nInstall bubblewrap.")]
    cell = shell.run("%%sandbox\npass")
    assert isinstance(cell.error, SandboxUnavailableError)
    assert 3 <= len(cell.error_lines) <= 6


def test_an_interrupt_kills_the_run_and_keeps_its_output(shell: Shell, interrupting: Any) -> None:
    shell.engine.sandbox.output = [("stdout", "started\n"), 30.0]
    with interrupting(after_s=0.5):
        cell = shell.run("%%sandbox\nwhile True: pass")
    assert isinstance(cell.error, KeyboardInterrupt)
    assert len(cell.error_lines) <= 3
    assert cell.stdout == "started\n"
    assert shell.engine.sandbox.ended == ["killed"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("%%sandbox --in nope\npass", "no variable 'nope'"),
        ("%%sandbox --in speling\npass", "did you mean spelling?"),
        ("%%sandbox --out a-b\npass", "not a name for a variable"),
        ("%%sandbox --memroy 1g\npass", "did you mean --memory?"),
        ("%%sandbox --cpu many\npass", "not a number"),
        ("%%sandbox\n\n", "no code"),
    ],
)
def test_a_cell_that_cannot_be_used_says_what_to_write(shell: Shell, source: str, said: str) -> None:
    shell.run("spelling = 1")
    cell = shell.run(source)
    assert isinstance(cell.error, UsageError)
    assert said in str(cell.error)
    assert shell.engine.sandbox.runs == []


def test_help_prints_and_runs_nothing(shell: Shell) -> None:
    assert "--no-fail" in shell.run("%%sandbox --help\npass").stdout
    assert shell.engine.sandbox.runs == []


# -- sessions, and waiting ----------------------------------------------------------------------------------------------------------


def test_a_session_is_named_in_the_run_and_in_the_line_below_the_cell(shell: Shell) -> None:
    shell.engine.sandbox.result = replace(OK, session="work (new)")
    line = shell.run("%%sandbox --session work\npass").shown_value["text/plain"]
    assert shell.engine.sandbox.runs[0]["session"] == "work"
    assert line.startswith("docker-sandbox · ok · 12 ms · session work (new) · ")


def test_every_run_has_an_id_of_its_own(shell: Shell) -> None:
    for _ in range(2):
        shell.run("%%sandbox\npass")
    assert len({run["id"] for run in shell.engine.sandbox.runs}) == 2


class Screen:
    """What a notebook would show below the cell: places that are replaced, in their order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.places: dict[str, str] = {}
        self.seen: list[str] = []
        monkeypatch.setattr("IPython.display.publish_display_data", self._publish)
        monkeypatch.setattr("IPython.display.clear_output", lambda wait=False: self.places.clear())

    def _publish(self, data: dict[str, str], transient: dict[str, str], update: bool) -> None:
        assert update == (transient["display_id"] in self.places)
        assert data, "nbconvert warns of an output that has no form"
        self.places[transient["display_id"]] = data.get("text/plain", "")
        self.seen.append(data.get("text/plain", ""))


def test_where_a_run_stands_is_shown_while_it_waits_and_gone_when_it_runs(monkeypatch: pytest.MonkeyPatch, clock: FakeClock) -> None:
    screen = Screen(monkeypatch)
    line = WaitingLine(in_kernel=True, clock=clock)
    line.show("queued 3rd")
    assert screen.seen == []
    clock.advance(1)
    for state in ("queued 3rd", "queued 3rd", "queued 1st", "starting, 1 s", "running, 0 s", ""):
        line.show(state)
    assert screen.seen == ["queued 3rd", "queued 1st", "starting, 1 s", ""]


def test_a_run_that_waited_leaves_what_stood_below_the_cell_before(monkeypatch: pytest.MonkeyPatch, clock: FakeClock) -> None:
    screen = Screen(monkeypatch)
    screen.places["answer"] = "the answer whose code runs"
    line = WaitingLine(in_kernel=True, clock=clock)
    clock.advance(1)
    for state in ("starting, 1 s", "starting, 2 s", "running, 0 s", ""):
        line.show(state)
    assert list(screen.places.values()) == ["the answer whose code runs", ""]


def test_a_terminal_shows_no_line_that_it_cannot_take_back(monkeypatch: pytest.MonkeyPatch, clock: FakeClock) -> None:
    screen = Screen(monkeypatch)
    line = WaitingLine(in_kernel=False, clock=clock)
    clock.advance(1)
    line.show("queued 3rd")
    assert screen.seen == []
