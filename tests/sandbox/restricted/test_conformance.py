"""The conformance list of all enforced modes, on restricted mode in its strong form, through the whole sandbox."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gleitzeit_nb.core.execution import RESTRICTED_MODE, ContainerPoolSettings, SandboxSettings, default_modes
from gleitzeit_nb.errors import SandboxUnavailableError
from gleitzeit_nb.sandbox.sandbox import Sandbox
from tests.sandbox.conformance import CHECKS, SECRET, Check, Execute, works

PROMISED = [each for each in CHECKS if RESTRICTED_MODE in each.modes]


@pytest.fixture
async def execute(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Execute]:
    monkeypatch.setenv("GLEITZEIT_TEST_SECRET", SECRET)
    settings = SandboxSettings(default_modes(), RESTRICTED_MODE, ContainerPoolSettings(max_containers=1, min_warm=0))
    async with Sandbox(settings) as sandbox:
        try:
            await sandbox.check(RESTRICTED_MODE)
        except SandboxUnavailableError as error:
            pytest.skip(f"restricted mode cannot be had here: {error}")
        yield sandbox.execute


@pytest.mark.parametrize("check", PROMISED, ids=lambda each: each.name)
async def test_it_keeps_its_promises(check: Check, execute: Execute) -> None:
    await check.probe(execute)
    assert await works(execute)
