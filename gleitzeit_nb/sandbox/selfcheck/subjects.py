"""A mode of a sandbox as the thing that is checked."""

from __future__ import annotations

import asyncio
from typing import Any

from gleitzeit_nb.core.execution import ExecutionResult
from gleitzeit_nb.sandbox import Sandbox
from gleitzeit_nb.sandbox.selfcheck.check import Subject

WEAKER = "weaker: "
STILL_ANSWERS_S = 60.0


class ModeExecute:
    """An `Execute` over one mode of a sandbox; `fresh`: every run in a worker that has never run anything."""

    def __init__(self, sandbox: Sandbox, subject: Subject) -> None:
        self.sandbox = sandbox
        self._subject = subject

    def __repr__(self) -> str:
        return f"<ModeExecute {self._subject.mode.id}{' fresh' if self._subject.fresh else ''}>"

    @property
    def subject(self) -> Subject:
        return self._subject

    async def __call__(self, code: str, **options: Any) -> ExecutionResult:
        return await self.sandbox.execute(code, self._subject.mode.id, fresh=self._subject.fresh, **options)


async def look_at(sandbox: Sandbox, mode_id: str, *, fresh: bool = False) -> ModeExecute:
    """Raises SandboxError or ConfigError when the mode cannot be had here."""
    isolation = await sandbox.check(mode_id)
    weaker = isolation.partition(WEAKER)[2]
    return ModeExecute(sandbox, Subject(sandbox.settings.modes[mode_id], isolation, weaker, fresh, sandbox.settings.volume_roots))


async def still_answers(execute: ModeExecute) -> bool:
    """After whatever was done to it."""
    result = await asyncio.wait_for(execute("print(6 * 7)"), STILL_ANSWERS_S)
    return (result.status, result.stdout) == ("ok", "42\n")
