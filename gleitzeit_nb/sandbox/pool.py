"""Warm workers: guests that wait for code, lent out one run at a time.

A request waits in one queue, first come first served. It gets an idle worker that was made alike, else a slot to make one, else, when
all slots are taken, the slot of an idle worker that was made otherwise. After the run the worker goes back to the others or is
discarded, and the lease says why. All state changes between awaits, so there is no lock.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from gleitzeit_nb.core.execution import ContainerPoolSettings, Limits, ModeKind, ModeSettings
from gleitzeit_nb.errors import EngineClosedError, GleitzeitError
from gleitzeit_nb.events import ContainerLost, ContainerMade, EventBus
from gleitzeit_nb.sandbox.channel import Launcher
from gleitzeit_nb.sandbox.connection import GuestConnection

logger = logging.getLogger("gleitzeit_nb.sandbox")

UPKEEP_S = 2.0
AGED = 0.75  # of its uses
SETTLED_S = 5.0  # a worker that dies younger is not replaced unasked: whatever kills it would kill the next one too

T = TypeVar("T")

Kind = tuple[object, ...]  # what two workers must have in common to serve the same request


def kind_of(mode: ModeSettings) -> Kind:
    """`mode` has the request's limits and image in it. Deadline, output and value sizes are every run's own."""
    limits = mode.limits
    fixed = (limits.memory_bytes, limits.cpus, limits.pids, limits.file_bytes, limits.open_files)
    space = (limits.workspace_bytes, limits.workspace_inodes, limits.shm_bytes)
    return (mode.id, mode.kind, mode.image, mode.preload, fixed, space, mode.allow_weaker, tuple(sorted(mode.environment.items())))


def merged(mode: ModeSettings, limits: Limits, image: str | None) -> ModeSettings:
    """The mode as this request wants it."""
    return replace(mode, limits=limits, image=image or mode.image)


@dataclass(eq=False)
class Worker:
    """A guest and its history. `isolation`: one line on what holds it."""

    mode: ModeSettings
    connection: GuestConnection
    isolation: str
    made_at: float
    start_s: float = 0.0
    uses: int = 0
    idle_since: float = 0.0
    memory_bytes: int | None = None

    def __repr__(self) -> str:
        return f"<Worker {self.mode.id} {self.connection!r} used {self.uses}x>"


@dataclass(eq=False)
class _Waiter:
    tag: str
    mode: ModeSettings
    fresh: bool
    since: float
    turn: asyncio.Future[Worker | None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


@dataclass(frozen=True)
class Counts:
    """One mode's workers: lent out, waited for, all (also those being made), and what they use together (None: nobody counts)."""

    active: int
    queued: int
    containers: int
    memory_bytes: int | None


class Lease:
    """A worker for one run. `end` must be called exactly once, with the reason to discard the worker, or None."""

    def __init__(self, pool: WorkerPool, worker: Worker, fresh: bool, queue_s: float, start_s: float) -> None:
        self.worker = worker
        self.fresh = fresh
        self.queue_s = queue_s
        self.start_s = start_s
        self._pool = pool
        self._ended = False

    def __repr__(self) -> str:
        return f"<Lease {self.worker!r}{' ended' if self._ended else ''}>"

    def end(self, discard: str | None = None) -> None:
        if self._ended:
            raise AssertionError("a lease ends once")
        self._ended = True
        self._pool.take_back(self, discard)


