"""The control comm: what it answers, that looking starts nothing, and that no message does what it should not."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gleitzeit_nb import __version__
from gleitzeit_nb.errors import UsageError
from gleitzeit_nb.jupyter.control.commands import COMMANDS, FIELDS, read_command
from gleitzeit_nb.jupyter.control.comms import MOST_LINES, TARGET, ControlTarget
from gleitzeit_nb.jupyter.control.messages import empty_snapshot, snapshot_message
from gleitzeit_nb.jupyter.display.places import RUNNING
from tests.support.shell import FakeRuntime, Shell
from tests.support.snapshots import EMPTY, HOSTILE, MOCK_UP, hostile, instance
from tests.support.waiting import wait_until


class FakeComm:
    """The kernel's end of a comm, whose other end a test holds."""

    def __init__(self, comm_id: str) -> None:
        self.comm_id = comm_id
        self.sent: list[dict[str, Any]] = []
        self.closed = False
        self._heard: Any = None
        self._ended: Any = None

    def on_msg(self, callback: Any) -> None:
        self._heard = callback

    def on_close(self, callback: Any) -> None:
        self._ended = callback

    def send(self, data: dict[str, Any]) -> None:
        json.dumps(data).encode()  # what a message can carry
        self.sent.append(data)

    def close(self) -> None:
        self.closed = True

    def hear(self, data: object) -> None:
        """The front end says something."""
        self._heard({"content": {"data": data}})

    def end(self) -> None:
        self._ended({"content": {"data": {}}})

    def said(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self.sent if each["type"] == kind]


