"""The pool's one bounded queue: who waits, and who is next.

Nobody is bound to an instance before a slot is free (late binding). Requests with equal needs stand in one line; a free slot goes
to the first of all the waiters whom that slot fits, so newcomers stand behind waiters. Each step is synchronous: it picks,
reserves, and returns whom to wake; waking is the caller's work.

`arrived` looks at one request, `freed` at one instance and only at the lines that it could serve, in their order; `assign` at
everything, for news that may change what an instance can ever serve.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass, field
from operator import attrgetter
from random import Random
from typing import Any

from gleitzeit_nb.core.books import Books
from gleitzeit_nb.core.candidates import Hope, Standing, Verdict
from gleitzeit_nb.core.forecast import Waiting, loading_s
from gleitzeit_nb.core.instances import Instance, InstanceState
from gleitzeit_nb.core.leases import Lease, try_reserve
from gleitzeit_nb.core.lines import Key, Line, Waiter
from gleitzeit_nb.core.needs import Needs, Wishes
from gleitzeit_nb.core.pins import Pins
from gleitzeit_nb.core.strategies import MANY, Pick, Scores, pick, strategy_named
from gleitzeit_nb.core.turns import Turns

STEP_S = 10.0  # one step of priority is worth this much waiting: ageing, without ever re-sorting the queue
MOST_REFUSALS = 16  # lines that may let a freed instance be before the rest of them is put off
PUT_OFF_S = 0.25
DOUBTFUL = (InstanceState.UNHEALTHY, InstanceState.UNKNOWN)
FEW = 4  # busy instances of a large pool that a freed one is compared with


@dataclass(frozen=True)
class AdmissionSettings:
    """`max_queue`: waiting requests before QueueFullError. `queue_timeout_s`: the longest wait; None: only the deadline counts."""

    max_queue: int = 512
    queue_timeout_s: float | None = None


@dataclass(frozen=True)
class Grant:
    """A waiter's turn has come: it holds the lease from now on."""

    waiter: Waiter
    lease: Lease
    verdicts: tuple[Verdict, ...]
    scores: Scores = ()


@dataclass(frozen=True)
class Hopeless:
    """Waiting would not help. `ejected`: breakers stand in the way, and patience has run out."""

    waiter: Waiter
    verdicts: tuple[Verdict, ...]
    ejected: bool


@dataclass(frozen=True)
class Assignment:
    """What one `assign` decided. `wake_at`: when time alone may change the answer; None: it will not."""

    granted: tuple[Grant, ...] = ()
    hopeless: tuple[Hopeless, ...] = ()
    wake_at: float | None = None


_key = attrgetter("key")


@dataclass
class _Step:
    """What one step has decided so far."""

    instances: Collection[Instance]
    now: float
    rng: Random
    granted: list[Grant] = field(default_factory=list)
    hopeless: list[Hopeless] = field(default_factory=list)
    wakes: list[float] = field(default_factory=list)

    def note_changes(self, choice: Pick, needs: Needs) -> None:
        """When time alone may let somebody take it who cannot now."""
        self.wakes += [at for at in (_changes_at(verdict, needs, self.now) for verdict in choice.verdicts) if at is not None]

    @property
    def result(self) -> Assignment:
        return Assignment(tuple(self.granted), tuple(self.hopeless), min(self.wakes, default=None))


