"""The same name, another model."""

from __future__ import annotations

from gleitzeit_nb.core.digests import Conflict, conflicts

OLD, NEW = "a" * 64, "b" * 64


def test_a_name_that_stands_for_two_models_is_told_with_who_has_which() -> None:
    lists = [("north", {"x:latest": NEW, "y:1b": OLD}), ("south", {"x:latest": OLD}), ("east", {"x:latest": NEW}), ("west", {})]
    (found,) = conflicts(lists)
    assert found == Conflict("x:latest", ((NEW, ("north", "east")), (OLD, ("south",))))
    assert found.text.startswith("x is not the same model everywhere: bbbbbbbbbbbb on north, east; aaaaaaaaaaaa on south.")
    assert conflicts(lists[:1]) == ()
