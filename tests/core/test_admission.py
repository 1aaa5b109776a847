"""The queue: nobody is lost, nobody is overtaken without a reason, no limit is passed."""

from __future__ import annotations

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from gleitzeit_nb.core.admission import AdmissionQueue, AdmissionSettings, Assignment, Grant
from gleitzeit_nb.core.breaker import BreakerSettings, BreakerState
from gleitzeit_nb.core.candidates import judge
from gleitzeit_nb.core.faults import Cause
from gleitzeit_nb.core.instances import Instance, InstanceSettings, InstanceState
from gleitzeit_nb.core.leases import Lease, Outcome, reserve
from gleitzeit_nb.core.lines import PATIENCE_S, Waiter
from gleitzeit_nb.core.needs import Needs, Wishes

M = "llama3.2:latest"
RNG = random.Random(11)
ANY = Needs(M)
PATIENT = Needs(M, patient=True)  # whom the panic rule does not help
LEAST = Wishes("least_loaded")


def instance(id: str, slots: int | None = 1, tags: tuple[str, ...] = (), models: tuple[str, ...] = (M,)) -> Instance:  # noqa: A002
    made = Instance(InstanceSettings(id, f"http://{id}:1", max_concurrent=slots, tags=tags), BreakerSettings(failure_threshold=2))
    made.learn_models(models)
    made.state = InstanceState.HEALTHY
    return made


def enter(queue: AdmissionQueue, needs: Needs = ANY, priority: int = 0, at: float = 0.0) -> Waiter:
    return queue.enter(needs, queue.key(priority, at), wishes=LEAST)


def granted(assignment: Assignment) -> list[Waiter]:
    return [grant.waiter for grant in assignment.granted]


def test_a_free_slot_goes_to_the_first_whom_it_fits() -> None:
    queue, gpu = AdmissionQueue(), instance("gpu", 2, ("gpu",))
    impossible_now = enter(queue, Needs(M, tags=frozenset({"big"})))
    first, second, third = enter(queue), enter(queue, Needs(M, tags=frozenset({"gpu"}))), enter(queue)
    big = instance("big", 1, ("big",))
    reserve(big, M, 0.0)
    assert granted(queue.assign([gpu, big], 0.0, RNG)) == [first, second]
    assert [queue.position(waiter) for waiter in (impossible_now, third)] == [1, 2]


def test_a_newcomer_stands_behind_those_who_wait() -> None:
    queue, only = AdmissionQueue(), instance("a")
    lease = reserve(only, M, 0.0)
    first = enter(queue)
    assert granted(queue.assign([only], 0.0, RNG)) == []
    newcomer = enter(queue)
    lease.end(Outcome.SUCCESS, 1.0, RNG)
    assert granted(queue.assign([only], 1.0, RNG)) == [first]
    assert queue.position(newcomer) == 1


def test_priority_goes_first_and_waiting_outweighs_it_in_the_end() -> None:
    queue, only = AdmissionQueue(), instance("a")
    late = enter(queue, priority=1, at=0.0)
    urgent = enter(queue, priority=-1, at=5.0)
    normal = enter(queue, priority=0, at=11.0)
    assert [waiter is each for waiter, each in zip(queue.waiters(), (urgent, late, normal), strict=True)] == [True] * 3
    assert granted(queue.assign([only], 12.0, RNG)) == [urgent]


def test_a_place_is_kept_after_a_failed_try() -> None:
    queue = AdmissionQueue()
    key = queue.key(0, 0.0)
    enter(queue, at=1.0)
    again = queue.enter(Needs(M, excluded=frozenset({"a"})), key, wishes=LEAST)
    assert queue.position(again) == 1


def test_what_cannot_be_is_said_at_once() -> None:
    queue = AdmissionQueue()
    waiter = enter(queue, Needs(M, tags=frozenset({"gpu"})))
    (hopeless,) = queue.assign([instance("a"), instance("b")], 0.0, RNG).hopeless
    assert (hopeless.waiter, hopeless.ejected) == (waiter, False)
    assert [verdict.row for verdict in hopeless.verdicts] == [("a", "no tag gpu"), ("b", "no tag gpu")]
    assert len(queue) == 0


