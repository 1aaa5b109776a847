"""Every promise on every mode that makes it; and every check once more without the protection that it checks."""

from __future__ import annotations

import pytest

from gleitzeit_nb.core.execution import DOCKER_MODE
from gleitzeit_nb.errors import SandboxError
from gleitzeit_nb.sandbox import Sandbox
from tests.sandbox.conformance import CHECKS, ENFORCED, SECRET, Check, works
from tests.sandbox.conftest import Execute
from tests.sandbox.weakenings import WEAKENINGS, WeakLauncher

PROMISED = [pytest.param(mode, check, id=f"{mode}-{check.name}") for mode in ENFORCED for check in CHECKS if mode in check.modes]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("executor", "check"), PROMISED, indirect=["executor"])
async def test_promise_is_kept(executor: Execute, check: Check) -> None:
    await check.probe(executor)
    assert await works(executor)


@pytest.mark.docker
@pytest.mark.parametrize("check", [pytest.param(check, id=check.name) for check in CHECKS if DOCKER_MODE in check.modes])
async def test_check_fails_without_the_protection(check: Check, docker_image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST_SECRET", SECRET)
    async with Sandbox(launchers={"docker": WeakLauncher(WEAKENINGS[check.weakening])}) as sandbox:
        weakened = Execute(sandbox, DOCKER_MODE)
        assert await works(weakened)
        with pytest.raises((AssertionError, SandboxError)):
            await check.probe(weakened)


def test_every_weakening_is_used_and_exists() -> None:
    assert {check.weakening for check in CHECKS} == set(WEAKENINGS)


def test_checks_have_names_and_promises_of_their_own() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert all(check.promise.endswith(".") for check in CHECKS)
