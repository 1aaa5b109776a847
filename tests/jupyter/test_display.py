"""How often an answer is repainted, and that its last form is always whole: on a clock that moves by hand."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gleitzeit_nb.jupyter.display.answer import StreamView, TerminalView, WholeView, harmless_json, message_bytes
from gleitzeit_nb.jupyter.display.pace import ANSWERS_BYTES_PER_S, Budget, Pace
from gleitzeit_nb.jupyter.markdown.harmless import harmless
from tests.conftest import FakeClock


class Screen:
    """What a front end would have been sent."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.sent: list[tuple[float, dict[str, Any], bool]] = []
        self.metadata: list[dict[str, Any]] = []

    def publish(self, data: dict[str, Any], metadata: dict[str, Any], update: bool) -> None:
        self.sent.append((self.clock(), data, update))
        self.metadata.append(metadata)

    @property
    def shown(self) -> str:
        return str(self.sent[-1][1]["text/markdown"])

    @property
    def bytes(self) -> int:
        return sum(message_bytes(text) for _, data, _ in self.sent for text in data.values())


@pytest.fixture
def screen(clock: FakeClock) -> Screen:
    return Screen(clock)


@pytest.fixture
def view(screen: Screen, clock: FakeClock) -> StreamView:
    return StreamView(screen.publish, clock, lambda seconds: clock.advance(seconds) and None)


@pytest.mark.parametrize(("cpu_s", "repaints"), [(0.0, range(7, 12)), (0.08, range(2, 4))])
def test_only_work_of_its_own_makes_it_repaint_less_often(screen: Screen, clock: FakeClock, cpu_s: float, repaints: range) -> None:
    worked = FakeClock()

    def written(text: str) -> str:
        clock.advance(0.08)  # others have the processor, too
        worked.advance(cpu_s)
        return text

    view = StreamView(screen.publish, clock, lambda seconds: clock.advance(seconds) and None, written, worked=worked)
    begun = clock()
    while clock() < begun + 1:
        view.add("x ")
        clock.advance(0.01)
    assert len(screen.sent) in repaints


def test_the_first_piece_is_shown_at_once(view: StreamView, screen: Screen) -> None:
    view.add("Hello")
    assert screen.shown == "Hello"
    assert screen.sent[0][2] is False


def test_a_short_answer_is_repainted_twenty_times_a_second_at_most(view: StreamView, screen: Screen, clock: FakeClock) -> None:
    for _ in range(1000):
        view.add("x ")
        clock.advance(0.001)
    assert 15 <= len(screen.sent) <= 21