def test_when_all_are_ejected_it_waits_for_the_first_but_not_for_long() -> None:
    queue, one = AdmissionQueue(), instance("a")
    one.breaker.settings = BreakerSettings(first_ejection_s=20.0)
    reserve(one, M, 0.0).end(Outcome.DROPPED, 0.0, RNG, Cause.REFUSED)
    waiter = enter(queue, PATIENT)
    waiting = queue.assign([one], 0.0, RNG)
    assert (waiting.granted, waiting.hopeless, waiting.wake_at) == ((), (), PATIENCE_S)
    one.breaker.retry_at = 0.4
    assert queue.assign([one], 0.2, RNG).wake_at == 0.4
    one.breaker.retry_at = 20.0
    (hopeless,) = queue.assign([one], PATIENCE_S, RNG).hopeless
    assert (hopeless.waiter, hopeless.ejected) == (waiter, True)


def test_a_latecomer_has_a_patience_of_its_own() -> None:
    queue, one = AdmissionQueue(), instance("a")
    one.breaker.settings = BreakerSettings(first_ejection_s=20.0)
    reserve(one, M, 0.0).end(Outcome.DROPPED, 0.0, RNG, Cause.REFUSED)
    first = enter(queue, PATIENT)
    queue.assign([one], 0.0, RNG)
    second = enter(queue, PATIENT, at=0.5)
    queue.assign([one], 0.5, RNG)
    assert [hopeless.waiter for hopeless in queue.assign([one], PATIENCE_S, RNG).hopeless] == [first]
    assert [hopeless.waiter for hopeless in queue.assign([one], 0.5 + PATIENCE_S, RNG).hopeless] == [second]


def test_what_has_just_come_back_is_given_more_as_time_passes() -> None:
    queue, one = AdmissionQueue(), instance("a", 4)
    reserve(one, M, 0.0).end(Outcome.DROPPED, 0.0, RNG, Cause.REFUSED)
    back = one.breaker.retry_at or 0.0
    reserve(one, M, back).end(Outcome.SUCCESS, back, RNG)
    waiters = [enter(queue) for _ in range(4)]
    first = queue.assign([one], back, RNG)
    assert granted(first) == waiters[:1]
    assert first.wake_at == pytest.approx(back + 1.0)
    assert granted(queue.assign([one], back + 1.01, RNG)) == waiters[1:2]
    assert granted(queue.assign([one], back + 2.01, RNG)) == waiters[2:]


def test_a_pause_ends_by_itself() -> None:
    queue, one = AdmissionQueue(), instance("a")
    one.pause.until = 3.0
    waiter = enter(queue)
    assert queue.assign([one], 1.0, RNG).wake_at == 3.0
    assert granted(queue.assign([one], 3.0, RNG)) == [waiter]


def test_leaving_is_possible_once() -> None:
    queue = AdmissionQueue(AdmissionSettings(max_queue=1))
    waiter, other = enter(queue), enter(queue)
    assert queue.overflows()
    assert queue.leave(waiter)
    assert not queue.leave(waiter)
    assert not queue.overflows()
    assert queue.waiters() == (other,)


def test_a_lease_is_not_given_past_the_limit_even_by_force() -> None:
    one = instance("a")
    reserve(one, M, 0.0)
    with pytest.raises(RuntimeError):
        reserve(one, M, 0.0)