@dataclass
class AdmissionQueue:
    """Lines of waiters by needs, each sorted by key. Lower priorities go first; equal ones in order of arrival."""

    settings: AdmissionSettings = AdmissionSettings()
    pins: Pins = field(default_factory=Pins, init=False)
    turns: Turns = field(default_factory=Turns, init=False)
    _lines: dict[Needs, Line] = field(default_factory=dict, init=False)
    _books: Books = field(default_factory=Books, init=False)
    _order: list[Key] | None = field(default=None, init=False)  # everybody's keys; None: to be sorted when somebody asks
    _arrivals: int = field(default=0, init=False)
    _waiting: int = field(default=0, init=False)

    def __len__(self) -> int:
        return self._waiting

    def __repr__(self) -> str:
        return f"<AdmissionQueue {len(self)} waiting in {len(self._lines)} lines, at most {self.settings.max_queue}>"

    def key(self, priority: int, arrived_at: float) -> Key:
        """A place in the order, fixed at arrival; a request that comes back after a failure keeps it."""
        self._arrivals += 1
        return arrived_at + priority * STEP_S, self._arrivals

    def enter(self, needs: Needs, key: Key, ticket: Any = None, wishes: Wishes = Wishes()) -> Waiter:  # noqa: B008 - frozen
        """Stand in line. Follow it with `arrived` or `assign`, and then ask `overflows`."""
        waiter = Waiter(key, needs, wishes, ticket)
        line = self._lines.get(needs)
        if line is None:
            line = self._lines[needs] = Line(needs)
        line.enter(waiter)
        self._waiting += 1
        self._order = None
        return waiter

    def leave(self, waiter: Waiter) -> bool:
        """Step out of the line. False: it was not waiting any more."""
        line = waiter.line
        if line is None:
            return False
        line.leave(waiter)
        self._waiting -= 1
        self._order = None
        if not line.waiters:
            del self._lines[waiter.needs]
        if not self._waiting:
            self._books.clear()
        return True

    def overflows(self) -> bool:
        return len(self) > self.settings.max_queue

    def position(self, waiter: Waiter) -> int:
        """1 for the head of the queue, counted over all lines."""
        if self._order is None:
            self._order = sorted(each.key for line in tuple(self._lines.values()) for each in tuple(line.waiters))
        return 1 + bisect_left(self._order, waiter.key)

    def waiters(self) -> tuple[Waiter, ...]:
        """Everybody, in order."""
        return tuple(sorted((waiter for line in tuple(self._lines.values()) for waiter in tuple(line.waiters)), key=_key))

    # -- the three occasions --------------------------------------------------------------------------------------------------

    def arrived(self, waiter: Waiter, instances: Collection[Instance], now: float, rng: Random) -> Assignment:
        """A request has just entered. Whom it finds free, those who wait already are asked first."""
        line, step = waiter.line, _Step(instances, now, rng)
        if line is None:
            raise RuntimeError("it does not stand in the queue")
        if line.waiters[0] is not waiter and not line.stranded and not line.passing:
            return Assignment()  # it is no better off than those before it
        if self._waiting > 1 and line.waiters[0] is waiter:
            if not self._books.know(instances):
                return self.assign(instances, now, rng)
            self._books.register(line, len(self._lines))
            while line.waiters and line.waiters[0] is waiter and self._gives_way(waiter, step):
                pass
        while line.waiters and self._serve(line, instances, step):
            pass
        if line.waiters and not self._books:
            self._books.write(instances, self._lines.values(), now)
        return step.result

    def _gives_way(self, waiter: Waiter, step: _Step) -> bool:
        """Somebody, perhaps the newcomer, got the slot that it would have taken."""
        found = self._pick(waiter, step.instances, step)
        before = len(step.granted)
        if found.instance is not None:
            self._offer(found.instance, step)
        return len(step.granted) > before

    def freed(self, instance: Instance, instances: Collection[Instance], now: float, rng: Random) -> Assignment:
        """A slot of `instance` may be free, or there is news of it."""
        if not self._waiting:
            return Assignment()
        if instance.state in DOUBTFUL or not self._books.hold(instance, instances, now):
            return self.assign(instances, now, rng)
        step = _Step(instances, now, rng)
        self._offer(instance, step)
        return step.result

    def assign(self, instances: Collection[Instance], now: float, rng: Random) -> Assignment:
        """Look at everything anew: give every free slot to the first waiter whom it fits; find out who waits for nothing."""
        step = _Step(instances, now, rng)
        self._books.write(instances, self._lines.values(), now)
        heads = [(line.waiters[0].key, line.needs) for line in self._lines.values()]
        heapq.heapify(heads)
        while heads:
            key, needs = heapq.heappop(heads)
            line = self._lines.get(needs)
            if line is None:
                continue
            if line.waiters[0].key != key or (self._serve(line, instances, step) and line.waiters):  # it was served on behalf of another
                heapq.heappush(heads, (line.waiters[0].key, needs))
        return step.result

    # -- serving --------------------------------------------------------------------------------------------------------------

    def _offer(self, instance: Instance, step: _Step) -> None:
        """Give its free slots to the first who want them."""
        book = self._books[instance]

        def can_take(model: str) -> bool:
            free = step.now >= max(instance.pause.until, instance.elsewhere_until) and instance.is_free_for(model)
            return free and instance.admits(model, step.now)

        while instance.load.in_flight < instance.slots and self._offer_one(instance, book.in_order(can_take), step):
            pass

    def _offer_one(self, instance: Instance, walk: Any, step: _Step) -> bool:
        refusals = 0
        with closing(walk):
            for line in walk:
                if self._serve(line, self._compared(instance, line, step), step, judged=False):
                    return True
                refusals += 1
                if refusals == MOST_REFUSALS:
                    step.wakes.append(step.now + PUT_OFF_S)
                    return False
        return False

    def _compared(self, instance: Instance, line: Line, step: _Step) -> Collection[Instance]:
        """With whom a freed instance is compared. Strategies that never wait for a busy one need nobody else.

        One that may not be up is used only when there is nobody else to hope for, which takes a look at all.
        """
        waits = strategy_named(line.waiters[0].wishes.strategy).waits
        if instance.state in DOUBTFUL or (waits and len(step.instances) <= MANY):
            return step.instances
        if not waits:
            return (instance,)
        model = line.needs.model
        warm = [each for each in step.instances if each is not instance and model in each.loaded]
        return [instance, *(step.rng.sample(warm, FEW) if len(warm) > FEW else warm)]

    def _serve(self, line: Line, among: Collection[Instance], step: _Step, *, judged: bool = True) -> bool:
        """Grant somebody a slot that this line could have. Else, if `among` is everybody, find out who waits in vain and until when."""
        while True:
            waiter, choice = line.waiters[0], self._pick(line.waiters[0], among, step)
            line.passing = choice.waiting is not None
            if choice.waiting is not None:
                waiter, choice = self._someone_behind(line, choice, choice.waiting, among, step)
            if choice.instance is None:
                step.note_changes(choice, line.needs)
                if judged:
                    self._stuck(line, choice, step)
                return False
            rival = self._rival(waiter, choice.instance, step)
            found = self._pick(rival, step.instances, step) if rival is not None else None
            if rival is not None and found is not None and found.instance is not None:
                waiter, choice = rival, found
            if self._grant(waiter, choice, step):
                return True  # else another kernel was faster: choose again, without that instance

    def _someone_behind(self, line: Line, choice: Pick, waiting: Waiting, among: Collection[Instance], step: _Step) -> tuple[Waiter, Pick]:
        """The first of the line waits for a better instance. For those far behind it, that takes longer than what it gains."""
        head = line.waiters[0]
        if head.passing_since is None:
            head.passing_since = step.now
        ahead = max(1, math.ceil(waiting.gain_s / waiting.step_s) - 1)
        if waiting.observed and ahead < len(line.waiters):
            found = self._pick(line.waiters[ahead], among, step, ahead)
            if found.instance is not None:
                return line.waiters[ahead], found
        step.wakes.append(head.passing_since + waiting.gain_s - waiting.step_s)
        return head, choice

    def _rival(self, waiter: Waiter, instance: Instance, step: _Step) -> Waiter | None:
        """Who should have the slot instead: somebody whose model is loaded there goes before somebody whose model is not.

        Not for ever: it must not have come later by more than the load takes.
        """
        model, now = waiter.needs.model, step.now
        book = self._books.get(instance)
        if book is None or not strategy_named(waiter.wishes.strategy).waits:
            return None
        load_s = loading_s(instance, model, now)
        if not load_s:
            return None
        ready = [
            name for name in instance.loaded if instance.is_free_for(name) and instance.admits(name, now) and instance.is_warm(name, now)
        ]
        line = book.first(ready)
        return line.waiters[0] if line is not None and line.waiters[0].key[0] < waiter.key[0] + load_s else None

    def _grant(self, waiter: Waiter, choice: Pick, step: _Step) -> bool:
        """False: the slot is taken by another pool."""
        instance, model, now = choice.instance, waiter.needs.model, step.now
        assert instance is not None
        panic = not instance.admits(model, now)  # and yet it was picked
        lease = try_reserve(instance, model, now, step.rng, panic=panic)
        if lease is None:
            return False
        self.leave(waiter)
        self.turns.take(instance)
        conversation = waiter.wishes.conversation
        if conversation is not None:
            lease.knows_prompt = self.pins.holder(conversation, now) == instance.id
            self.pins.pin(conversation, instance.id, now)
        step.granted.append(Grant(waiter, lease, choice.verdicts, choice.scores))
        return True

    def _pick(self, waiter: Waiter, among: Collection[Instance], step: _Step, ahead: int = 0) -> Pick:
        waited_s = 0.0 if waiter.passing_since is None else step.now - waiter.passing_since
        needs, wishes = waiter.needs, waiter.wishes
        return pick(needs, wishes, among, step.now, step.rng, pins=self.pins, ahead=ahead, waited_s=waited_s)

    # -- nobody can take it ---------------------------------------------------------------------------------------------------

    def _stuck(self, line: Line, choice: Pick, step: _Step) -> None:
        """Nobody takes the first of this line now. Who in it waits in vain, and when should time look again?"""
        hopes = {verdict.standing.hope for verdict in choice.verdicts}
        if Hope.LATER in hopes or Hope.NOW in hopes:
            for waiter in line.waiters if line.stranded else ():
                waiter.stranded_at = None
            line.stranded = False
            return
        if Hope.EJECTED not in hopes:
            self._give_up(list(line.waiters), choice, step, ejected=False)
            return
        line.stranded = True
        for waiter in line.waiters:
            waiter.stranded_at = step.now if waiter.stranded_at is None else waiter.stranded_at
        out_of_patience = [waiter for waiter in line.waiters if step.now >= _patience_ends(waiter)]
        self._give_up(out_of_patience, choice, step, ejected=True)
        step.wakes += [_patience_ends(waiter) for waiter in line.waiters]

    def _give_up(self, waiters: list[Waiter], choice: Pick, step: _Step, *, ejected: bool) -> None:
        for waiter in waiters:
            self.leave(waiter)
        step.hopeless += [Hopeless(waiter, choice.verdicts, ejected) for waiter in waiters]


def _patience_ends(waiter: Waiter) -> float:
    return (waiter.stranded_at or 0.0) + waiter.patience_s


def _changes_at(verdict: Verdict, needs: Needs, now: float) -> float | None:
    if verdict.standing is Standing.EJECTED:
        return verdict.instance.retry_at(needs.model)
    if verdict.standing is Standing.ELSEWHERE:
        return verdict.instance.elsewhere_until
    if verdict.standing is Standing.SLOW_START:
        return verdict.instance.eases_at(needs.model, now)
    if verdict.standing is Standing.LIMITED and verdict.instance.rate is not None:
        return verdict.instance.rate.ready_at(now)
    return verdict.instance.pause.until if verdict.standing is Standing.PAUSED else None
