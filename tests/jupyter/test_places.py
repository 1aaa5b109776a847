"""Outputs that go on changing: how a page that comes later finds them, and what they say when nothing follows any more."""

from __future__ import annotations

from typing import Any

import pytest

from gleitzeit_nb.jupyter.display import places as places_module
from gleitzeit_nb.jupyter.display.answer import ARRIVING
from gleitzeit_nb.jupyter.display.places import RUNNING, Places
from tests.support.shell import Cell, Shell
from tests.support.waiting import wait_until

FOREVER = 3600.0


def text(words: str) -> dict[str, Any]:
    return {"text/plain": words}


def test_what_goes_on_names_its_display_and_what_is_final_does_not() -> None:
    places = Places()
    assert places.put("one", text("half"), ARRIVING) == {"gleitzeit_nb": {"state": "arriving", "live": "one"}}
    assert places.put("one", text("whole"), {"gleitzeit_nb": {"model": "m"}}) == {"gleitzeit_nb": {"model": "m"}}
    assert places.now(["one", "other"])["one"].data == text("whole")


def test_an_end_leaves_nothing_that_claims_to_go_on() -> None:
    places = Places()
    places.put("one", text("half"), RUNNING)
    assert places.put("one", text("half"), RUNNING, final=True) == {}
    assert places.put("two", text(""), {"gleitzeit_nb": {"job": 1, "state": "running"}}, final=True) == {"gleitzeit_nb": {"job": 1}}
    assert not places.is_live("one")


def test_what_was_never_live_is_not_kept() -> None:
    places = Places()
    places.put("one", text("whole"), {})
    assert places.now(["one"]) == {}


def test_those_that_have_ended_are_forgotten_by_number_and_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places_module, "MOST_ENDED", 2)
    monkeypatch.setattr(places_module, "ENDED_CHARS", 100)
    places = Places()
    for name in "abc":
        places.put(name, text("x"), RUNNING)
    for name in "abc":
        places.put(name, text("x"), {})
    assert set(places.now("abc")) == {"b", "c"}
    places.put("d", text("x"), RUNNING)
    places.put("d", text("x" * 1000), {})
    places.put("e", text("x"), RUNNING)
    assert set(places.now("abcde")) == {"d", "e"}


def live_ids(cell: Cell) -> list[Any]:
    return [each["metadata"].get("gleitzeit_nb", {}).get("live") for each in cell.displays]


def last_marks(shell: Shell, cell: Cell) -> list[Any]:
    """Of each place of a job, what its last message says of going on."""
    kernel: Any = shell.ip.kernel
    names = [each["transient"]["display_id"] for each in cell.displays]
    last = {each["transient"]["display_id"]: each["metadata"].get("gleitzeit_nb", {}) for each in kernel.updates}
    return [(last[name].get("live"), last[name].get("state")) for name in names]


@pytest.mark.parametrize("source", ["%%llm --bg -o job\nhi", "%%llm --bg --run -o job\nhi", "%%sandbox --bg -o job\n1"])
def test_every_part_of_a_job_can_be_found_until_it_ends(shell: Shell, source: str) -> None:
    shell.engine.pool.script = ["Hello ", FOREVER]
    shell.engine.sandbox.output = [("stdout", "step\n"), FOREVER]
    cell = shell.run(source)
    assert live_ids(cell) == [each["transient"]["display_id"] for each in cell.displays]
    shell.ip.user_ns["job"].cancel()
    assert wait_until(shell.ip.user_ns["job"].future.done)
    assert {live for live, _ in last_marks(shell, cell)} == {None}
    assert not {"running", "waiting", "arriving"} & {state for _, state in last_marks(shell, cell)}
    assert shell.front.places.now(live_ids(cell)).keys() == set(live_ids(cell)), "a page that comes later is told the end"


def test_a_streamed_answer_can_be_found_until_it_is_whole(shell: Shell) -> None:
    shell.engine.pool.script = ["Hello, ", 0.6, "world."]
    cell = shell.run("%%llm\nhi")
    first, *_, last = cell.displays
    place = first["transient"]["display_id"]
    assert first["metadata"]["gleitzeit_nb"]["live"] == place
    assert "live" not in last["metadata"]["gleitzeit_nb"]
    assert shell.front.places.now([place])[place].data["text/markdown"] == "Hello, world."