class Pool(RuleBasedStateMachine):
    """Random arrivals, ends, cancels, drains, faults and time on a few instances."""

    waiting = Bundle("waiting")
    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.rng = random.Random(1)
        self.queue = AdmissionQueue()
        self.instances = [instance("a", 1), instance("b", 2, ("gpu",)), instance("c", None, ("gpu",), (M, "phi:latest"))]
        self.expected: set[Waiter] = set()
        self.held: list[Lease] = []

    @rule(target=waiting, model=st.sampled_from([M, "phi:latest"]), tagged=st.booleans(), priority=st.integers(-1, 1))
    def arrive(self, model: str, tagged: bool, priority: int) -> Waiter:
        needs = Needs(model, tags=frozenset({"gpu"} if tagged else ()))
        waiter = self.queue.enter(needs, self.queue.key(priority, self.now), wishes=LEAST)
        self.expected.add(waiter)
        return waiter

    @rule(waiter=consumes(waiting))
    def cancel(self, waiter: Waiter) -> None:
        assert self.queue.leave(waiter) == (waiter in self.expected)
        self.expected.discard(waiter)

    @rule(target=leases)
    def assign(self) -> object:
        before = {needs: list(line.waiters) for needs, line in self.queue._lines.items()}
        free = {each.id: each.slots - each.load.in_flight for each in self.instances}
        result = self.queue.assign(self.instances, self.now, self.rng)
        for grant in result.granted:
            self._check_grant(grant, before, free)
        for hopeless in result.hopeless:
            self.expected.remove(hopeless.waiter)
        self._check_nobody_waits_in_vain()
        return multiple(*(grant.lease for grant in result.granted))

    def _check_grant(self, grant: Grant, before: dict[Needs, list[Waiter]], free: dict[str, int]) -> None:
        needs, chosen = grant.waiter.needs, grant.lease.instance
        assert grant.waiter is before[needs].pop(0), "not the first of its line"
        free[chosen.id] -= 1
        assert free[chosen.id] >= 0
        assert not chosen.draining
        assert needs.tags <= set(chosen.settings.tags)
        assert chosen.has_model(needs.model)
        self.expected.remove(grant.waiter)
        self.held.append(grant.lease)

    def _check_nobody_waits_in_vain(self) -> None:
        for needs in self.queue._lines:
            assert not [each for each in self.instances if judge(needs, each, self.now).text.startswith("could take it")]

    @rule(lease=consumes(leases), cause=st.sampled_from([None, *Cause]), cancelled=st.booleans(), passed=st.floats(0.0, 2.0))
    def end(self, lease: Lease, cause: Cause | None, cancelled: bool, passed: float) -> None:
        self.now += passed
        outcome = Outcome.IGNORED if cancelled else Outcome.SUCCESS if cause is None else Outcome.DROPPED
        assert lease.end(outcome, self.now, self.rng, None if cancelled else cause)
        assert not lease.end(Outcome.DROPPED, self.now, self.rng, Cause.REFUSED)
        self.held.remove(lease)

    @rule(index=st.integers(0, 2), draining=st.booleans())
    def drain(self, index: int, draining: bool) -> None:
        self.instances[index].draining = draining

    @rule(index=st.integers(0, 2), state=st.sampled_from(list(InstanceState)))
    def probe(self, index: int, state: InstanceState) -> None:
        self.instances[index].state = state
        if state is InstanceState.HEALTHY:
            self.instances[index].breaker.reached(self.now)

    @rule(passed=st.floats(0.0, 40.0))
    def wait(self, passed: float) -> None:
        self.now += passed

    @invariant()
    def books_are_right(self) -> None:
        assert set(self.queue.waiters()) == self.expected
        assert sum(each.load.in_flight for each in self.instances) == len(self.held)
        for each in self.instances:
            held = [lease for lease in self.held if lease.instance is each]
            assert each.load.in_flight == len(held) == each.load.by_model.total()
            assert each.settings.max_concurrent is None or len(held) <= each.settings.max_concurrent
            assert sum(lease._probe for lease in held) <= 1
            if each.breaker.state is BreakerState.OPEN:
                assert each.breaker.retry_at is not None

    @invariant()
    def positions_count_from_one(self) -> None:
        waiters = self.queue.waiters()
        assert [self.queue.position(waiter) for waiter in waiters] == list(range(1, len(waiters) + 1))


TestPool = Pool.TestCase
TestPool.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
