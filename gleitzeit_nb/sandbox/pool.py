"""Warm workers: guests that wait for code, lent out one run at a time.

`core.lending` decides who gets which worker, what is started, changed and discarded; this shell does it, and has the clock, the
tasks and the events. All state changes between awaits, so there is no lock.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from gleitzeit_nb.core.execution import ContainerPoolSettings, Limits, ModeKind, ModeSettings
from gleitzeit_nb.core.lending import Lending
from gleitzeit_nb.core.places import Give, Outcome, Place, Resize, Start, State, Waiter, Want
from gleitzeit_nb.errors import EngineClosedError, GleitzeitError, SandboxBusyError, SandboxError, SandboxProtocolError
from gleitzeit_nb.events import ContainerLost, ContainerMade, EventBus, VerificationFailed
from gleitzeit_nb.sandbox.channel import Launcher
from gleitzeit_nb.sandbox.connection import GuestConnection
from gleitzeit_nb.sandbox.worker import Lease, Worker, container_view, want_of
from gleitzeit_nb.snapshot import ContainerView

logger = logging.getLogger("gleitzeit_nb.sandbox")

UPKEEP_S = 2.0

T = TypeVar("T")


@dataclass(eq=False)
class _Ticket:
    """What the shell knows of a waiter. `waited`: there was nothing for it at once."""

    tag: str
    waited: bool = False
    turn: asyncio.Future[Give] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


@dataclass(frozen=True)
class Counts:
    """One mode's workers: lent out, waited for, all (also those being made), and what they use together (None: nobody counts).

    `outcomes`: how leases ended, `discards`: why workers were discarded, each with how often.
    """

    active: int
    queued: int
    containers: int
    memory_bytes: int | None
    outcomes: Mapping[str, int]
    discards: Mapping[str, int]


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
        self._lending = Lending(settings)
        self._launcher_of = launcher_of
        self._events = events
        self._clock = clock
        self._waiters: set[Waiter] = set()
        self._tagged: dict[str, Waiter] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closers: set[asyncio.Task[Any]] = set()
        self._upkeep: asyncio.Task[None] | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<WorkerPool {self._lending!r}>"

    # -- borrowing --------------------------------------------------------------------------------------------------------

    async def lease(
        self,
        mode: ModeSettings,
        limits: Limits,
        *,
        image: str | None = None,
        fresh: bool = False,
        adopted: bool = False,
        tag: str = "",
        caller: str = "",
    ) -> Lease:
        """A worker of its own for one run; `fresh`: one that has never run anything and will not again; `adopted`: one to keep.

        Waits while all slots are taken; callers take turns. Raises SandboxBusyError when too many wait or it takes too long, and
        SandboxError when no worker can be made.
        """
        self._require_open()
        since = self._clock()
        want = want_of(mode, limits, image, caller=caller, fresh=fresh, adopted=adopted)
        place: Place | None = None
        while place is None:
            step = await self._turn(want, since, tag)
            place = await self._in_size(step) if step.resize else step.place
        waited_s = self._clock() - since
        cold = (place.why or "it was just being made") if step.waiter.ticket.waited and not place.uses and place.made_at >= since else ""
        start_s = min(place.worker.start_s, waited_s) if cold else 0.0
        return Lease(place, self, waited_s - start_s, start_s, cold)

    def lease_at_once(
        self, mode: ModeSettings, limits: Limits, *, image: str | None = None, fresh: bool = False, caller: str = ""
    ) -> Lease | None:
        """As `lease`, where a worker is there as it is wanted and nobody waits; None: it takes time."""
        self._require_open()
        place = self._lending.give_at_once(want_of(mode, limits, image, caller=caller, fresh=fresh))
        if place is None:
            return None
        self._act()  # another may have to be kept ready now
        return Lease(place, self, 0.0, 0.0, "")

    async def _turn(self, want: Want, since: float, tag: str) -> Give:
        ticket = _Ticket(tag)
        waiter = self._tagged[tag] = self._lending.enter(want, since, ticket)
        self._waiters.add(waiter)
        try:
            self._act()
            ticket.waited = not ticket.turn.done()
            if ticket.waited and self._lending.overflows():
                raise SandboxBusyError(_full(self.settings))
            limit = self.settings.max_wait_s
            done, _ = await asyncio.wait({ticket.turn}, timeout=limit and max(0.0, since + limit - self._clock()))
            if not done:
                raise SandboxBusyError(_waited(self.settings))
            return ticket.turn.result()
        except BaseException:
            self._leave(waiter)
            raise
        finally:
            self._waiters.discard(waiter)
            if self._tagged.get(tag) is waiter:
                del self._tagged[tag]

    def keep_ready(self, mode: ModeSettings) -> None:
        """Make the workers that are kept ready for `mode`, in the background. Wait for them with `settled`."""
        self._require_open()
        self._lending.keep(want_of(mode, mode.limits, None))
        self._act()

    async def settled(self) -> None:
        """Until nothing is being made, changed or closed."""
        while self._tasks or self._closers:
            await asyncio.wait({*self._tasks, *self._closers})

    def state_of(self, tag: str) -> str:
        """Where a request stands before it runs: "queued 3rd", "starting, 2 s"; "" once it runs."""
        waiter = self._tagged.get(tag)
        position = self._lending.position(waiter) if waiter is not None else 0
        if waiter is None or not position:
            return ""
        place = self._lending.starting_for(waiter, position)
        return f"queued {_ordinal(position)}" if place is None else f"starting, {self._clock() - place.since:.0f} s"

    def counts(self, mode_id: str) -> Counts:
        places = [place for place in self._lending.places if place.want.mode == mode_id]
        used = [place.worker.memory_bytes for place in places if place.worker is not None and place.worker.memory_bytes is not None]
        return Counts(
            active=sum(place.state is State.LENT for place in places),
            queued=self._lending.waiting(mode_id),
            containers=len(places),
            memory_bytes=sum(used) if used else None,
            outcomes=dict(self._lending.outcomes.get(mode_id, {})),
            discards=dict(self._lending.discards.get(mode_id, {})),
        )

    def views(self) -> tuple[ContainerView, ...]:
        return tuple(map(container_view, self._lending.places))

    def weaker(self, mode_id: str) -> str:
        """What a worker of the mode says that it does not promise here; "" when it promises everything, or there is none."""
        return next((each.connection.channel.expectations.weaker for each in self._workers() if each.mode.id == mode_id), "")

    async def cleanup_idle(self, idle_s: float | None = None) -> int:
        """Discard the workers that were idle for `idle_s` (default: the configured time); how many there were."""
        old = self._lending.expire(self._clock(), idle_s)
        await asyncio.gather(*(self._discard(place, "idle") for place in old))
        return len(old)

    async def stop(self, container: str) -> bool:
        """Discard the idle worker of that name; False when there is none."""
        idle = [place for place in self._lending.places if place.state is State.IDLE]
        for place in (each for each in idle if each.worker.connection.channel.name == container):
            self._lending.stopped(place)
            self._act()
            await self._discard(place, "stopped")
            return True
        return False

    async def close(self) -> None:
        """Kill every worker; whoever waits gets an EngineClosedError."""
        self._closed = True
        for waiter in self._waiters:
            if not waiter.ticket.turn.done():
                waiter.ticket.turn.set_exception(EngineClosedError("the sandbox was closed while the run waited for its turn"))
        if self._upkeep is not None:
            self._upkeep.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for place in self._lending.places:
            if place.worker is not None:
                self._discard(place, "closed")
        self._lending.places.clear()
        await asyncio.gather(*self._closers, return_exceptions=True)

    # -- doing what was decided -------------------------------------------------------------------------------------------

    def _act(self) -> None:
        if self._closed:
            return
        for step in self._lending.decide(self._clock()):
            if isinstance(step, Give):
                step.waiter.ticket.turn.set_result(step)
            elif isinstance(step, Start):
                _spawn(self._make(step.place), self._tasks)
            elif isinstance(step, Resize):
                _spawn(self._resize_idle(step.place), self._tasks)
            else:
                self._discard(step.place, step.reason)

    def _leave(self, waiter: Waiter) -> None:
        """A request goes away; what it was given in the same moment goes to the next."""
        turn: asyncio.Future[Give] = waiter.ticket.turn
        given = turn.done() and turn.exception() is None
        self._lending.leave(waiter)
        if given:
            self.take_back(turn.result().place, None)
        self._act()

    def take_back(self, place: Place, outcome: Outcome | None) -> None:
        if self._closed:
            return  # close() has discarded it
        reason = self._lending.back(place, outcome, self._clock(), usable=place.worker.connection.usable)
        if reason is not None:
            self._discard(place, reason)
        self._act()

    def let_go(self, place: Place) -> None:
        """The worker of a lease is kept by whoever has it."""
        if not self._closed:
            self._lending.adopted(place)
            self._act()

    # -- making and changing ----------------------------------------------------------------------------------------------

    async def _make(self, place: Place) -> None:
        try:
            await self._try_to_make(place)
        except (GleitzeitError, asyncio.CancelledError) as exc:
            self._not_made(place, exc)
            return
        except Exception as exc:
            self._not_made(place, exc)
            raise
        self._lending.started(place, self._clock())
        self._act()

    async def _try_to_make(self, place: Place) -> None:
        size, started = place.size, self._clock()
        mode: ModeSettings = place.want.recipe
        mode = replace(mode, limits=replace(mode.limits, memory_bytes=size.memory_bytes, cpus=size.cpus))
        launcher = self._launcher_of(mode.kind)
        isolation = await launcher.check(mode)
        channel = await launcher.launch(mode, mode.limits, mode.image)
        worker = Worker(mode, GuestConnection(channel, lambda: self._died(place)), isolation)
        try:
            await worker.connection.open()
        except SandboxProtocolError as exc:
            reason = str(exc).partition("\n")[0]
            self._events.emit(VerificationFailed(at=time.time(), mode=mode.id, container=channel.name, reason=reason))
            raise
        place.worker = worker
        worker.made_at = time.time()
        worker.start_s = self._clock() - started
        worker.memory_bytes = await channel.memory_bytes()
        self._events.emit(ContainerMade(at=time.time(), mode=mode.id, container=channel.name, start_s=worker.start_s))
        if self._upkeep is None or self._upkeep.done():
            self._upkeep = asyncio.create_task(self._keep_up(), name="gleitzeit-sandbox-upkeep")

    def _not_made(self, place: Place, error: BaseException) -> None:
        """The error goes to the first who would have taken the worker; a spare's is logged."""
        waiter = self._lending.failed(place)
        if isinstance(error, asyncio.CancelledError):
            error = EngineClosedError("the sandbox was closed while its worker started")
        if waiter is not None and not waiter.ticket.turn.done():
            waiter.ticket.turn.set_exception(error)
        elif not isinstance(error, EngineClosedError):
            logger.warning("no spare worker for mode %s: %s", place.want.mode, error)
        self._act()

    async def _in_size(self, step: Give) -> Place | None:
        """The place once its worker has the size that was asked for; None when that cannot be, and the worker is discarded."""
        try:
            if await self._resized(step.place):
                return step.place
        except BaseException:  # whoever asked has left, and nobody knows whether it was done
            self._give_up(step.place, "size")
            raise
        self._give_up(step.place, "size")
        return None

    async def _resize_idle(self, place: Place) -> None:
        if await self._resized(place):
            self._lending.resized(place)
            self._act()
        else:
            self._give_up(place, "size")

    async def _resized(self, place: Place) -> bool:
        worker: Worker = place.worker
        try:
            await worker.connection.channel.resize(place.size.memory_bytes, place.size.cpus)
        except SandboxError as exc:
            logger.info("%r could not be given another size: %s", worker, exc)
            return False
        return worker.connection.usable

    # -- ends -------------------------------------------------------------------------------------------------------------

    def _died(self, place: Place) -> None:
        """Its guest went away by itself. One that is lent out or being changed is dealt with by whoever has it."""
        if place.state is State.IDLE and place in self._lending.places:
            self._give_up(place, "died")

    def _give_up(self, place: Place, reason: str) -> None:
        if self._closed:
            return  # close() has discarded it
        self._lending.lost(place, self._clock(), reason)
        self._discard(place, reason)
        self._act()

    def _discard(self, place: Place, reason: str) -> asyncio.Task[None]:
        worker: Worker = place.worker
        self._events.emit(ContainerLost(at=time.time(), mode=worker.mode.id, container=worker.connection.channel.name, reason=reason))
        return _spawn(worker.connection.close(), self._closers)

    async def _keep_up(self) -> None:
        """While there are workers: what they use, and whether they were idle for too long."""
        while self._lending.places:
            await asyncio.sleep(UPKEEP_S)
            for worker in list(self._workers()):
                worker.memory_bytes = await worker.connection.channel.memory_bytes()
            await self.cleanup_idle()

    def _workers(self) -> Iterator[Worker]:
        return (place.worker for place in self._lending.places if place.worker is not None)

    def _require_open(self) -> None:
        if self._closed:
            raise EngineClosedError("the sandbox is closed: start it again, or make a new one")


def _full(settings: ContainerPoolSettings) -> str:
    return (
        f"{settings.max_waiting} runs wait for a worker already, so this one was not taken.\n"
        "Start fewer at once, or raise container_pool.max_waiting or max_containers."
    )


def _waited(settings: ContainerPoolSettings) -> str:
    return (
        f"No worker was free within {settings.max_wait_s:g} s, so nothing was run. All {settings.max_containers} are busy.\n"
        "Try again later, or raise container_pool.max_wait or max_containers."
    )


def _spawn(work: Coroutine[Any, Any, T], held: set[asyncio.Task[Any]]) -> asyncio.Task[T]:
    """A task that `held` keeps alive while it works."""
    task = asyncio.create_task(work)
    held.add(task)
    task.add_done_callback(held.discard)
    return task


def _ordinal(number: int) -> str:
    suffix = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"
