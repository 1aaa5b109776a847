"""Who gets which worker: no worker lost, never more than there is room for, turns among callers, nobody left waiting for ever."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gleitzeit_nb.core.execution import ContainerPoolSettings
from gleitzeit_nb.core.lending import PATIENCE, Lending
from gleitzeit_nb.core.places import Discard, Give, Outcome, Place, Resize, Size, Start, State, Step, Waiter, Want

HOME = Size(512, 1.0)
SMALL = Size(64, 0.5)
QUIET = ContainerPoolSettings(max_containers=2, min_warm=0, min_fresh=0)


def want(mode: str = "m", caller: str = "", *, image: str = "a", size: Size = HOME, fresh: bool = False) -> Want:
    return Want(mode, (("mode", mode), ("image", image)), size, HOME, caller, fresh)


def gives(steps: Sequence[Step]) -> list[Give]:
    return [step for step in steps if isinstance(step, Give)]


def starts(steps: Sequence[Step]) -> list[Place]:
    return [step.place for step in steps if isinstance(step, Start)]


def warm(lending: Lending, *wants: Want, now: float = 0.0) -> list[Place]:
    """One idle, used worker for each."""
    places = []
    for each in wants:
        lending.enter(each, now)
        (place,) = starts(lending.decide(now))
        lending.started(place, now)
        assert gives(lending.decide(now))[0].place is place
        places.append(place)
    for place in places:
        lending.back(place, "ok", now)
    return places


# -- examples -------------------------------------------------------------------------------------------------------------------


def test_callers_take_turns_however_many_runs_one_of_them_wants() -> None:
    lending = Lending(replace(QUIET, max_containers=1))
    (place,) = warm(lending, want())
    for number in range(1000):
        lending.enter(want(caller="map"), 0.0, number)
    assert [step.waiter.ticket for step in gives(lending.decide(0.0))] == [0]
    cell = lending.enter(want(caller="cell"), 0.0, "cell")
    assert lending.position(cell) == 2
    served = []
    for _ in range(3):
        lending.back(place, "ok", 0.0)
        served += [step.waiter.ticket for step in gives(lending.decide(0.0))]
    assert served == [1, "cell", 2]


def test_a_mode_whose_worker_has_to_be_made_is_passed_over_only_so_often() -> None:
    lending = Lending(replace(QUIET, max_containers=1))
    (place,) = warm(lending, want("a"))
    for _ in range(50):
        lending.enter(want("a"), 0.0)
    lending.enter(want("b"), 0.0)
    passed = 0
    while True:
        steps = lending.decide(0.0)
        if starts(steps):
            break
        assert gives(steps)
        passed += 1
        lending.back(place, "ok", 0.0)
    assert passed <= PATIENCE + 1
    assert [type(step) for step in steps] == [Discard, Start]
    assert steps[0] == Discard(place, "idle")


def test_who_waits_for_a_start_takes_a_worker_that_comes_back_sooner() -> None:
    lending = Lending(QUIET)
    (place,) = warm(lending, want())
    first = lending.enter(want(), 0.0)
    second = lending.enter(want(), 0.0)
    steps = lending.decide(0.0)
    assert gives(steps) == [Give(first, place, False)]
    (coming,) = starts(steps)
    assert lending.starting_for(second, lending.position(second)) is coming
    lending.back(place, "ok", 1.0)
    assert gives(lending.decide(1.0)) == [Give(second, place, False)]
    lending.started(coming, 2.0)
    assert not lending.decide(2.0)
    assert coming.state is State.IDLE


def test_another_size_is_a_change_and_is_changed_back() -> None:
    lending = Lending(QUIET)
    (place,) = warm(lending, want())
    waiter = lending.enter(want(size=SMALL), 0.0)
    assert lending.decide(0.0) == [Give(waiter, place, True)]
    assert place.size == SMALL
    lending.back(place, "ok", 0.0)
    assert lending.decide(0.0) == [Resize(place)]
    assert (place.size, place.state) == (HOME, State.RESIZING)
    waiting = lending.enter(want(), 0.0)
    assert not lending.decide(0.0)
    lending.resized(place)
    assert lending.decide(0.0) == [Give(waiting, place, False)]


def test_a_worker_of_the_size_is_preferred_to_one_that_has_to_be_changed() -> None:
    lending = Lending(QUIET)
    first, second = warm(lending, want(), want())
    first.size = SMALL  # as one that another run has just given back
    waiter = lending.enter(want(size=SMALL), 0.0)
    assert gives(lending.decide(0.0)) == [Give(waiter, first, False)]
    assert second.state is State.IDLE


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (want("other"), "the first in this mode"),
        (want(image="b"), "another image"),
        (want(fresh=True), "no unused one was ready"),
    ],
)
def test_a_start_says_what_was_missing(asked: Want, why: str) -> None:
    lending = Lending(QUIET)
    warm(lending, want())
    lending.enter(asked, 0.0)
    assert [place.why for place in starts(lending.decide(0.0))] == [why]


def test_a_start_because_all_are_busy_says_so() -> None:
    lending = Lending(QUIET)
    warm(lending, want())
    lending.enter(want(), 0.0)
    lending.enter(want(), 0.0)
    assert [place.why for place in starts(lending.decide(0.0))] == ["all others are busy"]


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        ("ok", None),
        ("error", None),
        (None, None),
        ("timeout", "timeout"),
        ("oom", "oom"),
        ("killed", "cancelled"),
        ("lost", "died"),
        ("protocol", "protocol"),
    ],
)
def test_each_outcome_decides_whether_the_worker_is_used_again(outcome: Outcome | None, reason: str | None) -> None:
    lending = Lending(QUIET)
    (place,) = warm(lending, want())
    lending.enter(want(), 0.0)
    lending.decide(0.0)
    assert lending.back(place, outcome, 0.0) == reason
    assert (place in lending.places) == (reason is None)
    assert lending.discards.get("m", Counter()) == ({reason: 1} if reason else {})
    assert lending.outcomes["m"] == Counter({"ok": 1}) + Counter([outcome] if outcome else [])


def test_unused_ones_are_kept_ready_once_one_was_asked_for() -> None:
    lending = Lending(ContainerPoolSettings(max_containers=4, min_warm=1, min_fresh=2))
    (place,) = warm(lending, want())
    assert not lending.decide(0.0)
    lending.enter(want(fresh=True), 0.0)
    (made,) = starts(lending.decide(0.0))
    lending.started(made, 0.0)
    steps = lending.decide(0.0)
    assert gives(steps)[0].place is made
    assert len(starts(steps)) == 2
    assert lending.back(made, "ok", 0.0) == "used up"
    assert place.state is State.IDLE


def test_a_start_that_fails_is_the_error_of_the_first_in_turn_and_is_not_repeated_for_nobody() -> None:
    lending = Lending(ContainerPoolSettings(max_containers=4, min_warm=2))
    waiter = lending.enter(want(), 0.0)
    (place,) = starts(lending.decide(0.0))
    assert lending.failed(place) is waiter
    assert not lending.decide(0.0)
    assert not lending.places


def test_idle_ones_that_expired_are_not_made_anew() -> None:
    lending = Lending(ContainerPoolSettings(max_containers=4, min_warm=1))
    (place,) = warm(lending, want())
    assert lending.expire(299.0) == []
    assert lending.expire(300.0) == [place]
    assert not lending.decide(300.0)


def test_settings_that_a_newcomer_overflows() -> None:
    lending = Lending(replace(QUIET, max_containers=1, max_waiting=1))
    warm(lending, want())
    for _ in range(2):
        lending.enter(want(), 0.0)
    lending.decide(0.0)
    assert not lending.overflows()
    lending.enter(want(), 0.0)
    assert lending.overflows()


# -- properties -----------------------------------------------------------------------------------------------------------------

WANTS = [
    want(mode, caller, size=size, fresh=fresh) for mode in "ab" for caller in "xy" for size in (HOME, SMALL) for fresh in (False, True)
]
ACTIONS = st.one_of(
    st.tuples(st.just("enter"), st.sampled_from(WANTS)),
    st.tuples(st.sampled_from(["leave", "start", "fail", "end", "resized", "die", "expire"]), st.integers(0, 9)),
    st.tuples(st.just("end"), st.sampled_from(["ok", "error", "timeout", "lost", None])),
)
POOLS = st.builds(
    ContainerPoolSettings,
    max_containers=st.integers(1, 4),
    min_warm=st.integers(0, 2),
    min_fresh=st.integers(0, 2),
    max_uses=st.integers(1, 4),
    reuse_containers=st.booleans(),
)


class Machine:
    """Performs steps as a shell would, and remembers what it must never see."""

    def __init__(self, pool: ContainerPoolSettings) -> None:
        self.lending = Lending(pool)
        self.waiting: list[Waiter] = []
        self.served: list[Waiter] = []
        self.alive: set[Place] = set()
        self.now = 0.0

    def decide(self) -> None:
        for step in self.lending.decide(self.now):
            if isinstance(step, Give):
                assert step.waiter in self.waiting
                assert step.place in self.alive
                assert step.place.want.kind == step.waiter.want.kind
                assert step.place.state is State.LENT
                assert not (step.waiter.want.fresh and step.place.uses)
                before = [each for each in self.waiting if each.want == step.waiter.want]
                assert before[0] is step.waiter, "not in order of arrival"
                self.waiting.remove(step.waiter)
                self.served.append(step.waiter)
            elif isinstance(step, Discard):
                assert step.place.state is State.IDLE
                self.alive.remove(step.place)
            elif isinstance(step, Resize):
                assert step.place in self.alive
        self.check()

    def check(self) -> None:
        assert len(self.lending.places) <= self.lending.settings.max_containers
        assert len(set(map(id, self.lending.places))) == len(self.lending.places)
        assert self.alive == {place for place in self.lending.places if place.state is not State.STARTING}
        assert len(self.lending) == len(self.waiting)
        going_on = any(place.state is not State.IDLE for place in self.lending.places)
        assert going_on or not self.waiting, "somebody waits and nothing would ever wake them"
        assert sorted(map(self.lending.position, self.waiting)) == list(range(1, len(self.waiting) + 1))

    def places(self, *states: State) -> list[Place]:
        return [place for place in self.lending.places if place.state in states]

    def act(self, name: str, argument: object) -> None:
        self.now += 1.0
        choice = argument if isinstance(argument, int) else 0
        if name == "enter":
            assert isinstance(argument, Want)
            self.waiting.append(self.lending.enter(argument, self.now))
        elif name == "leave" and self.waiting:
            assert self.lending.leave(self.waiting.pop(choice % len(self.waiting)))
        elif name in ("start", "fail") and (found := self.places(State.STARTING)):
            self.make(found[choice % len(found)], works=name == "start")
        elif name == "end" and (found := self.places(State.LENT)):
            self.end(found[choice % len(found)], None if isinstance(argument, int) else argument)  # type: ignore[arg-type]
        elif name == "resized" and (found := self.places(State.RESIZING)):
            self.lending.resized(found[choice % len(found)])
        elif name == "die" and (found := self.places(State.IDLE, State.RESIZING)):
            self.alive.remove(found[choice % len(found)])
            self.lending.lost(found[choice % len(found)], self.now)
        elif name == "expire":
            self.alive -= set(self.lending.expire(self.now, float(choice)))
        self.decide()

    def make(self, place: Place, *, works: bool) -> None:
        if works:
            self.lending.started(place, self.now)
            self.alive.add(place)
        else:
            waiter = self.lending.failed(place)
            if waiter is not None:
                self.waiting.remove(waiter)

    def end(self, place: Place, outcome: Outcome | None) -> None:
        if self.lending.back(place, outcome, self.now) is not None:
            self.alive.remove(place)


@settings(max_examples=200, deadline=None)
@given(POOLS, st.lists(ACTIONS, max_size=60))
def test_no_worker_is_lost_no_room_exceeded_and_nobody_waits_for_nothing(
    pool: ContainerPoolSettings, actions: list[tuple[str, object]]
) -> None:
    machine = Machine(pool)
    for name, argument in actions:
        machine.act(name, argument)
    for _ in range(2000):
        if not machine.waiting:
            break
        for name in ("start", "resized", "end"):
            machine.act(name, "ok" if name == "end" else 0)
    assert not machine.waiting, "somebody was never served"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), min_size=2, max_size=40), st.integers(1, 3))
def test_no_line_is_served_twice_while_another_waits_for_longer_than_its_patience(arrivals: list[tuple[str, str]], room: int) -> None:
    machine = Machine(replace(QUIET, max_containers=room))
    for mode, caller in arrivals:
        machine.waiting.append(machine.lending.enter(want(mode, caller), 0.0))
    machine.decide()
    lines = {(mode, caller) for mode, caller in arrivals}
    while machine.waiting:
        for name in ("start", "end"):
            machine.act(name, "ok" if name == "end" else 0)
    order = [(waiter.want.mode, waiter.want.caller) for waiter in machine.served]
    for line in lines:
        turns = [-1, *(index for index, each in enumerate(order) if each == line)]
        most = max(later - before for before, later in itertools.pairwise(turns))
        assert most <= (PATIENCE + 2) * len(lines) + room
