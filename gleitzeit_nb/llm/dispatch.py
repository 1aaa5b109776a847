"""Who waits for a slot, and waking them: the shell around the admission queue."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from gleitzeit_nb.core.admission import AdmissionQueue, Assignment, Grant, Hopeless
from gleitzeit_nb.core.faults import Cause
from gleitzeit_nb.core.health import after_request
from gleitzeit_nb.core.instances import Instance
from gleitzeit_nb.core.leases import Lease, Outcome
from gleitzeit_nb.core.lines import PATIENCE_S, Key, Waiter
from gleitzeit_nb.core.needs import Needs, Wishes
from gleitzeit_nb.errors import EngineClosedError, QueueFullError
from gleitzeit_nb.llm.journal import Journal
from gleitzeit_nb.llm.membership import Membership
from gleitzeit_nb.llm.outside import Outside

TIMER_SLACK_S = 0.001  # a loop may fire a timer a clock tick early


@dataclass(eq=False)
class Turn:
    """One stay in the queue. `outcome` None after waiting: time ran out. `patience_s`: left for waiting for ejected instances."""

    waiter: Waiter | None = None
    outcome: Grant | Hopeless | None = None
    future: asyncio.Future[None] | None = None
    patience_s: float = PATIENCE_S
    outside: bool = False  # it waits for room in the queue


class Dispatcher:
    """Every change that may let somebody go on ends here: a release and a probe in `freed`, a new instance and a timer in `pump`."""

    def __init__(
        self,
        queue: AdmissionQueue,
        members: Membership,
        journal: Journal,
        *,
        clock: Callable[[], float] = time.monotonic,
        rng: Random,
    ) -> None:
        self.queue = queue
        self._members = members
        self._journal = journal
        self._clock = clock
        self._rng = rng
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = math.inf  # when it fires
        self._closed = False
        self._full = False  # and that was told
        self._outside = Outside()
        self._inside = 0  # of those who stand back, in the queue

    async def acquire(
        self, needs: Needs, wishes: Wishes, key: Key, turn: Turn, *, timeout_s: float | None, returning: bool = False
    ) -> None:
        """Wait until `turn.outcome` is settled, at most `timeout_s`. `returning`: after a failed try, so the queue's bound does not count.

        Whoever finds a Grant there holds its lease.
        """
        waiter = self._arrive(needs, wishes, key, turn)
        if turn.outcome is not None:
            return
        if not returning and self.queue.overflows():
            self.queue.leave(waiter)
            most = self.queue.settings.max_queue
            if not self._full:
                self._full = True
                self._journal.queue_full(most)
            raise QueueFullError(f"{most} requests wait for an instance already. Ask again later, or raise max_queue")
        self._full = False
        await self._wait(turn, timeout_s)

    async def acquire_standing_back(self, needs: Needs, wishes: Wishes, key: Key, turn: Turn, *, timeout_s: float | None) -> None:
        """As `acquire`, but who finds no room in the queue waits outside. At most half of the queue is for such requests."""
        ends_at = None if timeout_s is None else self._clock() + timeout_s
        again = False
        while True:
            left_s = None if ends_at is None else ends_at - self._clock()
            waiter = self._arrive(needs, wishes, key, turn)
            if turn.outcome is not None or self._has_room():
                self._outside.let_in()  # there may be room for one more
                if turn.outcome is None:
                    await self._wait_inside(turn, left_s)
                return
            self.queue.leave(waiter)
            turn.waiter, turn.outside = None, True
            if not await self._outside.wait(left_s, again=again):
                return
            turn.outside, again = False, True

    def _arrive(self, needs: Needs, wishes: Wishes, key: Key, turn: Turn) -> Waiter:
        if self._closed:
            raise EngineClosedError("the pool was closed before the request came to its queue")
        turn.waiter = waiter = self.queue.enter(needs, key, turn, wishes)
        waiter.patience_s = turn.patience_s
        now = self._clock()
        self._obey(self.queue.arrived(waiter, self._members.instances, now, self._rng), now)
        return waiter

    def _has_room(self) -> bool:
        """For one that stands back, and has just entered."""
        return not self.queue.overflows() and self._inside < max(1, self.queue.settings.max_queue // 2)

    async def _wait_inside(self, turn: Turn, timeout_s: float | None) -> None:
        self._inside += 1
        try:
            await self._wait(turn, timeout_s)
        finally:
            self._inside -= 1
            self._outside.let_in()

    async def _wait(self, turn: Turn, timeout_s: float | None) -> None:
        loop = asyncio.get_running_loop()
        turn.future = loop.create_future()
        timer = None if timeout_s is None else loop.call_later(max(0.0, timeout_s), self._expire, turn)
        try:
            await turn.future
        except asyncio.CancelledError:
            self._abandon(turn)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def end(self, lease: Lease, outcome: Outcome, cause: Cause | None = None) -> None:
        """Give a slot back; only the first end of a lease counts."""
        if not lease.end(outcome, self._clock(), self._rng, cause):
            return
        instance = lease.instance
        self._announce(lease)
        if outcome is not Outcome.IGNORED:
            self._journal.state_changed(instance, *after_request(instance, cause))
        self._members.released(instance)
        self.freed(instance)

    def freed(self, instance: Instance) -> None:
        """A slot of it may be free, or there is news of it. Synchronous, as `pump` is."""
        if self._closed or not len(self.queue):
            return
        now = self._clock()
        self._obey(self.queue.freed(instance, self._members.instances, now, self._rng), now)
        self._outside.let_in()

    def pump(self) -> None:
        """Hand out what is free. Synchronous: between choosing and reserving nothing else can happen."""
        self._stop_timer()
        if self._closed or not len(self.queue):
            return
        now = self._clock()
        self._obey(self.queue.assign(self._members.instances, now, self._rng), now)
        self._outside.let_in()

    def _obey(self, assignment: Assignment, now: float) -> None:
        for grant in assignment.granted:
            self._announce(grant.lease)
            self._settle(grant)
        for hopeless in assignment.hopeless:
            self._settle(hopeless)
        if assignment.wake_at is not None and assignment.wake_at < self._wakes_at:
            self._stop_timer()
            self._wakes_at = assignment.wake_at
            delay_s = max(0.0, assignment.wake_at - now) + TIMER_SLACK_S
            self._timer = asyncio.get_running_loop().call_later(delay_s, self.pump)

    def _stop_timer(self) -> None:
        self._wakes_at = math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """Nobody is served any more; whoever waits hears it."""
        self._closed = True
        self._stop_timer()
        for waiter in self.queue.waiters():
            self.queue.leave(waiter)
            turn: Turn = waiter.ticket
            if turn.future is not None and not turn.future.done():
                turn.future.set_exception(EngineClosedError("the pool was closed while the request waited in its queue"))
        self._outside.close()

    def _settle(self, outcome: Grant | Hopeless) -> None:
        turn: Turn = outcome.waiter.ticket
        turn.outcome, outcome.waiter.ticket = outcome, None  # the two must not hold each other until garbage is collected
        if turn.future is not None and not turn.future.done():
            turn.future.set_result(None)  # one that is cancelled finds its outcome in `_abandon`

    def _abandon(self, turn: Turn) -> None:
        if isinstance(turn.outcome, Grant):
            self.end(turn.outcome.lease, Outcome.IGNORED)
        elif turn.waiter is not None:
            self.queue.leave(turn.waiter)
            self._outside.let_in()

    def _expire(self, turn: Turn) -> None:
        if turn.future is None or turn.future.done() or turn.waiter is None:
            return
        self.queue.leave(turn.waiter)
        turn.future.set_result(None)
        self._outside.let_in()

    def _announce(self, lease: Lease) -> None:
        if lease.moves:
            self._journal.breaker_moved(lease.instance, lease.moves)
            lease.moves.clear()
