"""`%%llm -n`: several answers at once, in a real IPython shell over a scripted pool."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gleitzeit_nb.core.requests import Chunk, LLMRequest
from gleitzeit_nb.errors import AnswersFailedError, NoInstanceError, StreamInterruptedError, UsageError
from gleitzeit_nb.jupyter.llm.answer_columns import Column, DrawnColumns, PrintedColumns, columns_html, columns_text
from gleitzeit_nb.jupyter.markdown.harmless import harmless
from gleitzeit_nb.jupyter.markdown.html_writer import _BARE, _PREFORMATTED, _UNDRAWN, html_of
from tests.jupyter.html_check import Page
from tests.support.hostile import NAME, answers
from tests.support.shell import FakePool, Shell, reply_of


class ByNumber(FakePool):
    """Answers, or fails, by the number behind the request's id."""

    ends: dict[int, Any]  # the text, or the error

    async def stream_request(self, request: LLMRequest) -> AsyncIterator[Chunk]:
        self.requests.append(request)
        number = int(request.id.rpartition(".")[2])
        end = self.ends[number]
        try:
            if isinstance(end, BaseException):
                yield Chunk("partly")
                raise end
            if end is None:
                yield Chunk(f"begun {number}")
                await asyncio.sleep(60)
            yield Chunk(end)
            yield Chunk(reply=reply_of(end, instance=f"north-{number}"))
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise


@pytest.fixture
def pool(shell: Shell) -> ByNumber:
    made = ByNumber()
    shell.engine.pool = made
    return made


def seeds(pool: FakePool) -> list[Any]:
    return [request.options["seed"] for request in pool.requests]


def test_so_many_answers_are_asked_for_at_once_and_bound_as_a_list(shell: Shell, pool: ByNumber) -> None:
    pool.ends = {0: "**one**", 1: "two", 2: "three"}
    cell = shell.run("%%llm -n 3 -o found\nhi")
    assert [str(each) for each in shell.ip.user_ns["found"]] == ["**one**", "two", "three"]
    assert cell.value is shell.ip.user_ns["found"]
    assert cell.shown_value["text/plain"] == "3 answers · north-0, north-1, north-2"
    assert [request.label for request in pool.requests] == [f"[1] %%llm {number}/3" for number in (1, 2, 3)]
    assert len({request.id for request in pool.requests}) == 3
    assert len({request.session for request in pool.requests}) == 3
    last = cell.displays[-1]
    assert last["data"]["text/html"].count("<section") == 3
    assert "<strong>one</strong>" in last["data"]["text/html"]
    assert "[2 of 3] ✓ north-1 · smollm2:135m" in last["data"]["text/plain"]
    assert [each["instance"] for each in last["metadata"]["gleitzeit_nb"]["answers"]] == ["north-0", "north-1", "north-2"]


def test_in_a_later_cell_the_columns_are_shown_again_and_one_of_them_alone(shell: Shell, pool: ByNumber) -> None:
    pool.ends = {0: "**one**", 1: "two"}
    shell.run("%%llm -n 2 -o found\nhi")
    again = shell.run("found").shown_value
    assert again["text/html"].count("<section") == 2
    assert again["text/html"].endswith("2 answers · north-0, north-1</div>")
    assert "[2 of 2] ✓ north-1 · smollm2:135m" in again["text/plain"]
    assert shell.run("found[1]").shown_value["text/markdown"].startswith("two\n\n*north-1 · ")


def test_every_answer_has_a_seed_and_asking_again_takes_others(shell: Shell, pool: ByNumber) -> None:
    pool.ends = dict.fromkeys(range(3), "x")
    shell.run("%%llm -n 3\nhi")
    shell.run("%%llm -n 2\nhi")
    shell.run("%%llm -n 2\nanother")
    shell.run("%%llm -n 2 --option seed=40\nhi")
    assert seeds(pool) == [1, 2, 3, 4, 5, 1, 2, 40, 41]


@pytest.mark.parametrize("number", ["0", "9", "-1", "two", "1.5"])
def test_the_number_of_answers_is_limited(shell: Shell, number: str) -> None:
    assert "is not a number from 1 to 8" in str(shell.run(f"%%llm -n {number}\nhi").error) or number == "-1"
    assert isinstance(shell.run(f"%%llm -n {number}\nhi").error, UsageError)
    assert shell.engine.pool.requests == []


