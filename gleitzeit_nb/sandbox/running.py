"""The runs that go on: where each of them stands, and ending one from outside."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from gleitzeit_nb.core.execution import ExecutionRequest, ExecutionResult, ModeSettings
from gleitzeit_nb.core.network import NetworkPolicy
from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.sandbox.connection import GuestConnection
from gleitzeit_nb.sandbox.modes import NO_ISOLATION, named
from gleitzeit_nb.snapshot import RunView

LABEL_CHARS = 60
STAGE_CHARS = 120

T = TypeVar("T")


@dataclass(eq=False)
class Run:
    """A request that is going on: waiting for what `coming` brings (its image, its worker), then in `connection`.

    `ended`: why it was ended from outside. `stage`: what is done before it can have a worker; "" when nothing is.
    """

    request: ExecutionRequest
    mode: ModeSettings
    since: float
    policy: NetworkPolicy | None = None
    coming: asyncio.Task[Any] | None = None
    connection: GuestConnection | None = None
    ended: str = ""
    stage: str = ""

    def cancel(self, why: str) -> None:
        """Its result will be "killed", with what it had printed. Only the first reason counts."""
        self.ended = self.ended or why
        if self.connection is not None:
            self.connection.cancel(self.ended)
        elif self.coming is not None:
            self.coming.cancel()

    async def come_by(self, wanted: Coroutine[Any, Any, T], give_back: Callable[[T], object]) -> T | None:
        """What it waits for; None when it was cancelled meanwhile, and then that is given back."""
        if self.ended:
            wanted.close()
            return None
        self.coming = coming = asyncio.create_task(wanted)
        try:
            found = await coming
        except asyncio.CancelledError:
            if coming.done() and not coming.cancelled() and coming.exception() is None:
                give_back(coming.result())  # it came in the same moment
            if self.ended:
                return None
            raise
        finally:
            self.coming = None
        if self.ended:
            give_back(found)
            return None
        return found

    def killed(self) -> ExecutionResult:
        """Of one that was cancelled before it had a worker."""
        isolation = NO_ISOLATION if self.mode.kind == "local" else ""
        return ExecutionResult("killed", self.mode.id, detail=f"{self.ended} before it started", isolation=isolation)


class Runs:
    """By the ids of their requests. `waits` tells where one of that id stands with the pool of workers; "" when it does not wait there."""

    def __init__(self, waits: Callable[[str], str]) -> None:
        self._waits = waits
        self._runs: dict[str, Run] = {}

    def __repr__(self) -> str:
        return f"<Runs {', '.join(self._runs) or 'none'}>"

    def __len__(self) -> int:
        return len(self._runs)

    @contextlib.contextmanager
    def going_on(self, run: Run) -> Iterator[Run]:
        name = run.request.id
        if name in self._runs:
            raise ValueError(f"a run with the id {name!r} is going on")
        self._runs[name] = run
        try:
            yield run
        finally:
            del self._runs[name]

    def cancel(self, name: str, why: str) -> bool:
        run = self._runs.get(name)
        if run is not None:
            run.cancel(why)
        return run is not None

    def in_session(self, session: str) -> Iterator[Run]:
        """Those that have its worker, of which there is one at most."""
        return (run for run in tuple(self._runs.values()) if run.request.session == session and run.connection is not None)

    def in_container(self, container: str) -> Run | None:
        return next((run for run in self._runs.values() if run.connection is not None and run.connection.channel.name == container), None)

    def by_container(self) -> dict[str, str]:
        """The ids of those that have a worker."""
        return {run.connection.channel.name: name for name, run in self._runs.items() if run.connection is not None}

    def describe(self, name: str) -> str:
        """Where a run stands, in one line: "queued 3rd", "starting, 1 s", "running, 4 s"; "" when it does not go on."""
        run = self._runs.get(name)
        if run is None:
            return ""
        return self._state(run) or f"running, {time.monotonic() - run.since:.0f} s"

    def views(self) -> tuple[RunView, ...]:
        return tuple(map(self._view, self._runs.values()))

    def _view(self, run: Run) -> RunView:
        state = self._state(run)
        first_line = run.request.code.strip().partition("\n")[0]
        return RunView(
            id=run.request.id,
            kind="sandbox",
            label=run.request.label or first_line[:LABEL_CHARS],
            where="" if state.startswith("queued") else named(run.mode),
            state=state or "running",
            elapsed_s=time.monotonic() - run.since,
            tokens=0,
            container=run.connection.channel.name if run.connection is not None else "",
            cancellable=not run.ended,
        )

    def _state(self, run: Run) -> str:
        """Why it does not run yet; "" once it does."""
        if run.ended:
            return "being cancelled"
        if run.stage:
            return run.stage
        waits = run.coming is not None and run.request.session is not None
        return self._waits(run.request.id) or ("waiting for its session's other run" if waits else "")


def telling(run: Run, on_progress: Callable[[str], None] | None) -> Callable[[str], None]:
    """What is told of a run's preparation is its stage, too."""

    def tell(line: str) -> None:
        run.stage = one_line(line, STAGE_CHARS)
        if on_progress is not None:
            on_progress(line)

    return tell
