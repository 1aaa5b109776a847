"""Commands on models as text."""

from __future__ import annotations

from gleitzeit_nb.core.upkeep import Holding, Layers, PullProgress, Warmed
from gleitzeit_nb.rendering.upkeep import deletion_question, progress_line, step_of, unloaded_text, warmed_text


def progress(**facts: object) -> PullProgress:
    return PullProgress(**{"instance": "north", "model": "phi:3b", "status": "pulling 0123", **facts})  # type: ignore[arg-type]


def test_a_pull_is_a_line_with_a_bar_where_the_size_is_known() -> None:
    assert progress_line(progress(status="pulling manifest")) == "north  pulling manifest"
    line = progress_line(progress(completed_bytes=500_000_000, total_bytes=2_000_000_000))
    assert " 25%  500 of 2000 MB  pulling 0123" in line
    assert line.count("█") == 6
    assert progress_line(progress(done=True)) == "north  has phi:3b"
    assert progress_line(progress(done=True, error="no such file")) == "north  failed: no such file"


def test_nothing_in_a_servers_words_acts_on_the_reader() -> None:
    assert "\x1b" not in progress_line(progress(status="\x1b[2Jgone", instance="\x1b[31mred"))
    layers = Layers()
    layers.take({"status": "\x1b[2J" + "x" * 500, "digest": "d", "total": -1, "completed": 5})
    layers.take({"status": 7, "digest": "e", "total": 10, "completed": 50})
    layers.take({"digest": "f", "total": "many"})
    assert (layers.total_bytes, len(layers.status) <= 60, layers.status.isprintable()) == (0, True, True)


def test_layers_add_up() -> None:
    layers = Layers()
    for line in (
        {"digest": "a", "total": 100},
        {"digest": "b", "total": 50, "completed": 10},
        {"digest": "a", "total": 100, "completed": 90},
    ):
        layers.take(line)
    assert (layers.completed_bytes, layers.total_bytes) == (100, 150)


def test_where_nothing_is_drawn_anew_a_tenth_is_worth_a_line() -> None:
    steps = [step_of(progress(completed_bytes=done, total_bytes=1000)) for done in range(0, 1001, 10)]
    assert len(set(steps)) == 11


def test_what_came_of_it() -> None:
    assert warmed_text([Warmed("a", "x:latest", 3.21, False), Warmed("b", "x", 0.1, True)]) == (
        "a  has x loaded (it took 3.2 s)\nb  has x loaded (it was)"
    )
    assert unloaded_text("x", ()) == "x is loaded nowhere."
    assert (
        deletion_question([Holding("a", "x:1b", 5_000_000, "0123456789abcdef")])
        == "this would delete\n  x:1b on a, 5 MB, digest 0123456789ab"
    )
