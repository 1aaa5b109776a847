"""The pieces of a large dashboard: which of them are sent, and when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from gleitzeit_nb.jupyter.dashboard import markup
from gleitzeit_nb.jupyter.dashboard.markup import Piece
from gleitzeit_nb.snapshot import Snapshot
from tests.support.snapshots import MOCK_UP, large

pytest.importorskip("ipywidgets", reason="ipywidgets is not installed")
from gleitzeit_nb.jupyter.dashboard.widgets import DashboardWidgets

TICK_BYTES = 20_000


@pytest.fixture
def widgets() -> Iterator[DashboardWidgets]:
    made = DashboardWidgets(lambda _paused: None, lambda _command, _instance: None)
    yield made
    made.close()


def pieces(snapshot: Snapshot) -> tuple[Piece, ...]:
    return markup.live(snapshot, "live")


def busier(snapshot: Snapshot, load: int) -> Snapshot:
    """Everything in it changed."""
    return replace(snapshot, in_flight=load, instances=tuple(replace(view, in_flight=load) for view in snapshot.instances))


def test_what_did_not_change_is_not_sent_again(widgets: DashboardWidgets) -> None:
    assert widgets.show(pieces(MOCK_UP)) > 0
    assert widgets.show(pieces(MOCK_UP)) == 0
    pool = large(100)
    assert widgets.show(pieces(pool)) > 60_000
    one = replace(pool, instances=(replace(pool.instances[0], in_flight=5), *pool.instances[1:]))
    assert 0 < widgets.show(pieces(one)) < TICK_BYTES


def test_a_hundred_busy_instances_take_turns_behind_the_first_line(widgets: DashboardWidgets) -> None:
    """All of it changes all the time: no page waits for ever, and the head is always of now."""
    pool = large(100)
    widgets.show(pieces(pool))
    waits = [0] * len(widgets.shown)
    for load in range(1, 60):
        now = pieces(busier(pool, load))
        assert 0 < widgets.show(now, TICK_BYTES) <= TICK_BYTES
        wanted = [piece.draw() for piece in now]
        assert widgets.shown[0] == wanted[0]
        waits = [0 if one == other else waited + 1 for one, other, waited in zip(widgets.shown, wanted, waits, strict=True)]
        assert max(waits) <= len(waits)
    ticks = 0
    while widgets.lags(now):
        widgets.show(now, TICK_BYTES)
        ticks += 1
    assert ticks <= len(waits)


def test_what_has_to_wait_is_not_drawn_before(widgets: DashboardWidgets) -> None:
    widgets.show(pieces(large(100)))
    asked: list[int] = []

    def counted(index: int, piece: Piece) -> Piece:
        return Piece(piece.of, lambda: (asked.append(index), piece.draw())[1])

    now = tuple(counted(index, piece) for index, piece in enumerate(pieces(busier(large(100), 3))))
    widgets.show(now, TICK_BYTES)
    assert 2 <= len(asked) <= 3
    while widgets.lags(now):
        widgets.show(now, TICK_BYTES)
    assert set(asked) == set(range(11)), "what is below the instances did not change"


def test_a_pool_that_grows_or_shrinks_keeps_the_pieces_that_stay(widgets: DashboardWidgets) -> None:
    widgets.show(pieces(large(30)))
    first = widgets.shown[0]
    widgets.show(pieces(large(100)))
    assert len(widgets.shown) == 12
    widgets.show(pieces(large(30)))
    assert len(widgets.shown) == 5
    assert widgets.shown[0] == first
    widgets.show(pieces(MOCK_UP))
    assert len(widgets.shown) == 1
