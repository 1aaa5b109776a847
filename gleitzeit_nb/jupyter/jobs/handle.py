"""What `--bg` gives: a handle on work that goes on while other cells run, and that shows where it stands."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Protocol

from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.jobs import Job, JobState
from gleitzeit_nb.jupyter.display.live_output import LiveOutput, Part, updates_of
from gleitzeit_nb.jupyter.display.pace import Pace
from gleitzeit_nb.jupyter.display.quiet import quiet_lines
from gleitzeit_nb.jupyter.failures import WIDTH, brief_lines, shorten
from gleitzeit_nb.jupyter.llm.thinking import thinking_bundle
from gleitzeit_nb.runtime import outcome

if TYPE_CHECKING:
    from gleitzeit_nb.engine import Engine
    from gleitzeit_nb.jupyter.front import Front

TICK_S = 0.5  # between two looks at where a job stands
LINE_REST_S = 1.0
PAGE_WIDTH = 2000  # a page wraps by itself
WAIT_S = 0.2  # a loop that is awaited on notices an interrupt only when it wakes
_MARKS: dict[JobState, str] = {"running": "▸", "done": "✓", "failed": "✗", "cancelled": "■"}


class Work(Protocol):
    """What a job does, and how that looks. All but `go` and `describe` is asked from any thread."""

    kind: str
    model: str

    @property
    def value(self) -> Any:
        """The reply or the run, as soon as there is one."""
        ...

    async def go(self, engine: Engine, job: Job, touch: Callable[[], None]) -> Any:
        """On the engine's loop: do it; `touch` whenever there is more to show."""
        ...

    def describe(self, engine: Engine) -> str:
        """Where it stands, in one line; "" where that is not known."""
        ...

    def parts(self) -> list[Part]:
        """What it has to show so far, above its line."""
        ...

    @property
    def text(self) -> str: ...

    @property
    def thinking(self) -> str: ...

    @property
    def tokens(self) -> int | None: ...

    @property
    def where(self) -> str:
        """The instance or mode; "" while that is open."""
        ...

    def footer(self) -> tuple[str, ...]:
        """Of what was done: one line, and what deserves lines of its own."""
        ...


