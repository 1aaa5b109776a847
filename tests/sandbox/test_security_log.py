"""What the sandbox stopped is counted, told with its reason, and bounded; ordinary life is not."""

from __future__ import annotations

import signal

import pytest

from gleitzeit_nb.core.execution import DOCKER_MODE
from gleitzeit_nb.errors import SandboxProtocolError
from gleitzeit_nb.events import ContainerLost, Event, EventBus, NetworkDecision, RunEnded, VerificationFailed
from gleitzeit_nb.rendering.security import security_text
from gleitzeit_nb.sandbox import Sandbox
from gleitzeit_nb.sandbox.docker import DockerLauncher
from gleitzeit_nb.sandbox.security import KEPT, REASON_CHARS, SecurityLog, classified
from gleitzeit_nb.sandbox.selfcheck.weakenings import WEAKENINGS, WeakProfile


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (RunEnded(1.0, "m", "r", "timeout"), "timeout"),
        (RunEnded(1.0, "m", "r", "oom"), "oom"),
        (RunEnded(1.0, "m", "r", "error", exit_code=-signal.SIGSYS), "system call"),
        (NetworkDecision(1.0, "m", "r", "evil.test", 443, "refused", "no rule names it"), "network"),
        (VerificationFailed(1.0, "m", "c", "seccomp is 0 instead of 2"), "verification"),
        (ContainerLost(1.0, "m", "c", "protocol"), "discarded"),
        (ContainerLost(1.0, "m", "c", "died"), "discarded"),
    ],
)
def test_what_was_stopped_has_a_kind(event: Event, kind: str) -> None:
    found = classified(event)
    assert found is not None
    assert (found[0], found[1]) == (kind, "m")


@pytest.mark.parametrize(
    "event",
    [
        RunEnded(1.0, "m", "r", "ok", exit_code=0),
        RunEnded(1.0, "m", "r", "error", exit_code=1),
        NetworkDecision(1.0, "m", "r", "example.org", 443, "allowed"),
        NetworkDecision(1.0, "m", "r", "example.org", 443, "failed", "no answer"),
        *(ContainerLost(1.0, "m", "c", reason) for reason in ("idle", "used up", "size", "closed", "cancelled")),
    ],
)
def test_ordinary_life_is_no_security_event(event: Event) -> None:
    assert classified(event) is None


def test_all_are_counted_and_the_last_are_told() -> None:
    events = EventBus()
    log = SecurityLog(events)
    for number in range(KEPT + 30):
        events.emit(NetworkDecision(float(number), "m", "r", "x" * 10_000, 443, "refused", "no"))
    view = log.view()
    assert [(each.kind, each.mode, each.count) for each in view.counts] == [("network", "m", KEPT + 30)]
    assert [note.at for note in view.recent][:2] == [KEPT + 29, KEPT + 28]
    assert len(view.recent) == KEPT
    assert all(len(note.reason) <= REASON_CHARS for note in view.recent)


def test_hosts_that_the_code_chose_stay_text() -> None:
    events = EventBus()
    log = SecurityLog(events)
    events.emit(NetworkDecision(1.0, "m", "r", "\x1b[2Jx\r\nfake", 1, "refused", "no"))
    text = security_text(log.view())
    assert "\x1b" not in text
    assert "\r" not in text
    assert not any(line.startswith("fake") for line in text.splitlines())


def test_nothing_is_shown_where_nothing_was_stopped() -> None:
    assert security_text(SecurityLog(EventBus()).view()) == ""


@pytest.mark.docker
async def test_a_deadline_and_the_worker_that_went_with_it_are_counted(docker_sandbox: Sandbox) -> None:
    await docker_sandbox.execute("import time; time.sleep(60)", timeout=0.3)
    counts = {(each.kind, each.mode): each.count for each in docker_sandbox.security_view().counts}
    assert counts == {("timeout", DOCKER_MODE): 1, ("discarded", DOCKER_MODE): 1}


@pytest.mark.docker
async def test_a_container_that_is_not_as_promised_is_counted(docker_image: str) -> None:
    class Ignored(WeakProfile):
        expectations = DockerLauncher().profile.expectations

    async with Sandbox(launchers={"docker": DockerLauncher(profile=Ignored(WEAKENINGS["no seccomp"]))}) as sandbox:
        with pytest.raises(SandboxProtocolError):
            await sandbox.execute("1", DOCKER_MODE)
        (count,) = [each for each in sandbox.security_view().counts if each.kind == "verification"]
        assert (count.mode, count.count) == (DOCKER_MODE, 1)
        assert "seccomp is 0" in sandbox.security_view().recent[-1].reason