@pytest.mark.parametrize("option", ["--tools look", "--run", "--embed"])
def test_what_only_one_answer_can_do_is_refused(shell: Shell, option: str) -> None:
    shell.run("def look(): return 1")
    assert isinstance(shell.run(f"%%llm -n 2 {option}\nhi").error, UsageError)
    assert shell.engine.pool.requests == []


def test_one_that_fails_leaves_the_others_and_the_cell_fails(shell: Shell, pool: ByNumber) -> None:
    pool.ends = {0: "good", 1: StreamInterruptedError("north stalled\nmore", partial="partly", instance="north"), 2: "also good"}
    cell = shell.run("%%llm -n 3 -o found\nhi")
    assert isinstance(cell.error, AnswersFailedError)
    assert cell.error.failures == (("2", "StreamInterruptedError: north stalled"),)
    assert "The others stand above, and in found." in str(cell.error)
    assert len(cell.error_lines) <= 6
    assert [str(each) for each in shell.ip.user_ns["found"]] == ["good", "also good"]
    text = cell.displays[-1]["data"]["text/plain"]
    assert "partly" in text
    assert "✗ the answer was cut here; StreamInterruptedError: north stalled" in text


def test_when_all_fail_the_first_failure_is_the_cells(shell: Shell, pool: ByNumber) -> None:
    pool.ends = dict.fromkeys(range(2), NoInstanceError("nobody"))
    assert isinstance(shell.run("%%llm -n 2\nhi").error, NoInstanceError)


def test_an_interrupt_cancels_all_and_keeps_what_had_come(shell: Shell, pool: ByNumber, interrupting: Any) -> None:
    pool.ends = {0: "whole", 1: None, 2: None}
    with interrupting(after_s=0.5):
        cell = shell.run("%%llm -n 3\nhi")
    assert isinstance(cell.error, KeyboardInterrupt)
    assert pool.ended == ["cancelled", "cancelled"]
    text = cell.displays[-1]["data"]["text/plain"]
    assert "begun 1" in text
    assert text.count("■ interrupted") == 2
    assert "✓ north-0" in text


def test_the_thread_takes_the_first_answer_until_another_is_chosen(shell: Shell, pool: ByNumber) -> None:
    pool.ends = {0: "one", 1: "two"}
    cell = shell.run("%%llm -n 2 --thread t -o found\nhi")
    assert "thread t, turn 1: answer 1 of these; .choose(N) takes another" in cell.shown_value["text/plain"]
    assert [turn.answer for turn in shell.front.threads["t"].turns] == ["one"]
    shell.run("found.choose(2)")
    assert [turn.answer for turn in shell.front.threads["t"].turns] == ["two"]
    assert "answer 2 of these" in repr(shell.ip.user_ns["found"])
    assert isinstance(shell.run("found.choose(3)").error, UsageError)
    pool.ends = {0: "later", 1: "x"}
    shell.run("%%llm -n 1 --thread t\nand?")
    assert "has gone on since" in str(shell.run("found.choose(1)").error)
    assert "no conversation" in str(shell.run("%llm reset t\nx = 1\nfound._talk = None\nfound.choose(1)").error)


def test_quiet_shows_nothing_and_a_schema_shows_code(shell: Shell, pool: ByNumber) -> None:
    pool.ends = dict.fromkeys(range(2), '{"a": 1}')
    cell = shell.run("%%llm -n 2 -q -o found\nhi")
    assert (cell.displays, cell.value) == ([], None)
    shown = shell.run("%%llm -n 2 --format json\nhi").displays[-1]["data"]["text/html"]
    assert "<pre" in shown


def test_a_terminal_gets_each_answer_in_order(terminal: Shell) -> None:
    pool = ByNumber()
    terminal.engine.pool = pool
    pool.ends = {0: "one\x1b[2J", 1: "two"}
    printed = terminal.run("%%llm -n 2\nhi").stdout
    assert printed.startswith("[1 of 2]\none␛[2J\n✓ north-0 ·")
    assert printed.index("✓ north-0") < printed.index("[2 of 2]\ntwo\n✓ north-1")


def test_a_terminal_shows_the_first_that_is_not_whole_as_it_comes() -> None:
    out = io.StringIO()
    view, first, second = PrintedColumns(out), Column(1, 2), Column(2, 2)
    for column, text in ((second, "later"), (first, "one "), (first, "two ")):
        column.take(Chunk(text))
        view.show([first, second])
    assert out.getvalue() == "[1 of 2]\none two "
    first.take(Chunk(restart=True))
    first.take(Chunk("anew"))
    view.show([first, second])
    assert out.getvalue().endswith("one two \n(asked again)\nanew")
    first.take(Chunk(reply=reply_of("anew.")))
    view.show([first, second])
    assert "\nanew.\n✓ north · " in out.getvalue()
    assert out.getvalue().endswith("[2 of 2]\nlater")
    second.state = "interrupted"
    view.finish([first, second], {})
    assert out.getvalue().endswith("[2 of 2]\nlater\n■ interrupted\n")


