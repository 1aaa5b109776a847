"""Every promise on every mode that makes it; and every check once more without the protection that it checks."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from gleitzeit_nb.core.execution import DOCKER_MODE, RESTRICTED_MODE, ContainerPoolSettings, SandboxSettings
from gleitzeit_nb.errors import SandboxError
from gleitzeit_nb.sandbox import Sandbox
from gleitzeit_nb.sandbox.selfcheck.catalogue import CHECKS
from gleitzeit_nb.sandbox.selfcheck.check import Check, ProbeError, Subject
from gleitzeit_nb.sandbox.selfcheck.probing import SECRET, SECRET_NAME
from gleitzeit_nb.sandbox.selfcheck.subjects import ModeExecute, look_at, still_answers
from gleitzeit_nb.sandbox.selfcheck.weakenings import WEAKENINGS, WeakLauncher

MODES = (DOCKER_MODE, RESTRICTED_MODE)
PROMISED = [pytest.param(mode, check, id=f"{mode}-{check.name}") for mode in MODES for check in CHECKS]
WEAKENED = [
    pytest.param(name, check, id=f"{name.replace(' ', '_')}-{check.name}")
    for name in WEAKENINGS
    for check in CHECKS
    if check.weakening == name
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def execute(request: pytest.FixtureRequest) -> AsyncIterator[ModeExecute]:
    """Of the mode that the test is parametrised with; skips where this machine has not got it."""
    mode: str = request.param
    if mode == DOCKER_MODE:
        request.getfixturevalue("docker_image")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SECRET_NAME, SECRET)
        async with Sandbox() as sandbox:
            try:
                looked_at = await look_at(sandbox, mode)
            except SandboxError as exc:
                pytest.skip(f"no {mode} here: {exc}")
            yield looked_at


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def weakened(request: pytest.FixtureRequest, docker_image: str) -> AsyncIterator[ModeExecute]:
    settings = SandboxSettings(container_pool=ContainerPoolSettings(min_warm=0))
    async with Sandbox(settings, launchers={"docker": WeakLauncher(WEAKENINGS[request.param])}) as sandbox:
        looked_at = ModeExecute(sandbox, Subject(settings.modes[DOCKER_MODE]))
        assert await still_answers(looked_at)
        yield looked_at


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("execute", "check"), PROMISED, indirect=["execute"])
async def test_promise_is_kept(execute: ModeExecute, check: Check) -> None:
    withheld = check.not_promised(execute.subject)
    if withheld:
        return
    seen = await check.probe(execute)
    assert check.kept(seen, execute.subject.limits), f"expected {check.expectation(execute.subject.limits)}, saw {seen!r}"
    assert await still_answers(execute)


@pytest.mark.docker
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("weakened", "check"), WEAKENED, indirect=["weakened"])
async def test_check_fails_without_the_protection(weakened: ModeExecute, check: Check) -> None:
    try:
        seen = await check.probe(weakened)
    except (ProbeError, SandboxError):
        return
    assert not check.kept(seen, weakened.subject.limits), f"without its protection it still saw {seen!r}"


def test_every_weakening_is_used_and_exists() -> None:
    assert {check.weakening for check in CHECKS} == set(WEAKENINGS)


def test_checks_have_names_and_promises_of_their_own() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert all(check.promise.endswith(".") and check.tried for check in CHECKS)


def test_no_two_checks_try_the_same_against_the_same_weakening() -> None:
    assert len({(check.source, check.weakening) for check in CHECKS}) == len(CHECKS)


def test_every_check_proves_a_line_of_the_docs_and_every_line_is_proved() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "security.md").read_text("utf-8")
    assert set(re.findall(r'<a id="([\w-]+)"></a>', page)) == {check.proves for check in CHECKS}
