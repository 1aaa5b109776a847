"""The queue that looks only at what changed, beside one that looks at everything after every event: they grant the same."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gleitzeit_nb.core.admission import AdmissionQueue, Assignment
from gleitzeit_nb.core.breaker import BreakerSettings
from gleitzeit_nb.core.candidates import Hope
from gleitzeit_nb.core.faults import Cause
from gleitzeit_nb.core.instances import Instance, InstanceSettings, InstanceState
from gleitzeit_nb.core.leases import Lease, Outcome, reserve
from gleitzeit_nb.core.lines import PATIENCE_S
from gleitzeit_nb.core.needs import Needs, Wishes
from gleitzeit_nb.core.strategies import pick

MODELS = ("llama3.2:latest", "phi:latest")
WISHES = Wishes("priority")  # with a priority of its own for each instance, a pick leaves nothing to chance


def instances() -> tuple[Instance, ...]:
    rows = (("a", 1, (), 2), ("b", 2, ("gpu",), 1), ("c", None, ("gpu", "big"), 3))
    made = []
    for name, slots, tags, priority in rows:
        one = Instance(InstanceSettings(name, f"http://{name}:1", max_concurrent=slots, tags=tags, priority=priority), BreakerSettings())
        one.learn_models(MODELS if name != "a" else MODELS[:1])
        one.state = InstanceState.HEALTHY
        made.append(one)
    return tuple(made)


@dataclass
class Naive:
    """Everybody in one list; after every event, everybody is looked at, in order."""

    members: tuple[Instance, ...] = field(default_factory=instances)
    waiting: dict[int, tuple[tuple[float, int], Needs]] = field(default_factory=dict)
    stranded_at: dict[int, float] = field(default_factory=dict)
    leases: dict[int, Lease] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)

    def look(self, now: float, rng: random.Random) -> None:
        for number, (_, needs) in sorted(self.waiting.items(), key=lambda item: item[1][0]):
            found = pick(needs, WISHES, self.members, now, rng)
            hopes = {verdict.standing.hope for verdict in found.verdicts}
            if found.instance is not None:
                panic = not found.instance.admits(needs.model, now)
                self.leases[number] = reserve(found.instance, needs.model, now, panic=panic)
                del self.waiting[number]
            elif Hope.LATER in hopes:
                self.stranded_at.pop(number, None)
            elif Hope.EJECTED not in hopes or now >= self.stranded_at.setdefault(number, now) + PATIENCE_S:
                del self.waiting[number]
                self.gone.add(number)


class Twins(RuleBasedStateMachine):
    """The same events for both."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.count = 0
        self.members = instances()
        self.queue = AdmissionQueue()
        self.naive = Naive()
        self.tickets: dict[int, object] = {}
        self.leases: dict[int, Lease] = {}
        self.gone: set[int] = set()
        self.wakes: float | None = None

    def rng(self) -> random.Random:
        return random.Random(3)  # the same draws for both, at every step

    def obey(self, result: Assignment) -> None:
        for grant in result.granted:
            self.leases[grant.waiter.ticket] = grant.lease
        for hopeless in result.hopeless:
            self.gone.add(hopeless.waiter.ticket)
        if result.wake_at is not None:
            self.wakes = result.wake_at if self.wakes is None else min(self.wakes, result.wake_at)
        self.naive.look(self.now, self.rng())

    def pump(self) -> None:
        self.wakes = None
        self.obey(self.queue.assign(self.members, self.now, self.rng()))

    @rule(
        model=st.sampled_from(["", *MODELS]),
        tag=st.sampled_from(["", "gpu", "big"]),
        named=st.sampled_from([None, None, "a", "c"]),
        excluded=st.sampled_from([(), (), ("b",)]),
        priority=st.integers(-1, 1),
    )
    def arrive(self, model: str, tag: str, named: str | None, excluded: tuple[str, ...], priority: int) -> None:
        needs = Needs(model, frozenset({tag} if tag else ()), named, excluded=frozenset(excluded))
        number, self.count = self.count, self.count + 1
        waiter = self.queue.enter(needs, self.queue.key(priority, self.now), number, WISHES)
        self.tickets[number] = waiter
        self.naive.waiting[number] = (waiter.key, needs)
        self.obey(self.queue.arrived(waiter, self.members, self.now, self.rng()))

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.naive.waiting:
            number = data.draw(st.sampled_from(sorted(self.naive.waiting)))
            del self.naive.waiting[number]
            assert self.queue.leave(self.tickets[number])  # type: ignore[arg-type]

    @rule(data=st.data(), cause=st.sampled_from([None, None, None, *Cause]), answered=st.booleans())
    def end(self, data: st.DataObject, cause: Cause | None, answered: bool) -> None:
        if not self.leases:
            return
        number = data.draw(st.sampled_from(sorted(self.leases)))
        outcome = Outcome.DROPPED if cause is not None else Outcome.SUCCESS if answered else Outcome.IGNORED
        mine, other = self.leases.pop(number), self.naive.leases.pop(number)
        for lease in (mine, other):
            if answered:
                lease.first_token(self.now)
            if cause is Cause.BUSY:
                lease.instance.pause.said_busy(self.now, None, self.rng())
            lease.end(outcome, self.now, self.rng(), cause)
        self.obey(self.queue.freed(mine.instance, self.members, self.now, self.rng()))

    @rule(index=st.integers(0, 2), draining=st.booleans())
    def drain(self, index: int, draining: bool) -> None:
        for members in (self.members, self.naive.members):
            members[index].draining = draining
        self.pump()

    @rule(index=st.integers(0, 2), state=st.sampled_from(list(InstanceState)), models=st.sampled_from([MODELS, MODELS[:1], ()]))
    def probe(self, index: int, state: InstanceState, models: tuple[str, ...]) -> None:
        for members in (self.members, self.naive.members):
            members[index].state = state
            members[index].learn_models(models)
            if state is InstanceState.HEALTHY:
                members[index].breaker.reached(self.now)
        self.obey(self.queue.freed(self.members[index], self.members, self.now, self.rng()))

    @rule(passed=st.floats(0.001, 5.0))
    def wait(self, passed: float) -> None:
        until = self.now + passed
        while self.wakes is not None and self.wakes <= until:
            self.now = max(self.now, self.wakes) + 0.001  # a timer is late rather than early
            self.pump()
        self.now = max(self.now, until)

    @invariant()
    def both_have_granted_and_refused_the_same(self) -> None:
        assert {number: lease.instance.id for number, lease in self.leases.items()} == {
            number: lease.instance.id for number, lease in self.naive.leases.items()
        }
        assert {waiter.ticket for waiter in self.queue.waiters()} == set(self.naive.waiting)
        assert self.gone == self.naive.gone
        assert len(self.queue) == len(self.naive.waiting)


TestTwins = Twins.TestCase
TestTwins.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