def test_without_streaming_there_is_one_display(shell: Shell, pool: ByNumber) -> None:
    pool.ends = dict.fromkeys(range(2), "x")
    assert len(shell.run("%%llm -n 2 --no-stream\nhi").displays) == 1


def test_repaints_stay_within_the_traffic_limit() -> None:
    now = [0.0]
    sent: list[int] = []

    def publish(data: dict[str, Any], _metadata: dict[str, Any], _update: bool) -> None:
        sent.append(len(data["text/html"]))

    view = DrawnColumns(publish, lambda text: text, clock=lambda: now[0], sleep=lambda _s: None)
    columns = [Column(number, 3) for number in (1, 2, 3)]
    for step in range(1000):
        for column in columns:
            column.take(Chunk(f"word{step} " * 10))
        view.show(columns)
        now[0] += 0.01
    assert len(sent) <= 100
    assert sum(sent) <= 160_000 * 10


# -- what is drawn ----------------------------------------------------------------------------------------------------------------


def column(text: str) -> Column:
    made = Column(1, 1)
    made.take(Chunk(text))
    made.take(Chunk(reply=reply_of(text, instance=NAME, model=NAME)))
    return made


@pytest.mark.parametrize("case", answers("http://trap.example"), ids=lambda case: case.name)
def test_a_hostile_answer_is_only_text_in_its_column(case: Any) -> None:
    page = Page(
        html_of(harmless(case.text))
        .replace(' target="_blank" rel="noopener noreferrer"', "")
        .replace(_PRE, "")
        .replace(_FONT, "")
        .replace(_CODE, "")
    )
    assert page.faults == []
    assert [run for run in page.runs if "$" in run or "\\" in run] == []
    visible = "".join(page.visible)
    assert f"first-{case.name}" in visible
    assert f"last-{case.name}" in visible


_PRE = f' style="{_PREFORMATTED}"'
_CODE = f' style="{_BARE}"'
_FONT = f' style="{_UNDRAWN}"'


def test_names_and_errors_are_text_in_a_column() -> None:
    failed = Column(1, 1)
    failed.take(NoInstanceError(NAME))
    waiting = Column(1, 1, status=NAME)
    drawn = columns_html([column("x"), failed, waiting])
    assert "<img" not in drawn
    assert drawn.count("&lt;img") >= 4
    assert "<img" in columns_text([column("x")])


def test_markdown_is_drawn_with_the_tags_of_the_house() -> None:
    text = "# Head\n\n**b** *e* ~~s~~ `c`  \nnext\n\n1. a\n   - b\n\n> q\n\n| x | y |\n|:-:|--|\n| 1 | $2$ |\n\n---\n\n```py\n<a>\n```\n"
    text += "[l](http://a.b/c)"
    drawn = html_of(harmless(text))
    for part in (
        "<p><strong>Head</strong></p>",
        "<strong>b</strong> <em>e</em> <del>s</del> <code>c</code><br>",
        '<ol start="1"><li>a<ul>',
    ):
        assert part in drawn
    for part in ("<blockquote><p>q</p></blockquote>", '<th style="text-align:center">x</th>', "<hr>", "&lt;a&gt;"):
        assert part in drawn
    assert f"<code{_FONT}>$2$</code>" in drawn
    assert '<a href="http://a.b/c" target="_blank" rel="noopener noreferrer">l</a>' in drawn


def test_a_very_long_answer_is_cut_where_it_is_shown() -> None:
    made = column("x" * 400_000)
    assert len(columns_html([made])) < 260_000
    assert "more characters are not shown here" in columns_html([made])
    assert len(columns_text([made])) < 60_000


def test_an_answer_that_begins_anew_forgets_what_it_had() -> None:
    made = Column(1, 1)
    made.take(Chunk("old", thinking="hm"))
    made.take(Chunk(restart=True))
    made.take(Chunk("new"))
    assert (made.text, made.thought) == ("new", 0)
    thinking = Column(1, 1)
    thinking.take(Chunk(thinking="hm"))
    assert thinking.footer() == "thinking, 2 characters"
