"""Work that goes on while nobody waits for it. Lives on the engine's loop, and ends with the engine.

    running ──▶ done | failed | cancelled

A job's requests and runs are those of the pool and the sandbox; in snapshots they stand as one run of kind "job".
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any, Literal

from gleitzeit_nb.errors import JobCancelledError
from gleitzeit_nb.snapshot import RunView

JobState = Literal["running", "done", "failed", "cancelled"]
CLOSE_S = 3.0  # what jobs may take to end when the engine does


class Job:
    """Only the loop changes it; its facts can be read from any thread. `future` holds what came of it, once its end was told."""

    def __init__(self, number: int, label: str, model: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self.number = number
        self.label = label
        self.model = model
        self.state: JobState = "running"
        self.part = ""  # the id of the request or run that goes on for it
        self.error: BaseException | None = None
        self.result: Any = None
        self.why = ""  # it was cancelled, where not a person did
        self.future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self._clock = clock
        self._started_at = clock()
        self._ended_at: float | None = None

    def __repr__(self) -> str:
        return f"<Job {self.number} {self.state}, {self.label!r}, {self.elapsed_s:.1f} s>"

    @property
    def id(self) -> str:
        """As snapshots name it."""
        return f"job-{self.number}"

    @property
    def elapsed_s(self) -> float:
        return (self._ended_at if self._ended_at is not None else self._clock()) - self._started_at

    def end(self, state: JobState, *, result: Any = None, error: BaseException | None = None) -> None:
        """How it went. Only the first call counts."""
        if self.state == "running":
            self.state, self.result, self.error = state, result, error
            self._ended_at = self._clock()

    def tell(self) -> None:
        """Let those who wait for it go on."""
        if self.future.done():
            return
        if self.state == "done":
            self.future.set_result(self.result)
        elif self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_exception(JobCancelledError(f"job {self.number} was cancelled{f': {self.why}' if self.why else ''}."))


class Jobs:
    """Those that are running."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[Job, asyncio.Task[None]]] = {}

    def __repr__(self) -> str:
        return f"<Jobs {len(self._running)} running>"

    def __len__(self) -> int:
        return len(self._running)

    def start(self, job: Job, work: Callable[[], Awaitable[Any]], ended: Callable[[], Awaitable[None]]) -> None:
        """On the loop. `work` makes the result; `ended` is awaited when it is settled, before those who wait for the job are told."""
        task = asyncio.get_running_loop().create_task(self._run(job, work, ended), name=f"gleitzeit-{job.id}")
        self._running[job.id] = (job, task)

    async def _run(self, job: Job, work: Callable[[], Awaitable[Any]], ended: Callable[[], Awaitable[None]]) -> None:
        try:
            try:
                job.end("done", result=await work())
            except asyncio.CancelledError:
                job.end("cancelled")
            except Exception as error:  # noqa: BLE001 - whoever asks for the result gets it
                job.end("failed", error=error)
            finally:
                self._running.pop(job.id, None)
            await ended()
        finally:
            job.end("cancelled")
            job.tell()

    def cancel(self, job_id: str, why: str = "") -> bool:
        """On the loop. False when no job of that id is running."""
        job, task = self._running.get(job_id, (None, None))
        if job is None or task is None:
            return False
        job.why = why
        return task.cancel()

    def merged(self, views: Iterable[RunView]) -> tuple[RunView, ...]:
        """`views` of requests and runs, with those that go on for a job told as that job; and the jobs that are between two."""
        views = tuple(views)
        parts = {job.part: job for job, _ in self._running.values() if job.part}
        shown = {parts[view.id].id for view in views if view.id in parts}
        between = (job for job, _ in self._running.values() if job.id not in shown)
        told = (
            replace(view, id=parts[view.id].id, kind="job", label=parts[view.id].label, elapsed_s=parts[view.id].elapsed_s)
            if view.id in parts
            else view
            for view in views
        )
        idle = (RunView(job.id, "job", job.label, "", "running", job.elapsed_s, 0, model=job.model) for job in between)
        return (*told, *idle)

    async def close(self) -> None:
        """Cancel all, and give them a moment to say so."""
        tasks = [task for _, task in self._running.values()]
        for job_id in tuple(self._running):
            self.cancel(job_id, "the engine was stopped")
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_S)
