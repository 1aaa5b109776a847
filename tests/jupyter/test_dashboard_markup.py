"""The dashboard's markup: what it shows, and that no string in it is ever more than text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.jupyter.dashboard import markup as dashboard_markup
from gleitzeit_nb.jupyter.dashboard.markup import Pill
from gleitzeit_nb.jupyter.dashboard.parts import spark, thinned
from gleitzeit_nb.snapshot import FailoverView, SecurityCount, SecurityNote, SecurityView, Snapshot, WarmModel
from tests.support.snapshots import EMPTY, MOCK_UP, hostile, instance, large, mode, session

TAGS = {
    "section",
    "div",
    "b",
    "span",
    "table",
    "caption",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "i",
    "u",
    "svg",
    "path",
    "col",
    "colgroup",
    "br",
    "bdi",
}
ATTRIBUTES = {"class", "aria-label", "scope", "colspan", "title", "role", "d", "style"}
VALUES = {
    "class": re.compile(r"gz-[a-z]+( gz-[a-z]+)*"),
    "style": re.compile(r"width:\d{1,3}%"),
    "d": re.compile(r"(M\d+(\.\d+)? \d+(h0|l\d+(\.\d+)?[+-]\d+( \d+(\.\d+)?[+-]\d+)*))+"),
    "scope": re.compile(r"row|col"),
    "role": re.compile(r"img"),
}


class Markup(HTMLParser):
    """`faults`: what the dashboard never writes. `cells`: the visible text of each row's cells, by table caption."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.open: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.labels: list[str] = []
        self._caption = ""
        self.feed(markup)
        self.close()
        self.faults += [f"<{tag}> is not closed" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS:
            self.faults.append(f"<{tag}>")
        for name, value in attrs:
            if name not in ATTRIBUTES or (name in VALUES and not VALUES[name].fullmatch(value or "")):
                self.faults.append(f"<{tag} {name}={value!r}>")
            if name == "aria-label":
                self.labels.append(value or "")
        if tag not in ("br", "col"):
            self.open.append(tag)
        if tag == "tr" and self._caption:
            self.tables[self._caption].append([])
        elif tag in ("td", "th") and self._caption:
            self.tables[self._caption][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> out of place")

    def handle_data(self, data: str) -> None:
        if "caption" in self.open:
            self._caption = data
            self.tables[data] = []
        elif self.tables.get(self._caption) and self.tables[self._caption][-1]:
            self.tables[self._caption][-1][-1] += data

    def handle_comment(self, data: str) -> None:
        self.faults.append(f"<!--{data}-->")

    def handle_decl(self, decl: str) -> None:
        self.faults.append(f"<!{decl}>")

    def handle_pi(self, data: str) -> None:
        self.faults.append(f"<?{data}>")


def drawn(snapshot: Snapshot, pill: Pill) -> str:
    return "".join(piece.draw() for piece in dashboard_markup.live(snapshot, pill))


def rows(snapshot: Snapshot, caption: str) -> list[list[str]]:
    """The body of one table."""
    return [[cell.replace("\u00a0", " ") for cell in row] for row in Markup(drawn(snapshot, "live")).tables[caption][1:]]


def test_the_tables_of_the_mock_up_are_there() -> None:
    assert rows(MOCK_UP, "Ollama instances") == [
        ["local", "cpu", "OK", "2/5", "120 ms", "0.1 %", "", "llama3.2 CPU"],
        ["gpu-1", "gpu 48 GB", "OK", "3/3", "200 ms", "0.0 %", "", "llama3.2:70b GPU 100 %mixtral GPU 62 %"],
        ["gpu-2", "gpu vision", "Draining", "1/2", "180 ms", "0.0 %", "", "llava GPU 100 %"],
        ["backup", "remote", "Failed", "–", "–", "100 %", "refused 5 times, next probe in 14 s"],
    ]
    assert rows(MOCK_UP, "Python execution") == [
        ["Sandbox", "3", "1", "4/5", "212 MB"],
        ["Data science", "1", "0", "1/2", "640 MB"],
        ["Local", "–", "–", "disabled"],
    ]
    failovers = rows(MOCK_UP, "Recent failovers")
    assert [row[1:] for row in failovers] == [["backup → gpu-1", "no first token in 5 s"], ["gpu-2 → local", "refused"]]


def test_the_head_sums_up() -> None:
    assert "3 of 4 instances up · 6 in flight, 2 queued · 63 tok/s · sandbox 4 containers" in drawn(MOCK_UP, "live")


def test_unknown_is_never_a_zero() -> None:
    unknown = instance(state="unknown", latency_s=None, error_rate=None, tokens_per_s=(), warm=(WarmModel("m", None),))
    [row] = rows(replace(EMPTY, instances=(unknown,)), "Ollama instances")
    assert row[2:] == ["Unknown", "–", "–", "–", "–"]
    [row] = rows(replace(EMPTY, modes=(mode(memory_bytes=None),)), "Python execution")
    assert row[-1] == "–"


def test_a_degraded_instance_says_why_beside_its_models() -> None:
    [row] = rows(replace(EMPTY, instances=(instance(state="degraded", reason="slow probe"),)), "Ollama instances")
    assert row[2] == "Degraded"
    assert row[-1] == "llama3.2 CPUslow probe"


def test_what_is_weaker_about_a_mode_is_told() -> None:
    [row] = rows(replace(EMPTY, modes=(mode(note="no cgroup"),)), "Python execution")
    assert row[3] == "4/5no cgroup"


def test_an_empty_pool_says_what_to_do() -> None:
    assert "ollama serve" in drawn(EMPTY, "live")


def test_a_sparkline_is_told_in_words() -> None:
    labels = Markup(drawn(MOCK_UP, "live")).labels
    assert "tokens per second of local, last minute: now 18, at most 18" in labels
    assert any(label.startswith("load of gpu-1, last minute: now ") and "%" in label for label in labels)
    assert any(label.startswith("latency of gpu-1, last minute: now ") and "ms" in label for label in labels)


def test_every_row_is_headed_and_every_column_named() -> None:
    full = replace(
        MOCK_UP, sessions=(session(),), security=SecurityView((SecurityCount("oom", "x", 1),), (SecurityNote(1.0, "oom", "x", ""),))
    )
    markup = drawn(full, "live")
    captions = ["Ollama instances", "Running", "Python execution", "Recent failovers", "Containers", "Sandbox sessions", "Security events"]
    assert re.findall("<caption>(.*?)</caption>", markup) == captions
    rows_of_values = markup.count("<tr>") - len(captions) - 1  # the heads, and the line that sums up the security events
    assert markup.count('scope="row"') == rows_of_values
    assert markup.count('scope="col"') == 8 + 6 + 5 + 3 + 6 + 6 + 4


def test_what_goes_on_is_listed_with_its_pace() -> None:
    assert [[cell.strip() for cell in row] for row in rows(MOCK_UP, "Running")] == [
        ["[12] %%llm", "llama3.2:70b on gpu-1", "answering on gpu-1, 312 tokens", "14 s", "312", "41"],
        ["[job 3] batch", "", "128 of 500, 3 failed, 2 min left", "90 s", "–", ""],
    ]
    many = replace(MOCK_UP, runs=MOCK_UP.runs * 10, runs_total=400)
    assert rows(many, "Running")[-1] == ["and 392 more"]


def test_containers_are_listed_with_their_memory() -> None:
    first, _, third = rows(MOCK_UP, "Containers")
    assert first == ["3f2a9c1d5b7e", "Sandbox", "running", "5 min", "3", "61 MB"]
    assert third[2] == "session work"
    assert rows(replace(MOCK_UP, container_list=MOCK_UP.container_list * 10), "Containers")[-1] == ["and 18 more"]


def test_a_line_has_a_gap_where_nothing_is_known_and_is_none_for_one_value() -> None:
    assert path((1.0, None, 0.0, 2.0)) == "M0 7h0M56 13l28-12"
    assert spark((None, 1.0), "x", str) == ""


def path(series: Sequence[float | None], points: int = 5) -> str:
    [found] = re.findall(' d="(.*?)"', spark(series, "x", str, points=points))
    return found


def test_a_level_stretch_is_one_line() -> None:
    assert path((0.0, 0.0, 0.0, 0.0, 0.0)) == "M0 13l84+0"
    assert path((2.0, 2.0, 2.0, 0.0, 0.0)) == "M0 1l42+0 21+12 21+0"


def test_a_thinned_line_is_of_the_means_of_what_is_known() -> None:
    assert list(thinned((1.0, 3.0, None, 4.0, None, None, 5.0), 4)) == [2.0, 4.0, None, 5.0]
    assert list(thinned((1.0, None), 4)) == [1.0, None]
    assert len(thinned((1.0,) * 30, 15)) == 15


def test_a_large_pool_is_drawn_in_pieces_of_which_only_some_change() -> None:
    before = large(100)
    busy = replace(before.instances[30], in_flight=5)
    after = replace(before, instances=(*before.instances[:30], busy, *before.instances[31:]))
    pieces, others = dashboard_markup.live(before, "live"), dashboard_markup.live(after, "live")
    assert len(pieces) == len(others) == 1 + 10 + 1
    assert [one == other for one, other in zip(pieces, others, strict=True)].count(False) == 1
    captions = [f"Ollama instances {first} to {first + 9} of 100" for first in range(1, 100, 10)]
    names = [row[0] for piece, caption in zip(pieces[1:], captions, strict=False) for row in Markup(piece.draw()).tables[caption][1:]]
    assert names == [view.id for view in before.instances]


@pytest.mark.parametrize("snapshot", [MOCK_UP, EMPTY, hostile(), large(100)], ids=["mock-up", "empty", "hostile", "100 instances"])
def test_only_what_the_dashboard_writes_is_in_it(snapshot: Snapshot) -> None:
    assert Markup(drawn(snapshot, "paused")).faults == []
    static = dashboard_markup.static(snapshot)
    assert static.startswith("<style>")
    assert Markup(static[len(dashboard_markup.style()) :]).faults == []


def test_the_style_asks_the_network_for_nothing() -> None:
    style = dashboard_markup.style()
    assert re.findall(r"url\((?!\"data:image/svg\+xml,|%23m\))|@import|expression|behavior", style) == []
    assert style.count("<style") == style.count("</style") == 1
    assert "/*" not in style


def test_nothing_in_it_moves_by_itself() -> None:
    assert re.findall(r"animation|transition|@keyframes|scroll-behavior", dashboard_markup.style()) == []


def test_the_style_touches_nothing_outside_the_dashboard() -> None:
    rules = re.sub(r"@(media|container) \([^)]*\) ", "", dashboard_markup.style()[len("<style>") :])
    selectors = [each for rule in re.findall(r"([^{}]+)\{", re.sub(r"url\(\"[^\"]*\"\)", "", rules)) for each in rule.split(",")]
    assert len(selectors) > 40
    assert [each for each in map(str.strip, selectors) if each and not each.startswith((".gz-dash", ".gz-scroll"))] == []


def test_a_hostile_name_is_shown_cut_and_with_what_it_hides() -> None:
    [first, *_] = rows(hostile(), "Ollama instances")
    assert first[0].startswith("<script>alert(1)</script>")
    assert len(first[0]) <= 60
    assert "⟦U+202E⟧" in first[1]
    assert "\x1b" not in "".join(first)


ANYTHING = st.text(st.characters(), max_size=100) | st.sampled_from(
    ["'\"><svg onload=x>", "</style><script>", "&lt;b&gt;", "]]>", "<!--", "\x00<b>"]
)
NUMBER = st.floats(min_value=0, max_value=1e12) | st.none()


@given(ANYTHING, ANYTHING, ANYTHING, NUMBER, st.integers(0, 10**9), st.booleans())
def test_no_string_becomes_markup(name: str, model: str, reason: str, number: float | None, count: int, yes: bool) -> None:
    shown = replace(
        EMPTY,
        instances=(
            instance(name, url=model, tags=(reason, name), reason=reason, warm=(WarmModel(model, number),), latency_s=number),
            instance(model, state=reason, breaker="open" if yes else name, retry_in_s=number, error_rate=number, in_flight=count),
        ),
        modes=(mode(name, model, enabled=yes, note=reason, memory_bytes=count), mode(reason, name, available=yes)),
        failovers=(FailoverView(1.0, name, model, reason, name),),
        queue_depth=count,
        tokens_per_s=number or 0.0,
    )
    for markup in (drawn(shown, "live"), dashboard_markup.static(shown)[len(dashboard_markup.style()) :]):
        assert Markup(markup).faults == []
        markup.encode()  # no lone surrogate, which no message could carry


def test_a_hundred_instances_take_about_a_kilobyte_each_with_their_three_lines() -> None:
    pool = large(100)
    assert all(len(set(view.tokens_per_s)) > 10 for view in pool.instances)
    labels = Markup(drawn(pool, "live")).labels
    for line in ("load", "latency", "tokens per second"):
        assert sum(label.startswith(f"{line} of gpu-") for label in labels) == 100
    assert len(drawn(pool, "live")) < 110_000


def test_a_session_is_a_row_of_its_own() -> None:
    [row] = rows(replace(MOCK_UP, sessions=(session(),)), "Sandbox sessions")
    assert [*row[:4], row[5]] == ["work", "Sandbox", "idle", "3", "24 MB"]
