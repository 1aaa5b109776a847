"""The kernel's half of the control comm that browser tests draw with, held to the real one: the same said to both, and heard from both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from gleitzeit_nb.jupyter.control.commands import COMMANDS
from gleitzeit_nb.jupyter.control.comms import TARGET
from gleitzeit_nb.snapshot import SCHEMA_VERSION
from tests.jupyter.test_comms import BAD
from tests.support.control_side import listening
from tests.support.fake_ollama import FakeOllama
from tests.support.front_end import FrontEnd
from tests.support.kernel import instances, running_kernel, serving
from tests.support.snapshots import EMPTY, instance

pytest.importorskip("ipykernel", reason="ipykernel is not installed")
pytest.importorskip("playwright", reason="playwright is not installed")

LOCAL = "import gleitzeit_nb\ngleitzeit_nb.configure(python_config={'modes': {'local': {'enabled': True}}})\n%gleitzeit status"


@dataclass
class Side:
    """A kernel that listens, and the comm to it."""

    front_end: FrontEnd
    comm: str

    def told(self) -> list[dict[str, Any]]:
        return self.front_end.said(self.comm)

    def snapshot(self) -> dict[str, Any]:
        return dict([said["snapshot"] for said in self.told() if said["type"] == "snapshot"][-1])

    def ask(self, kind: str, **words: str) -> list[dict[str, Any]]:
        """All answers to it, the last of them done or error."""
        request = f"r{len(self.told())}"
        self.front_end.send(self.comm, {"type": kind, "request": request, **words})

        def answers() -> list[dict[str, Any]]:
            return [said for said in self.told() if said.get("request") == request]

        self.front_end.until(lambda: any(said["type"] in ("done", "error") for said in answers()), f"the end of {kind}")
        assert all(set(said) == {"type", "of", "request", "text", "report"} and said["of"] == kind for said in answers())
        assert all("\n" not in said["text"] for said in answers())
        return answers()


@pytest.fixture(scope="module", params=["real", "of tests"])
def side(request: pytest.FixtureRequest, project_root: Path) -> Iterator[Side]:
    """With the instances north and south, of which both have the model a, and north has it loaded."""
    with serving(FakeOllama("north", ["a:latest"])) as north, serving(FakeOllama("south", ["a:latest"])) as south:
        with running_kernel(project_root, instances(north, south)) as kernel:
            front_end = FrontEnd(kernel)
            if request.param == "real":
                front_end.run(LOCAL)
                front_end.run("%llm warm a --instance north")
            else:
                warm = replace(instance().warm[0], name="a")
                front_end.run(listening(instance("north", models=("a",), warm=(warm,)), instance("south", models=("a",), warm=())))
            comm = front_end.open(TARGET)
            front_end.send(comm, {"type": "hello"})
            made = Side(front_end, comm)
            front_end.until(lambda: any(said.get("snapshot", {}).get("instances") for said in made.told()), "the first snapshot")
            yield made


def test_it_greets_with_what_it_can_do_and_a_whole_snapshot(side: Side) -> None:
    [welcome] = [said for said in side.told() if said["type"] == "welcome"]
    assert set(welcome) == {"type", "version", "answers_while_busy", "cell_s", "commands"}
    assert welcome["commands"] == list(COMMANDS)
    shown = side.snapshot()
    assert set(shown) == set(EMPTY.to_dict())
    assert (shown["schema_version"], [each["id"] for each in shown["instances"]]) == (SCHEMA_VERSION, ["north", "south"])


def test_what_was_done_shows_in_the_next_snapshot(side: Side) -> None:
    def row(name: str) -> dict[str, Any]:
        return next(each for each in side.snapshot()["instances"] if each["id"] == name)

    for kind, words, seen in (
        ("drain", {"instance": "north"}, lambda: row("north")["draining"]),
        ("resume", {"instance": "north"}, lambda: not row("north")["draining"]),
        ("unload", {"instance": "north", "model": row("north")["warm"][0]["name"]}, lambda: row("north")["warm"] == []),
        ("warm", {"instance": "north", "model": row("north")["models"][0]}, lambda: len(row("north")["warm"]) == 1),
    ):
        assert side.ask(kind, **words)[-1]["type"] == "done"
        side.front_end.until(seen, f"the snapshot after {kind}")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("drain", {"instance": "west"}),
        ("warm", {"instance": "west", "model": "a"}),
        ("cancel", {"run": "none"}),
        ("stop_container", {"container": "none"}),
        ("reset_session", {"session": "none"}),
    ],
)
def test_what_it_has_not_is_refused_at_once(side: Side, kind: str, words: dict[str, str]) -> None:
    [refusal] = side.ask(kind, **words)
    assert (refusal["type"], refusal["report"]) == ("error", "")
    assert next(iter(words.values())) in refusal["text"]


def test_diagnostics_come_as_many_lines_after_it_was_said_that_they_are_gathered(side: Side) -> None:
    began, done = side.ask("diagnostics")
    assert (began["type"], began["report"], done["type"]) == ("started", "", "done")
    assert len(done["report"].splitlines()) > 1


def test_what_is_no_command_is_refused(side: Side) -> None:
    for message in BAD:
        before = len(side.told())
        side.front_end.send(side.comm, message)
        side.front_end.until(
            lambda before=before: any(said["type"] == "error" for said in side.told()[before:]), f"an answer to {message!r}"
        )