@pytest.mark.parametrize("size", [1_000, 30_000, 200_000])
def test_traffic_stays_below_its_limit_and_nothing_is_lost(view: StreamView, screen: Screen, clock: FakeClock, size: int) -> None:
    began = clock()
    for _ in range(1000):
        view.add("y" * (size // 1000))
        clock.advance(0.004)
    view.finish({})
    assert screen.shown == "y" * (size // 1000 * 1000)
    assert screen.bytes <= ANSWERS_BYTES_PER_S * (clock() - began) + 2 * message_bytes(screen.shown)


def test_a_tick_without_text_shows_what_came_too_soon(view: StreamView, screen: Screen, clock: FakeClock) -> None:
    view.add("one ")
    view.add("two")
    assert screen.shown == "one"
    clock.advance(0.2)
    view.status("")
    assert screen.shown == "one two"


def test_a_wait_is_told_when_it_lasts_and_when_it_changes(view: StreamView, screen: Screen, clock: FakeClock) -> None:
    for line in ("queued 2nd", "queued 2nd", "queued 1st", "queued 1st"):
        view.status(line)
        clock.advance(0.4)
    assert [data["text/markdown"] for _, data, _ in screen.sent] == ["*queued 2nd*", "*queued 1st*"]
    view.add("text")
    view.status("queued again")
    assert screen.shown == "text"


def test_giving_up_keeps_the_part_and_shows_nothing_where_nothing_was(screen: Screen, clock: FakeClock) -> None:
    StreamView(screen.publish, clock, lambda _: None).give_up("interrupted")
    assert screen.sent == []
    view = StreamView(screen.publish, clock, lambda _: None)
    view.add("part")
    view.give_up("interrupted")
    assert screen.shown == "part\n\n*(interrupted)*"


def test_a_front_end_is_told_what_is_an_answer_and_how_far_it_is(screen: Screen, clock: FakeClock) -> None:
    view = StreamView(screen.publish, clock, lambda seconds: clock.advance(seconds) and None)
    view.status("queued 2nd")
    clock.advance(1)
    view.status("queued 1st")
    clock.advance(1)
    view.add("part")
    view.give_up("interrupted")
    view.finish({"gleitzeit_nb": {"model": "llama3.2", "instance": "north"}})
    states = [metadata.get("gleitzeit_nb") for metadata in screen.metadata]
    assert states == [
        {"state": "waiting"},
        {"state": "arriving"},
        {"state": "cut", "note": "interrupted"},
        {"model": "llama3.2", "instance": "north"},
    ]


def test_an_interrupt_of_the_last_pause_still_shows_the_whole(screen: Screen, clock: FakeClock) -> None:
    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    view = StreamView(screen.publish, clock, interrupted)
    view.add("one ")
    view.add("two" * 5000)
    with pytest.raises(KeyboardInterrupt):
        view.finish({})
    assert screen.shown == "one " + "two" * 5000


def test_a_whole_view_speaks_once(screen: Screen) -> None:
    view = WholeView(screen.publish)
    view.status("queued")
    view.add("one ")
    view.add("two")
    view.finish({})
    assert [data["text/plain"] for _, data, _ in screen.sent] == ["one two"]


def test_json_keeps_its_lines_and_cannot_leave_its_block(screen: Screen) -> None:
    view = WholeView(screen.publish, harmless_json)
    view.add('{\n  "a": "```",\n  "b": "<img src=x>"\n}')
    view.finish({})
    assert screen.shown.splitlines() == ["````json", "{", '  "a": "```",', '  "b": "<img src=x>"', "}", "````"]
    assert screen.sent[0][1]["text/plain"].startswith('{\n  "a"')


def test_a_terminal_is_given_no_escape_sequence_even_in_pieces() -> None:
    out = io.StringIO()
    view = TerminalView(out)
    for piece in ("a\x1b", "]0;title\x07", "b\x1b[3", "1mc\r\n"):
        view.add(piece)
    view.give_up("interrupted")
    assert out.getvalue() == "a␛]0;title␇bc\n(interrupted)\n"


def test_a_terminal_is_told_nothing_of_an_answer_that_never_began() -> None:
    out = io.StringIO()
    TerminalView(out).give_up("failed")
    assert out.getvalue() == ""


@given(st.lists(st.tuples(st.integers(0, 300_000), st.floats(0, 0.5)), min_size=1, max_size=60))
@settings(max_examples=200, deadline=None)
def test_no_sequence_of_messages_goes_over_the_rate(messages: list[tuple[int, float]]) -> None:
    pace, now, sent = Pace(100_000), 0.0, 0
    for size, pause in messages:
        now += pause
        if pace.wait_s(now) == 0:
            assert sent <= 100_000 * now  # what went before has been paid for
            pace.sent(size, now)
            sent += size


def test_long_preparation_makes_repaints_rarer() -> None:
    pace = Pace(1_000_000)
    pace.sent(10, 0.0, cost_s=0.4)
    assert pace.wait_s(0.0) == pytest.approx(2.0)


def test_what_is_shown_is_what_the_markdown_of_the_whole_shows(view: StreamView, screen: Screen, clock: FakeClock) -> None:
    text = "# Title\n\n- a\n- b\n\n```python\nprint('<b>')\n```\n"
    for char in text:
        view.add(char)
        clock.advance(0.06)
    view.finish({})
    assert screen.shown == harmless(text)


def test_an_answer_of_eight_kilobytes_is_repainted_ten_to_twenty_times_a_second(view: StreamView, screen: Screen, clock: FakeClock) -> None:
    view.add("word " * 1500)
    began, before = clock(), len(screen.sent)
    for _ in range(1000):
        view.add("x")
        clock.advance(0.005)
    assert 10 <= (len(screen.sent) - before) / (clock() - began) <= 20


def test_several_views_share_one_budget_and_none_starves(clock: FakeClock) -> None:
    budget = Budget(ANSWERS_BYTES_PER_S)
    paces = [Pace(budget) for _ in range(6)]
    sizes, sent, began = [500, 9_000, 9_000, 60_000, 60_000, 200_000], [0] * 6, clock()
    total = 0
    for _ in range(20_000):
        for index, pace in enumerate(paces):
            if pace.wait_s(clock()) == 0:
                pace.sent(sizes[index], clock())
                sent[index] += 1
                total += sizes[index]
        clock.advance(0.002)
    assert total <= ANSWERS_BYTES_PER_S * (clock() - began) + max(sizes)
    assert total >= 0.9 * ANSWERS_BYTES_PER_S * (clock() - began)
    assert min(sent) >= 0.5 * max(sent)


def test_the_end_of_a_short_answer_waits_for_nobody_and_is_paid_for(screen: Screen, clock: FakeClock) -> None:
    budget = Budget(100_000)
    budget.reserve(1_000_000, clock())
    slept: list[float] = []
    view = StreamView(screen.publish, clock, slept.append, pace=Pace(budget))
    view.add("short")
    view.finish({})
    assert (screen.shown, slept) == ("short", [])
    assert budget.reserve(0, clock()) > clock() + 10


def test_what_was_not_as_large_as_reserved_is_given_back() -> None:
    budget = Budget(1000)
    pace = Pace(budget)
    pace.sent(2000, 0.0)
    assert pace.wait_s(3.0) == 0
    pace.sent(500, 3.0)
    assert budget.reserve(0, 3.0) == pytest.approx(3.5)