class JobHandle:
    """A background job. `done`, `state`, `text` so far, `result(timeout)`, `await handle`, `cancel()`; shown in a cell, it is live."""

    def __init__(self, front: Front, work: Work, number: int, label: str, *, streams: bool = True) -> None:
        self.cell = front.cell_number
        self._starts_here = front.this_cell()
        self._front = front
        self._work = work
        self._engine = front.engine
        self._runtime = front.runtime
        self._job = Job(number, label, work.model)
        self._since = time.strftime("%H:%M:%S")
        self._stage = ""
        paced = Pace(front.budget)
        self._live = LiveOutput(self._parts, updates_of(front.shell), paced, front.places, streams=streams and front.streams)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.line()}>"

    # -- what is known ------------------------------------------------------------------------------------------------------------

    @property
    def id(self) -> int:
        """Its number, as `%llm jobs` lists it."""
        return self._job.number

    @property
    def kind(self) -> str:
        """llm or sandbox."""
        return self._work.kind

    @property
    def model(self) -> str:
        return self._work.model

    @property
    def where(self) -> str:
        """The instance or the sandbox's mode; "" while that is open."""
        return self._work.where

    @property
    def state(self) -> JobState:
        """running, done, failed or cancelled."""
        return self._job.state

    @property
    def done(self) -> bool:
        """It has ended, in whatever way."""
        return self._job.state != "running"

    @property
    def stage(self) -> str:
        """Where it stands while it runs, in one line: "queued 3rd", "answering on gpu-1, 34 tokens"."""
        return self._stage if not self.done else self.state

    @property
    def elapsed_s(self) -> float:
        return self._job.elapsed_s

    @property
    def text(self) -> str:
        """What has come so far: the answer's text, or what the code printed. Untrusted."""
        return self._work.text

    @property
    def tokens(self) -> int | None:
        return self._work.tokens

    @property
    def future(self) -> concurrent.futures.Future[Any]:
        """Of its result; settled when its last state is shown."""
        return self._job.future

    @property
    def error(self) -> BaseException | None:
        """Why it failed; None when it did not."""
        return self._job.error

    @property
    def value(self) -> Any:
        """The reply (LLMReply) or the run (SandboxRun); None while there is none. Also of a job that failed behind it, as its code may."""
        return self._work.value

    # -- waiting ------------------------------------------------------------------------------------------------------------------

    def result(self, timeout: float | None = None) -> Any:
        """Wait for it, `timeout` seconds at most, and give what came of it: the reply, or the run. Raises what it failed with.

        TimeoutError when it is not ready by then, JobCancelledError when it was cancelled. An interrupt ends the wait, not the job.
        """
        if self._runtime.is_here:
            raise RuntimeError("waiting for a job on the engine's own loop would block it: await the job instead")
        future = self._job.future
        try:
            return outcome(future, timeout)
        except concurrent.futures.TimeoutError:
            if future.done():
                raise
            late = TimeoutError(
                f"job {self.id} is still running after {timeout:g} s: {self.stage or 'starting'}.\nIt goes on; ask for it again later."
            )
            shorten(late, self._front)
            raise late from None
        except KeyboardInterrupt as interrupt:
            shorten(interrupt, self._front, f"interrupted: job {self.id} goes on. job.cancel() or %llm jobs cancel {self.id} ends it.")
            raise

    def __await__(self) -> Generator[Any, None, Any]:
        return self._wait().__await__()

    async def _wait(self) -> Any:
        """From any loop. Cancelling the one who waits leaves the job alone."""
        loop, future = asyncio.get_running_loop(), self._job.future
        waiter: asyncio.Future[None] = loop.create_future()

        def wake(_future: object) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle)

        def settle() -> None:
            if not waiter.done():
                waiter.set_result(None)

        future.add_done_callback(wake)
        while not waiter.done():
            await asyncio.wait({waiter}, timeout=WAIT_S)
        return future.result()

    def cancel(self, why: str = "") -> bool:
        """End it; what had come stays. False when it has ended already."""
        if self.done or self._runtime.closed:
            return False
        if self._runtime.is_here:
            return self._engine.jobs.cancel(self._job.id, why)
        return outcome(self._runtime.submit(self._cancel(why)))

    async def _cancel(self, why: str) -> bool:
        return self._engine.jobs.cancel(self._job.id, why)

    # -- on the engine's loop -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """From the thread of the cell."""
        self._runtime.call(self._start())

    async def _start(self) -> None:
        self._engine.jobs.start(self._job, self._go, self._live.end)

    async def _go(self) -> Any:
        watching = asyncio.create_task(self._watch())
        try:
            return await self._work.go(self._engine, self._job, self._live.touch)
        finally:
            watching.cancel()

    async def _watch(self) -> None:
        while True:
            self._stage = self._work.describe(self._engine)
            self._live.touch()
            await asyncio.sleep(TICK_S)

    # -- what is shown ------------------------------------------------------------------------------------------------------------

    def line(self) -> str:
        """Its state, in one line."""
        return self._lines()[0]

    def _lines(self) -> tuple[str, ...]:
        head = f"{_MARKS[self.state]} job {self.id}"
        if self.state == "running":
            model = [one_line(self.model, 60)] if self.model else []
            return (" · ".join([head, *model, one_line(self._stage, 100) or "starting", f"since {self._since}", self._way_to_cancel()]),)
        if self.state == "done":
            first, *others = self._work.footer()
            return (f"{head} · {first}", *others)
        if self.error is not None:
            width = PAGE_WIDTH if self._front.in_kernel else WIDTH
            first, *others = brief_lines(self.error, width=width)[:-1]
            return (f"{head} failed · {first}", *others)
        why = f": {one_line(self._job.why, 80)}" if self._job.why else ""
        return (f"{head} · cancelled after {self.elapsed_s:.1f} s{why}",)

    def _way_to_cancel(self) -> str:
        return f"%llm jobs cancel {self.id}"

    def _parts(self) -> list[Part]:
        lines = self._lines()
        return [*self._work.parts(), Part((self.state, lines), lambda: self._drawn_lines(lines), LINE_REST_S)]

    def _drawn_lines(self, lines: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
        shown = quiet_lines(lines)
        if self.state == "done" and self._work.thinking.strip():
            shown = thinking_bundle(self._work.thinking)["text/html"] + shown
        facts = {"job": self.id, "state": self.state}
        return {"text/plain": "\n".join(lines), "text/html": shown}, {"gleitzeit_nb": facts}

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """As it is now."""
        drawn = [part.draw()[0] for part in self._parts()]
        plain = "\n".join(data["text/plain"] for data in drawn if data["text/plain"])
        return {**({"text/markdown": drawn[0]["text/markdown"]} if "text/markdown" in drawn[0] else {}), "text/plain": plain}

    def _ipython_display_(self) -> None:
        """In a notebook: live, wherever it is shown. In a terminal: as it is now, and where it was started one line."""
        if self._front.in_kernel:
            self._live.show()
        else:
            shown = self.line() if self._starts_here() else self._repr_mimebundle_()["text/plain"]
            print(f"\n{shown}" if "\n" in shown else shown)  # noqa: T201 - below `Out[3]:`, where it has several lines
