"""Sessions: names under which variables outlive a run. Each has a worker of its own, which nobody else ever gets.

enter ─▶ its worker (at first: an unused one out of the pool) ─▶ one run after the other, first come first served ─▶ leave
             ▲                                                                                                         │
             └──────────── ended: killed, died, idle for too long, reset. The next run starts anew, and says so ◀───────┘
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from gleitzeit_nb.core.execution import ExecutionRequest, ExecutionResult, Limits, ModeSettings
from gleitzeit_nb.core.places import Want, differing
from gleitzeit_nb.errors import ConfigError, EngineClosedError, SandboxBusyError
from gleitzeit_nb.events import EventBus, SessionEnded
from gleitzeit_nb.sandbox.connection import GuestConnection
from gleitzeit_nb.sandbox.modes import Modes
from gleitzeit_nb.sandbox.pool import WorkerPool
from gleitzeit_nb.sandbox.worker import Worker, limits_in, want_of
from gleitzeit_nb.snapshot import ContainerView, SessionView

logger = logging.getLogger("gleitzeit_nb.sandbox")

Work = Callable[[GuestConnection], Awaitable[ExecutionResult]]

UPKEEP_S = 2.0
REMEMBERED = 100  # names whose end is told at their next run
ENDS = {
    "timeout": "a run was too long and was killed",
    "oom": "a run used more memory than its limit",
    "killed": "a run was stopped and did not yield",
    "lost": "its sandbox went away",
    "error": "its process ended",
    "ok": "its process ended",
}


@dataclass(eq=False)
class Session:
    """One name. `turn` is held by the run that goes on; `ended`: why it is over, "" while it is not."""

    name: str
    want: Want
    mode: ModeSettings
    limits: Limits
    image: str | None
    used_at: float
    idle_since: float
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    worker: Worker | None = None
    ended: str = ""
    before: str = ""  # why the one before is over, until the first run told it
    runs: int = 0
    memory_bytes: int | None = None
    peak_bytes: int | None = None
    start_s: float = 0.0
    cold: str = ""

    def __repr__(self) -> str:
        return f"<Session {self.name} {self.state}, {self.runs} runs>"

    @property
    def state(self) -> str:
        if self.ended:
            return "ended"
        return "starting" if self.worker is None else "running" if self.turn.locked() else "idle"

    @property
    def alive(self) -> bool:
        return self.worker is not None and self.worker.connection.usable and (not self.runs or self.worker.connection.session_alive)


class Sessions:
    """Lives on the sandbox's loop. The pool gives the workers; what becomes of them is decided here."""

    def __init__(self, pool: WorkerPool, events: EventBus, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._settings = pool.settings
        self._events = events
        self._clock = clock
        self._open: dict[str, Session] = {}
        self._gone: dict[str, str] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._upkeep: asyncio.Task[None] | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<Sessions {', '.join(self._open) or 'none'}>"

    def continued(self, request: ExecutionRequest, modes: Modes) -> ExecutionRequest:
        """The request with what it did not name itself taken from its session, if that is open."""
        session = self._open.get(request.session or "")
        if session is None:
            return request
        mode = modes.find(session.mode.id if request.mode is None else request.mode)
        image = request.image or (session.image if mode.id == session.mode.id else None)
        limits = request.limits or (limits_in(session.limits, mode.limits) if mode.id == session.mode.id else None)
        return replace(request, mode=mode.id, image=image, limits=limits)

    def kept_mode(self, request: ExecutionRequest, mode: ModeSettings) -> ModeSettings:
        """What an open session was equipped with, where the request asks for nothing of its own."""
        session = self._open.get(request.session or "")
        own = session is None or session.mode.id != mode.id or request.volumes or request.gpu
        return mode if session is None or own else session.mode

    def views(self) -> tuple[SessionView, ...]:
        return tuple(
            SessionView(
                name=each.name,
                mode=each.mode.id,
                state=each.state,
                runs=each.runs,
                used_at=each.used_at,
                memory_bytes=each.memory_bytes,
                peak_bytes=each.peak_bytes,
                container=each.worker.connection.channel.name if each.worker is not None else "",
            )
            for each in self._open.values()
        )

    def container_views(self) -> tuple[ContainerView, ...]:
        return tuple(_container_view(each, each.worker) for each in self._open.values() if each.worker is not None)

    def of_container(self, container: str) -> str | None:
        """Whose it is."""
        return next((view.session for view in self.container_views() if view.id == container), None)

    async def enter(self, request: ExecutionRequest, mode: ModeSettings, limits: Limits) -> Session:
        """The session that the request names, for one run; another run of it is waited for. Give it back by `run` or `leave`."""
        assert request.session is not None
        want = want_of(mode, limits, request.image)
        while True:
            self._require_open()
            session = self._find(request.session, want, mode, limits, request.image)
            await session.turn.acquire()
            if not session.ended and session.worker is not None and not session.alive:
                self.end(session, ENDS["lost"])
            if not session.ended:
                break
            session.turn.release()
        try:
            if session.worker is None:
                await self._start(session, request)
        except BaseException:
            self._forget(session)
            if session.before:
                self._gone[session.name] = session.before  # still to be told
            session.turn.release()
            raise
        return session

    async def run(self, session: Session, work: Work) -> ExecutionResult:
        """One run, after which the session is given back. Cancelling the caller interrupts the run; the session may survive that."""
        running = asyncio.create_task(self._run(session, work))
        self._tasks.add(running)
        running.add_done_callback(self._ran)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            if session.worker is not None:
                session.worker.connection.cancel()
            raise

    def leave(self, session: Session) -> None:
        """Give it back without a run."""
        session.idle_since = self._clock()
        session.turn.release()

    async def reset(self, name: str) -> bool:
        """End a session and forget its variables, also in the middle of a run. False when there is none of that name."""
        session = self._open.get(name)
        if session is None:
            return self._gone.pop(name, None) is not None
        await self.end(session, "reset")
        self._gone.pop(name, None)
        return True

    def end(self, session: Session, why: str) -> asyncio.Task[object]:
        """Its worker is killed, and its variables are gone."""
        if not session.ended:
            self._forget(session)
            session.ended = why
            self._gone[session.name] = why
            for name in list(self._gone)[:-REMEMBERED]:
                del self._gone[name]
            self._events.emit(SessionEnded(at=time.time(), session=session.name, mode=session.mode.id, reason=why))
        return self._spawn(session.worker)

    async def close(self) -> None:
        self._closed = True
        if self._upkeep is not None:
            self._upkeep.cancel()
        for session in list(self._open.values()):
            self.end(session, "closed")
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    # -- one session ------------------------------------------------------------------------------------------------------

    def _find(self, name: str, want: Want, mode: ModeSettings, limits: Limits, image: str | None) -> Session:
        session = self._open.get(name)
        if session is None:
            if len(self._open) >= self._settings.max_sessions:
                raise SandboxBusyError(
                    f"{len(self._open)} sessions are open already ({', '.join(self._open)}), so {name!r} was not started.\n"
                    "End one of them with %gleitzeit sandbox reset NAME, or raise container_pool.max_sessions."
                )
            before = self._gone.pop(name, "")
            session = Session(name, want, mode, limits, image, time.time(), self._clock(), before=before)
            self._open[name] = session
        elif other := _difference(session.want, want):
            raise ConfigError(
                f"The session {name!r} runs in {session.mode.id} and cannot get another {', '.join(other)} now.\n"
                f"Leave that option out, or begin anew with %gleitzeit sandbox reset {name}."
            )
        return session

    async def _start(self, session: Session, request: ExecutionRequest) -> None:
        lease = await self._pool.lease(
            session.mode, session.limits, image=request.image, adopted=True, tag=request.id, caller=request.label
        )
        session.worker, session.start_s, session.cold = lease.keep(), lease.start_s, lease.cold
        if self._upkeep is None or self._upkeep.done():
            self._upkeep = asyncio.create_task(self._keep_up(), name="gleitzeit-session-upkeep")

    async def _run(self, session: Session, work: Work) -> ExecutionResult:
        worker = session.worker
        assert worker is not None
        first, why = not session.runs, ENDS["lost"]
        try:
            result = await work(worker.connection)
            session.runs += 1
            why = ENDS.get(result.status, why)
        finally:
            if not worker.connection.usable or (session.runs and not worker.connection.session_alive):
                self.end(session, why)
            else:
                await self._weigh(session)
            session.used_at, session.idle_since = time.time(), self._clock()
            session.turn.release()
        timings = replace(result.timings, start_s=session.start_s) if first else result.timings
        return replace(
            result, session=_told(session, first), detail=_detail(session, result), timings=timings, cold=session.cold if first else ""
        )

    async def _weigh(self, session: Session) -> None:
        if session.worker is None:
            return
        session.memory_bytes = used = await session.worker.connection.channel.memory_bytes()
        if used is not None:
            session.peak_bytes = max(used, session.peak_bytes or 0)

    # -- all of them ------------------------------------------------------------------------------------------------------

    async def _keep_up(self) -> None:
        """While there are sessions: what they use, whether they still are there, and whether they were idle for too long."""
        while self._open:
            await asyncio.sleep(UPKEEP_S)
            for session in list(self._open.values()):
                await self._weigh(session)
                self._look(session)

    def _look(self, session: Session) -> None:
        if session.turn.locked() or session.ended:
            return
        limit = self._settings.session_idle_timeout_s
        if not session.alive:
            self.end(session, ENDS["lost"])
        elif self._clock() - session.idle_since >= limit:
            self.end(session, f"it was idle for {limit:g} s")

    def _forget(self, session: Session) -> None:
        if self._open.get(session.name) is session:
            del self._open[session.name]

    def _spawn(self, worker: Worker | None) -> asyncio.Task[object]:
        async def close() -> object:
            if worker is not None:
                await worker.connection.close()
            return None

        task = asyncio.create_task(close())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _ran(self, task: asyncio.Task[ExecutionResult]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:  # whoever waited may have left
            logger.debug("a run of a session ended with %r", task.exception())

    def _require_open(self) -> None:
        if self._closed:
            raise EngineClosedError("the sandbox is closed: start it again, or make a new one")


def _container_view(session: Session, worker: Worker) -> ContainerView:
    return ContainerView(
        id=worker.connection.channel.name,
        mode=session.mode.id,
        image=worker.mode.image or "",
        state="session",
        memory_bytes=session.memory_bytes,
        made_at=worker.made_at,
        runs=session.runs,
        session=session.name,
    )


def _difference(one: Want, other: Want) -> list[str]:
    if one.mode != other.mode:
        return ["mode"]
    sizes = {"memory": one.size.memory_bytes == other.size.memory_bytes, "CPUs": one.size.cpus == other.size.cpus}
    return differing(one.kind, other.kind) + [name for name, alike in sizes.items() if not alike]


def _told(session: Session, first: bool) -> str:
    """For the line below the cell."""
    if session.ended:
        return f"{session.name} (over: {session.ended})"
    if not first:
        return session.name
    return f"{session.name} (new: the one before is over, {session.before})" if session.before else f"{session.name} (new)"


def _detail(session: Session, result: ExecutionResult) -> str:
    if session.ended:
        gone = f"the session {session.name!r} is over and its variables are gone"
        return f"{result.detail}; {gone}" if result.detail else gone
    if result.status == "killed":
        return f"{result.detail}; the session {session.name!r} and its variables are still there"
    return result.detail