class Listening:
    """A control target on a shell's front, with the comms that front ends opened to it: its comm manager, too."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.opened: dict[str, Any] = {}
        self.comms: dict[str, FakeComm] = {}
        self.target = ControlTarget(shell.front, self)

    def register_target(self, name: str, opened: Any) -> None:
        self.opened[name] = opened

    def unregister_target(self, name: str, opened: Any) -> None:
        assert self.opened.pop(name) == opened

    def comm_close(self, _stream: Any, _ident: Any, message: Any) -> None:
        self.comms.pop(message["content"]["comm_id"]).end()

    def open(self) -> FakeComm:
        comm = FakeComm(f"comm-{len(self.comms)}")
        self.comms[comm.comm_id] = comm
        self.opened[TARGET](comm, {"content": {"data": {}}})
        return comm

    def settle(self) -> None:
        """Until the loop has done what was handed to it."""
        self.shell.runtime.call(_nothing())

    def answer(self, comm: FakeComm) -> dict[str, Any]:
        """The one answer to a command, once it is there."""
        assert wait_until(lambda: any(each["type"] in ("done", "error") for each in comm.sent)), comm.sent
        [answer] = [each for each in comm.sent if each["type"] in ("started", "done", "error")]
        return answer


async def _nothing() -> None:
    return


@pytest.fixture
def listening(shell: Shell) -> Iterator[Listening]:
    made = Listening(shell)
    yield made
    made.target.close()


def test_hello_brings_the_snapshot_of_now_and_then_every_change(listening: Listening) -> None:
    comm = listening.open()
    comm.hear({"type": "hello"})
    listening.settle()
    able = {"version": __version__, "answers_while_busy": False, "commands": list(COMMANDS)}
    assert comm.sent == [{"type": "welcome", **able, "cell_s": None}, snapshot_message(MOCK_UP)]
    listening.shell.engine.show(later := replace(MOCK_UP, seq=2, in_flight=7))
    assert comm.sent[2:] == [snapshot_message(later)]


def test_a_page_that_is_heard_beside_the_cells_is_told_so(listening: Listening) -> None:
    comm = listening.open()
    subshell = threading.Thread(target=comm.hear, args=({"type": "hello"},))
    subshell.start()
    subshell.join()
    [welcome] = comm.said("welcome")
    assert welcome["answers_while_busy"]


def test_a_page_that_comes_while_a_cell_runs_is_told_since_when(listening: Listening) -> None:
    within, after = listening.open(), listening.open()
    listening.shell.ip.user_ns["come"] = lambda: within.hear({"type": "hello"})
    listening.shell.run("import time; time.sleep(0.05); get_ipython().run_cell('1'); come()")
    after.hear({"type": "hello"})
    [during], [idle] = within.said("welcome"), after.said("welcome")
    assert 0.05 <= during["cell_s"] < 30
    assert idle["cell_s"] is None


def test_a_reloaded_page_is_told_what_its_outputs_show_now(listening: Listening) -> None:
    listening.shell.runtime.started = False
    going_on, ended, unknown = "a" * 32, "b" * 32, "c" * 32
    places = listening.shell.front.places
    marked = places.put(going_on, {"text/plain": "so far"}, RUNNING)
    places.put(ended, {"text/plain": "half"}, RUNNING)
    places.put(ended, {"text/plain": "whole"}, {"gleitzeit_nb": {"model": "m"}})
    comm = listening.open()
    comm.hear({"type": "outputs", "ids": [going_on, ended, unknown]})
    [told] = comm.sent
    assert told == {
        "type": "outputs",
        "outputs": [
            {"id": going_on, "data": {"text/plain": "so far"}, "metadata": marked},
            {"id": ended, "data": {"text/plain": "whole"}, "metadata": {"gleitzeit_nb": {"model": "m"}}},
        ],
    }
    assert not listening.shell.runtime.started


def test_before_there_is_an_engine_looking_starts_none(listening: Listening) -> None:
    listening.shell.runtime.started = False
    comm = listening.open()
    comm.hear({"type": "hello"})
    assert comm.said("snapshot") == [snapshot_message(empty_snapshot())]
    comm.hear({"type": "drain", "instance": "local", "request": "click-1"})
    error = listening.answer(comm)
    assert (error["of"], error["request"], error["report"]) == ("drain", "click-1", "")
    assert "%%llm" in error["text"]
    assert not listening.shell.runtime.started


@pytest.mark.parametrize("verb", ["drain", "resume"])
def test_a_command_is_done_and_told(listening: Listening, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = listening.shell.engine.pool
    monkeypatch.setattr(type(pool), "instance_views", lambda _self: MOCK_UP.instances, raising=False)
    comm = listening.open()
    comm.hear({"type": verb, "instance": "gpu-1"})
    answer = listening.answer(comm)
    assert pool.draining == [(verb, "gpu-1")]
    assert (answer["type"], answer["of"]) == ("done", verb)
    assert answer["text"].startswith("gpu-1 gets ")


def test_an_instance_of_another_kernel_is_refused(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = listening.shell.engine.pool
    monkeypatch.setattr(type(pool), "instance_views", lambda _self: MOCK_UP.instances, raising=False)
    comm = listening.open()
    comm.hear({"type": "drain", "instance": HOSTILE})
    answer = listening.answer(comm)
    assert pool.draining == []
    assert answer["type"] == "error"
    assert len(answer["text"]) < 200


def test_an_id_that_was_shown_cleaned_is_still_that_instance(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = listening.shell.engine.pool
    odd = instance("gpu\u202e-1")
    monkeypatch.setattr(type(pool), "instance_views", lambda _self: (odd,), raising=False)
    [shown] = snapshot_message(replace(EMPTY, instances=(odd,)))["snapshot"]["instances"]
    comm = listening.open()
    comm.hear({"type": "drain", "instance": shown["id"]})
    listening.answer(comm)
    assert pool.draining == [("drain", odd.id)]


HUGE = "A" * 10_000_000
BAD: list[object] = [
    None,
    [],
    "hello",
    7,
    {},
    {"type": None},
    {"type": ["hello"]},
    {"type": {"hello": 1}},
    {"type": "hello", "more": 1},
    {"type": "stop"},
    {"type": "drain"},
    {"type": "drain", "instance": None},
    {"type": "drain", "instance": ["local"]},
    {"type": "drain", "instance": {"$ne": ""}},
    {"type": "drain", "instance": ""},
    {"type": "drain", "instance": "local", "force": True},
    {"type": "drain", "instance": HUGE},
    {"type": HUGE, "instance": "local"},
    {"type": "hello", "x": HUGE},
    {"type": "drain", "instance": "local", "request": ""},
    {"type": "drain", "instance": "local", "request": "a b"},
    {"type": "drain", "instance": "local", "request": "x" * 65},
    {"type": "drain", "instance": "local", "request": HUGE},
    {"type": "drain", "instance": "local", "request": 7},
    {"type": "drain", "request": "r1"},
    {"type": "warm", "instance": "local"},
    {"type": "warm", "instance": "local", "model": ""},
    {"type": "cancel", "run": ["r1"]},
    {"type": "cancel", "instance": "local"},
    {"type": "restart_pool", "force": True},
    {"type": "outputs"},
    {"type": "outputs", "ids": "a" * 32},
    {"type": "outputs", "ids": ["a" * 31]},
    {"type": "outputs", "ids": [["a" * 32]]},
    {"type": "outputs", "ids": ["a" * 32] * 201},
    {"type": "outputs", "ids": [], "more": 1},
]


@pytest.mark.parametrize("message", BAD, ids=[repr(each)[:40] for each in BAD])
def test_a_message_that_is_none_gets_an_error_and_has_no_effect(listening: Listening, message: object) -> None:
    comm = listening.open()
    comm.hear(message)
    listening.settle()
    [answer] = comm.sent
    assert answer["type"] == "error"
    assert answer["of"] in ("", *FIELDS)
    assert len(json.dumps(answer)) < 1000
    assert listening.shell.engine.pool.draining == []
    assert listening.shell.engine.watched == 0
    comm.hear({"type": "hello"})
    listening.settle()
    assert comm.sent[-1]["type"] == "snapshot", "it still listens"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "instance", "x"]), inner, max_size=3),
    max_leaves=6,
)
FIELD_NAMES = sorted({"type", "request", "x", *(name for names in FIELDS.values() for name in names)})
MESSAGES = JSON | st.dictionaries(st.sampled_from(FIELD_NAMES), st.sampled_from([*FIELDS, "r-1", "gpu-1", ""]) | JSON, max_size=4)


def nearly(kind: str) -> st.SearchStrategy[dict[str, object]]:
    """A command, with a field too many, one too few, or another value."""
    whole: dict[str, object] = {"type": kind, **{name: f"some {name}" for name in FIELDS[kind]}}
    added = st.dictionaries(st.sampled_from(FIELD_NAMES), st.sampled_from(["r-1", "gpu-1", ""]) | JSON, max_size=2)
    dropped = st.sets(st.sampled_from(sorted(whole)), max_size=1)
    return st.tuples(added, dropped).map(lambda change: {name: each for name, each in (whole | change[0]).items() if name not in change[1]})


@settings(max_examples=300)
@given(MESSAGES | st.sampled_from(sorted(FIELDS)).flatmap(nearly))
def test_what_is_read_as_a_command_is_exactly_one(data: object) -> None:
    try:
        command = read_command(data)
    except UsageError:
        return
    words = zip(FIELDS[command.type], (command.target, command.model), strict=False)
    said = {"type": command.type, **dict(words)} | ({"request": command.request} if command.request else {})
    assert data == said


@pytest.mark.parametrize("kind", FIELDS)
def test_every_command_is_read_with_and_without_a_request(kind: str) -> None:
    said = {"type": kind, **{name: f"some {name}" for name in FIELDS[kind]}}
    assert read_command(said).type == kind
    assert read_command({**said, "request": "click-7"}).request == "click-7"


@pytest.mark.parametrize("kind", FIELDS)
def test_every_command_is_documented_for_other_front_ends(kind: str, project_root: Path) -> None:
    page = (project_root / "docs" / "dashboard.md").read_text()
    assert f'"type": "{kind}"' in page or f"`{kind}`" in page


@settings(max_examples=50)
@given(st.text(st.characters(), max_size=50))
def test_a_snapshot_can_always_be_sent(name: str) -> None:
    shown = replace(hostile(), instances=(instance(name, url=name, reason=name, models=(name,) * 5000),))
    text = json.dumps(snapshot_message(shown), ensure_ascii=False, allow_nan=False)
    assert len(text.encode()) < 60_000


def test_a_picture_that_was_due_when_the_engine_ended_holds_up_none_of_the_next_one(listening: Listening) -> None:
    comm = listening.open()
    comm.hear({"type": "hello"})
    listening.settle()
    for at in (1.0, 2.0):  # the second is due a quarter of a second after the first
        listening.shell.engine.show(replace(MOCK_UP, at=at))
    listening.shell.runtime.close()
    listening.target._engine_moved(None)
    following = FakeRuntime(MOCK_UP)
    try:
        listening.target._engine_moved(following.engine)
        following.fake.show(replace(MOCK_UP, at=3.0))
        assert [each["snapshot"]["at"] for each in comm.said("snapshot")][-1] == 3.0
    finally:
        following.close()


def test_who_stops_looking_costs_nothing_more(listening: Listening) -> None:
    one, two = listening.open(), listening.open()
    for comm in (one, two):
        comm.hear({"type": "hello"})
    listening.settle()
    assert listening.shell.engine.watched == 1, "one watch for all pages"
    one.end()
    assert listening.shell.engine.watched == 1
    two.end()
    assert listening.shell.engine.watched == 0
    listening.shell.engine.show(replace(MOCK_UP, seq=2))
    assert [len(comm.said("snapshot")) for comm in (one, two)] == [1, 1]
    one.hear({"type": "hello"})
    listening.settle()
    assert len(one.said("snapshot")) == 1, "a comm that ended is told nothing"


def test_hello_twice_is_one_view(listening: Listening) -> None:
    comm = listening.open()
    comm.hear({"type": "hello"})
    comm.hear({"type": "hello"})
    listening.settle()
    listening.shell.engine.show(replace(MOCK_UP, seq=2))
    assert [message["snapshot"]["seq"] for message in comm.said("snapshot")] == [1, 2]


def test_a_page_whose_subshell_ended_before_its_goodbye_was_read_is_forgotten(listening: Listening) -> None:
    gone, here = listening.open(), listening.open()
    subshell = threading.Thread(target=gone.hear, args=({"type": "hello"},))
    subshell.start()
    subshell.join()
    here.hear({"type": "hello"})
    listening.settle()
    assert (repr(listening.target), list(listening.comms.values())) == ("<ControlTarget 1 front ends>", [here])
    listening.shell.engine.show(replace(MOCK_UP, seq=2))
    assert wait_until(lambda: here.said("snapshot")[-1]["snapshot"]["seq"] == 2)
    assert not gone.closed, "a message to nobody"
    assert {each["snapshot"]["seq"] for each in gone.said("snapshot")} <= {MOCK_UP.seq}


def test_too_many_pages_are_refused(listening: Listening) -> None:
    for _ in range(MOST_LINES):
        listening.open().hear({"type": "hello"})
    comm = listening.open()
    comm.hear({"type": "hello"})
    assert comm.sent[0]["type"] == "error"


def test_a_comm_that_dies_in_mid_message_is_dropped_and_the_others_go_on(listening: Listening, caplog: pytest.LogCaptureFixture) -> None:
    dead, alive = listening.open(), listening.open()
    for comm in (dead, alive):
        comm.hear({"type": "hello"})
    listening.settle()

    def fail(data: object) -> None:
        raise OSError("the socket has gone")

    dead.send = fail  # type: ignore[method-assign]
    listening.shell.engine.show(replace(MOCK_UP, seq=2))
    listening.shell.engine.show(replace(MOCK_UP, seq=3))
    assert wait_until(lambda: [each["snapshot"]["seq"] for each in alive.said("snapshot")][-1] == 3)
    assert "cannot be reached" in caplog.text
    assert listening.shell.engine.watched == 1
    alive.end()
    assert listening.shell.engine.watched == 0


def test_closing_hangs_up_on_everybody(shell: Shell) -> None:
    made = Listening(shell)
    comm = made.open()
    comm.hear({"type": "hello"})
    made.settle()
    made.target.close()
    assert comm.closed
    assert made.opened == {}
    assert shell.engine.watched == 0
