"""The self-check as its users see it: who promises what, what is said about it, and how it ends."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from gleitzeit_nb.cli import main
from gleitzeit_nb.core.execution import DOCKER_MODE, ExecutionResult, Limits, ModeSettings, SandboxSettings, default_modes
from gleitzeit_nb.errors import UsageError
from gleitzeit_nb.rendering.selfcheck import report_text
from gleitzeit_nb.sandbox import Sandbox
from gleitzeit_nb.sandbox.selfcheck.catalogue import CHECKS
from gleitzeit_nb.sandbox.selfcheck.check import ABSENT, DOCKER, EVERY, Area, Check, Execute, Subject, Where
from gleitzeit_nb.sandbox.selfcheck.examination import Outcome, Verdict, examine
from gleitzeit_nb.sandbox.selfcheck.report import SCHEMA_VERSION, ModeReport, Report, WeakenedReport, document
from gleitzeit_nb.sandbox.selfcheck.session import SelfCheck, Wanted
from gleitzeit_nb.sandbox.selfcheck.subjects import ModeExecute
from gleitzeit_nb.sandbox.selfcheck.volumes import ROOT

MODES = default_modes()


def named(name: str) -> Check:
    return next(check for check in CHECKS if check.name == name)


def subject(mode: str, weaker: str = "", **changes: Any) -> Subject:
    return Subject(replace(MODES[mode], **changes), weaker=weaker, volume_roots=(ROOT,))


def outcome(verdict: Verdict, saw: str = "1") -> Outcome:
    return Outcome(CHECKS[0], verdict, saw)


# -- who promises what --------------------------------------------------------------------------------------------------------


def test_containers_promise_everything() -> None:
    assert [check.name for check in CHECKS if check.not_promised(subject(DOCKER_MODE))] == []


def test_a_mode_of_the_users_own_promises_what_containers_do() -> None:
    own = Subject(ModeSettings("mine", "docker", "Mine", image="python:3-slim"), volume_roots=(ROOT,))
    assert [check.name for check in CHECKS if check.not_promised(own)] == []


def test_the_weaker_form_says_what_it_gave_up() -> None:
    weaker = subject("restricted", weaker="no namespaces")
    assert named("only_loopback_is_up").not_promised(weaker) == "given up by the weaker form: no namespaces"
    assert named("ptrace_is_refused").not_promised(weaker) == ""


def test_local_mode_isolates_nothing_but_keeps_its_output_in_order() -> None:
    assert named("ptrace_is_refused").not_promised(subject("local")) == "local mode isolates nothing"
    assert named("any_bytes_can_be_printed").not_promised(subject("local")) == ""


def test_limits_beyond_what_is_tried_are_not_called_kept() -> None:
    roomy = subject(DOCKER_MODE, limits=Limits(workspace_bytes=1 << 30))
    assert "larger than what is tried" in named("the_work_directory_has_a_size").not_promised(roomy)


def test_memory_in_total_is_no_promise_without_a_group() -> None:
    alone = Subject(MODES["restricted"], isolation="bubblewrap, memory bounded per process, not in total (no cgroup)")
    assert named("processes_share_one_memory_limit").not_promised(alone)


# -- examining ----------------------------------------------------------------------------------------------------------------


def area_of(**codes: str) -> Area:
    area = Area("tried here")
    for name, code in codes.items():
        area.snippet(name, "It holds.", code=code, weakening="none", proves="limits", tried=code, expected=1, forms=EVERY)
    return area


async def examined(sandbox: Sandbox, area: Area, **options: Any) -> dict[str, Outcome]:
    execute = ModeExecute(sandbox, subject(DOCKER_MODE))
    return {each.check.name: each for each in await examine(execute, area.checks, **options)}


@pytest.mark.docker
async def test_each_check_has_a_verdict_of_its_own(docker_sandbox: Sandbox) -> None:
    area = area_of(
        good="seen = 1", bad="seen = 2", raising="1 / 0", leaving="os._exit(3)", absent=f"seen = {ABSENT!r}", strange="seen = [object()]"
    )
    found = await examined(docker_sandbox, area)
    verdicts = {name: each.verdict for name, each in found.items()}
    assert verdicts == {"good": "kept", "bad": "broken", "raising": "broken", "leaving": "broken", "absent": "skipped", "strange": "broken"}
    assert found["bad"].saw == "2"
    assert "ZeroDivisionError" in found["raising"].saw


@pytest.mark.docker
async def test_a_check_that_never_ends_is_not_called_kept(docker_sandbox: Sandbox) -> None:
    area = Area("tried here")

    async def waiting(execute: Execute) -> Any:
        """It ends."""
        await asyncio.sleep(60)

    area.check("none", proves="limits", tried="wait", expected=1)(waiting)
    found = await examined(docker_sandbox, area, limit_s=0.1)
    assert (found["waiting"].verdict, found["waiting"].saw) == ("failed", "no answer within 0.1 s")


@pytest.mark.docker
async def test_what_holds_for_some_only_is_told_apart(docker_sandbox: Sandbox) -> None:
    area = Area("tried here")
    area.snippet("own", "Held.", code="seen = 1", weakening="none", proves="limits", tried="", expected=1, forms=DOCKER)
    execute = ModeExecute(docker_sandbox, subject("restricted"))
    assert [each.verdict for each in await examine(execute, area.checks)] == ["not promised"]


async def test_values_of_another_kind_than_expected_are_broken_and_no_crash() -> None:
    area = Area("tried here")

    class Telling:
        subject = subject(DOCKER_MODE)

        async def __call__(self, code: str, **options: Any) -> ExecutionResult:
            return ExecutionResult("ok", DOCKER_MODE, stdout="42\n", outputs={"seen": {"one": {"seen": "text"}}})

    area.snippet(
        "one",
        "Held.",
        code="seen = 1",
        weakening="none",
        proves="limits",
        tried="",
        expected=Where("more than 0", lambda seen, _: seen > 0),
    )
    found = await examine(Telling(), area.checks, sure=False)  # type: ignore[arg-type]
    assert [(each.verdict, each.saw) for each in found] == [("broken", "'text'")]


# -- what is said -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (Report({}), 2),
        (Report({}, (ModeReport("a", outcomes=(outcome("kept"), outcome("not promised"), outcome("skipped"))),)), 0),
        (Report({}, (ModeReport("a", outcomes=(outcome("kept"), outcome("broken"))),)), 1),
        (Report({}, (ModeReport("a", outcomes=(outcome("failed"),)),)), 1),
        (Report({}, (ModeReport("a", outcomes=(outcome("kept"),), interrupted=True),)), 1),
        (Report({}, (ModeReport("a", outcomes=(outcome("kept"),)), ModeReport("b", problem="no daemon"))), 0),
        (Report({}, (ModeReport("a", outcomes=(outcome("kept"),)), ModeReport("b", named=True, problem="no daemon"))), 2),
        (Report({}, weakened=(WeakenedReport("a", "w", (outcome("kept"),)),)), 1),
        (Report({}, weakened=(WeakenedReport("a", "w", (outcome("broken"),)),)), 0),
    ],
)
def test_the_exit_code_says_how_it_ended(report: Report, code: int) -> None:
    assert report.exit_code == code
    assert document(report)["ok"] is (code == 0)


def test_what_code_inside_wrote_stays_text() -> None:
    hostile = ModeReport("a\x1b[2J", isolation="b\nc", outcomes=(outcome("broken", "'\x1b]0;owned\x07\r\n✓ all kept'"),))
    text = report_text(Report({"docker": "1\x1b[31m"}, (hostile,)))
    assert "\x1b" not in text
    assert "\r" not in text
    assert text.count("✓ all kept") == 1  # and in the line of what it saw
    assert any(line.strip().startswith("saw") and "all kept" in line for line in text.splitlines())


def test_a_broken_promise_is_told_with_all_that_is_known() -> None:
    text = report_text(Report({}, (ModeReport("a", outcomes=(outcome("broken", "['eth0', 'lo']"),)),)), brief=True)
    for words in ("No network interface but loopback", "list the interfaces", "['lo']", "['eth0', 'lo']", "#no-network", "host network"):
        assert words in text


def test_every_check_can_be_written_as_json() -> None:
    report = Report({}, (ModeReport("a", outcomes=tuple(Outcome(check, "kept", "x") for check in CHECKS)),))
    checks = json.loads(json.dumps(document(report)))["modes"][0]["checks"]
    assert {check["name"] for check in checks} == {check.name for check in CHECKS}
    assert all(check["expected"] and "{" not in check["expected"].replace("{'", "") for check in checks)


# -- what is asked for --------------------------------------------------------------------------------------------------------


def test_areas_and_checks_are_found_by_name() -> None:
    assert {check.area for check in Wanted(only=("between-runs",)).checks()} == {"between runs"}
    assert [check.name for check in Wanted(only=("ptrace-is-refused",)).checks()] == ["ptrace_is_refused"]
    assert Wanted().checks() == CHECKS


@pytest.mark.parametrize(
    ("wanted", "words"), [(Wanted(only=("netwrok",)), "'network'"), (Wanted(modes=("docker-sandbx",)), "'docker-sandbox'")]
)
def test_a_name_that_is_not_there_is_refused_with_the_nearest(wanted: Wanted, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        SelfCheck(SandboxSettings(), wanted)


def test_a_name_that_is_not_there_exits_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selfcheck", "--mode", "nosuch"]) == 2
    assert "nosuch" in capsys.readouterr().err


def test_a_mode_that_cannot_be_had_exits_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selfcheck", "--mode", "local", "--only", "output"]) == 2
    assert "switched off" in capsys.readouterr().out


@pytest.mark.docker
def test_one_area_as_json(docker_image: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selfcheck", "--mode", DOCKER_MODE, "--only", "privileges", "--weaken", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema_version"], found["ok"]) == (SCHEMA_VERSION, True)
    assert found["versions"]["docker"]
    (mode,) = found["modes"]
    assert mode["image"] == docker_image
    assert mode["image_id"].startswith("sha256:")
    assert mode["counts"] == {"kept": len(mode["checks"])}
    assert all(check["verdict"] == "broken" for each in found["weakened"] for check in each["checks"])
    assert {each["weakening"] for each in found["weakened"]} == {check["weakening"] for check in mode["checks"]}


@pytest.mark.docker
async def test_an_interrupted_check_keeps_what_it_found(docker_image: str) -> None:
    begun = asyncio.Event()
    checking = SelfCheck(SandboxSettings(), Wanted(modes=(DOCKER_MODE,), only=("resources",)), lambda *_: begun.set())
    running = asyncio.create_task(checking.run())
    await asyncio.wait_for(begun.wait(), 60)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    (report,) = checking.report.modes
    assert report.interrupted
    assert checking.report.exit_code == 1