class WorkerPool:
    """Lives on the loop that uses it. `launcher_of` gives the launcher of a kind of isolation; the pool closes none."""

    def __init__(
        self,
        launcher_of: Callable[[ModeKind], Launcher],
        settings: ContainerPoolSettings,
        events: EventBus,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self._launcher_of = launcher_of
        self._events = events
        self._clock = clock
        self._idle: list[Worker] = []  # longest idle first
        self._lent: dict[Worker, Lease | None] = {}  # None: between its making and its lease
        self._making: list[ModeSettings] = []
        self._waiting: deque[_Waiter] = deque()
        self._starting: dict[str, float] = {}  # tag → since when
        self._makers: set[asyncio.Task[Any]] = set()
        self._closers: set[asyncio.Task[Any]] = set()
        self._upkeep: asyncio.Task[None] | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<WorkerPool {len(self._idle)} idle, {len(self._lent)} lent, {len(self._making)} starting, {len(self._waiting)} waiting>"

    # -- borrowing --------------------------------------------------------------------------------------------------------

    async def lease(self, mode: ModeSettings, limits: Limits, *, image: str | None = None, fresh: bool = False, tag: str = "") -> Lease:
        """A worker of its own for one run; `fresh`: one that has never run anything and will not again.

        Waits while all slots are taken. Raises SandboxError when no worker can be made.
        """
        if self._closed:
            raise EngineClosedError("the sandbox is closed: start it again, or make a new one")
        waiter = _Waiter(tag, merged(mode, limits, image), fresh, self._clock())
        self._waiting.append(waiter)
        self._serve()
        try:
            worker = await waiter.turn
        except asyncio.CancelledError:
            self._leave_queue(waiter)
            raise
        queue_s = self._clock() - waiter.since
        start_s = 0.0
        if worker is None:
            worker = await self._make_for(waiter)
            start_s = worker.start_s
        lease = self._lent[worker] = Lease(self, worker, fresh, queue_s, start_s)
        self._refill(worker.mode, fresh)
        return lease

    def take_back(self, lease: Lease, discard: str | None) -> None:
        worker = lease.worker
        del self._lent[worker]
        if self._closed:
            return  # close() has discarded it
        worker.uses += 1
        if discard is None and not worker.connection.usable:
            discard = "died" if worker.connection.closed else "protocol"
        if discard is None and not self._returns(lease, worker.uses):
            discard = "used up"
        if discard is None:
            self._rest(worker)
        else:
            self._discard(worker, discard)
        self._serve()
        self._refill(worker.mode)

    def state_of(self, tag: str) -> str:
        """Where a request stands before it runs: "queued 3rd", "starting, 2 s"; "" once it runs."""
        for position, waiter in enumerate(self._waiting, 1):
            if waiter.tag == tag:
                return f"queued {_ordinal(position)}"
        since = self._starting.get(tag)
        return "" if since is None else f"starting, {self._clock() - since:.0f} s"

    def counts(self, mode_id: str) -> Counts:
        workers = [worker for worker in self._workers() if worker.mode.id == mode_id]
        used = [worker.memory_bytes for worker in workers if worker.memory_bytes is not None]
        return Counts(
            active=sum(worker.mode.id == mode_id for worker in self._lent),
            queued=sum(waiter.mode.id == mode_id for waiter in self._waiting),
            containers=len(workers) + sum(mode.id == mode_id for mode in self._making),
            memory_bytes=sum(used) if used else None,
        )

    def weaker(self, mode_id: str) -> str:
        """What a worker of the mode says that it does not promise here; "" when it promises everything, or there is none."""
        return next((worker.connection.channel.expectations.weaker for worker in self._workers() if worker.mode.id == mode_id), "")

    async def cleanup_idle(self, idle_s: float | None = None) -> int:
        """Discard the workers that were idle for `idle_s` (default: the configured time); how many there were."""
        limit = self.settings.idle_timeout_s if idle_s is None else idle_s
        old = [worker for worker in self._idle if self._clock() - worker.idle_since >= limit]
        for worker in old:
            self._idle.remove(worker)
        await asyncio.gather(*(self._discard(worker, "idle") for worker in old))
        return len(old)

    async def close(self) -> None:
        """Kill every worker; whoever waits gets an EngineClosedError."""
        self._closed = True
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.turn.done():
                waiter.turn.set_exception(EngineClosedError("the sandbox was closed while the run waited for its turn"))
        if self._upkeep is not None:
            self._upkeep.cancel()
        for task in self._makers:
            task.cancel()
        await asyncio.gather(*self._makers, return_exceptions=True)
        for worker in list(self._workers()):
            self._discard(worker, "closed")
        self._idle.clear()
        await asyncio.gather(*self._closers, return_exceptions=True)

    # -- deciding ---------------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        """Give the head of the queue what it needs, as long as there is something to give."""
        while self._waiting:
            waiter = self._waiting[0]
            if not waiter.turn.done():
                worker = self._match(waiter)
                if worker is not None:
                    self._idle.remove(worker)
                    self._lent[worker] = None
                elif not self._free_slot():
                    return
                else:
                    self._making.append(waiter.mode)
                waiter.turn.set_result(worker)
            self._waiting.popleft()

    def _match(self, waiter: _Waiter) -> Worker | None:
        """The worker that was used last, since its memory is warm; those that never were are kept for requests that ask for one."""
        wanted = kind_of(waiter.mode)
        alike = [worker for worker in reversed(self._idle) if kind_of(worker.mode) == wanted and worker.connection.usable]
        unused = [worker for worker in alike if not worker.uses]
        if waiter.fresh:
            return unused[0] if unused else None
        return next((worker for worker in alike if worker.uses), unused[0] if unused else None)

    def _free_slot(self) -> bool:
        """Is there room for one more worker, if need be in place of the longest idle one?"""
        if len(self._idle) + len(self._lent) + len(self._making) < self.settings.max_containers:
            return True
        if not self._idle:
            return False
        self._discard(self._idle.pop(0), "idle")
        return True

    def _returns(self, lease: Lease, uses: int) -> bool:
        return self.settings.reuse_containers and not lease.fresh and uses < self.settings.max_uses

    def _refill(self, mode: ModeSettings, fresh: bool = False) -> None:
        """Keep `min_warm` workers that are idle, or will be after their run, for a mode that is in use; `fresh`: unused ones.

        A worker near its last use does not count: its successor is made while it still serves.
        """
        wanted = kind_of(mode)
        aged = self.settings.max_uses * AGED
        coming = sum(kind_of(each) == wanted for each in self._making)
        coming += sum(kind_of(worker.mode) == wanted and worker.uses <= (0 if fresh else aged) for worker in self._idle)
        for worker, lease in self._lent.items():
            returns = lease is None or (not fresh and worker.uses < aged and self._returns(lease, worker.uses + 1))
            coming += kind_of(worker.mode) == wanted and returns
        room = self.settings.max_containers - len(self._idle) - len(self._lent) - len(self._making)
        if self._closed or self._waiting or room <= 0 or coming >= self.settings.min_warm:
            return
        self._making.append(mode)
        _spawn(self._make_spare(mode), self._makers)

    # -- doing ------------------------------------------------------------------------------------------------------------

    async def _make_for(self, waiter: _Waiter) -> Worker:
        """In a task of its own: when the request is cancelled meanwhile, the worker is kept for the next one."""
        self._starting[waiter.tag] = self._clock()
        making = _spawn(self._make(waiter.mode), self._makers)
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            if making.cancelled():
                raise EngineClosedError("the sandbox was closed while its worker started") from None
            making.add_done_callback(self._keep)
            raise
        finally:
            self._starting.pop(waiter.tag, None)

    async def _make_spare(self, mode: ModeSettings) -> None:
        try:
            worker = await self._make(mode)
        except GleitzeitError as exc:
            logger.warning("no spare worker for mode %s: %s", mode.id, exc)
            return
        del self._lent[worker]
        self._rest(worker)
        self._serve()

    async def _make(self, mode: ModeSettings) -> Worker:
        """A worker, lent to nobody yet. Its slot is given back when it cannot be made."""
        started = self._clock()
        try:
            launcher = self._launcher_of(mode.kind)
            isolation = await launcher.check(mode)
            channel = await launcher.launch(mode, mode.limits, mode.image)
            worker = Worker(mode, GuestConnection(channel, lambda: self._died(worker)), isolation, self._clock())
            await worker.connection.open()
        except BaseException:
            self._making.remove(mode)
            self._serve()
            raise
        self._making.remove(mode)
        self._lent[worker] = None
        worker.start_s = self._clock() - started
        worker.memory_bytes = await channel.memory_bytes()
        self._events.emit(ContainerMade(at=time.time(), mode=mode.id, container=channel.name, start_s=worker.start_s))
        if self._upkeep is None or self._upkeep.done():
            self._upkeep = asyncio.create_task(self._keep_up(), name="gleitzeit-sandbox-upkeep")
        return worker

    def _keep(self, making: asyncio.Task[Worker]) -> None:
        """A worker was made for a request that has gone."""
        if making.cancelled() or making.exception() is not None:
            return
        del self._lent[making.result()]
        self._rest(making.result())
        self._serve()

    def _leave_queue(self, waiter: _Waiter) -> None:
        """A request was cancelled; what it may have been given in the same moment goes to the next."""
        if waiter in self._waiting:
            self._waiting.remove(waiter)
        elif waiter.turn.done() and not waiter.turn.cancelled() and waiter.turn.exception() is None:
            worker = waiter.turn.result()
            if worker is None:
                self._making.remove(waiter.mode)
            else:
                del self._lent[worker]
                self._rest(worker)
        self._serve()

    def _rest(self, worker: Worker) -> None:
        if self._closed or not worker.connection.usable:
            self._discard(worker, "closed" if self._closed else "died")
            return
        worker.idle_since = self._clock()
        self._idle.append(worker)

    def _died(self, worker: Worker) -> None:
        """Its guest went away by itself. One that is lent out is dealt with at the end of its lease."""
        if worker in self._idle:
            self._idle.remove(worker)
            self._discard(worker, "died")
            self._serve()
            if self._clock() - worker.made_at > SETTLED_S:
                self._refill(worker.mode)

    def _discard(self, worker: Worker, reason: str) -> asyncio.Task[None]:
        self._events.emit(ContainerLost(at=time.time(), mode=worker.mode.id, container=worker.connection.channel.name, reason=reason))
        return _spawn(worker.connection.close(), self._closers)

    async def _keep_up(self) -> None:
        """While there are workers: what they use, and whether they were idle for too long."""
        while self._idle or self._lent or self._making:
            await asyncio.sleep(UPKEEP_S)
            for worker in list(self._workers()):
                worker.memory_bytes = await worker.connection.channel.memory_bytes()
            await self.cleanup_idle()

    def _workers(self) -> Iterator[Worker]:
        yield from self._idle
        yield from self._lent


def _spawn(work: Coroutine[Any, Any, T], held: set[asyncio.Task[Any]]) -> asyncio.Task[T]:
    """A task that `held` keeps alive while it works."""
    task = asyncio.create_task(work)
    held.add(task)
    task.add_done_callback(held.discard)
    return task


def _ordinal(number: int) -> str:
    suffix = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"
