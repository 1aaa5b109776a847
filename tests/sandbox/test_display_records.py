"""What code says that it shows, read by the host as if an enemy had sent it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gleitzeit_nb.core.displays import Column, Display, Table
from gleitzeit_nb.sandbox import protocol
from gleitzeit_nb.sandbox.displays import DisplayReader, read_table
from gleitzeit_nb.sandbox.values import Report, ReportReader
from tests.support.pictures import jpeg, png


def record(content: dict[str, bytes], **more: Any) -> bytes:
    header = {"value": True, "parts": [[kind, len(data)] for kind, data in content.items()], **more}
    return protocol.json_frame(protocol.DISPLAY, header) + protocol.frame(protocol.DATA, b"".join(content.values()))


def read(stream: bytes, *, most: int = 1 << 20, outputs: tuple[str, ...] = (), html: bool = False) -> tuple[DisplayReader, Report]:
    displays = DisplayReader(most, html=html)
    reader = ReportReader(outputs, 1000, displays)
    reader.feed(stream)
    return displays, reader.finish()


VALUE = protocol.json_frame(protocol.VALUE, {"name": "x", "kind": "bytes", "bytes": 3}) + protocol.frame(protocol.DATA, b"one")
TABLE = {"columns": [["a", "int64"]], "rows": [[1]], "labels": [0], "index_name": "", "shape": [1, 1], "gaps": [None, None]}


def table(**changes: Any) -> bytes:
    return json.dumps({**TABLE, **changes}).encode()


@pytest.mark.parametrize(
    "hostile",
    [
        protocol.frame(protocol.DISPLAY, b"[]"),
        protocol.frame(protocol.DISPLAY, b"\xff\xfe"),
        protocol.frame(protocol.DISPLAY, b"[" * 4000),
        protocol.json_frame(protocol.DISPLAY, {}),
        record({"text": b"t"}, value=1),
        record({"text": b"t"}, parts=[]),
        record({"text": b"t"}, parts=[["text", -1]]),
        record({"text": b"t"}, parts=[["text", True]]),
        record({"text": b"t"}, parts=[["text", 1e9]]),
        record({"text": b"t"}, parts=[["text", 1], ["text", 1]]),
        record({"text": b"t"}, parts=[["script", 1]]),
        record({"text": b"t"}, parts=[[["text"], 1]]),
        record({"text": b"t"}, parts=[{}]),
        record({"text": b"t"}, parts=[["text", 1 << 40]]),
        record({"text": b"longer than it says"}, parts=[["text", 3]]),
        record({"text": b"less"}, parts=[["text", 300]]),
        record({"png": png()}),
        protocol.json_frame(protocol.DISPLAY, {"value": True, "parts": [["text", 5]]}),
    ],
)
def test_a_malformed_display_costs_itself_alone(hostile: bytes) -> None:
    displays, report = read(hostile + record({"text": b"fine"}) + VALUE, outputs=("x",))
    assert (displays.dropped, [shown.text for shown in displays.displays], report.outputs) == (1, ["fine"], {"x": b"one"})


@pytest.mark.parametrize(
    "parts",
    [
        {"png": png(100_000, 100_000)},
        {"png": b"<script>"},
        {"jpeg": jpeg(65_535, 65_535)},
        {"svg": b"<html>"},
        {"table": b"[" * 100_000},
        {"table": b"{" + b'"a":{' * 50_000},
        {"table": b"\xff"},
        {"html": b"<script>alert(1)</script>"},
    ],
    ids=lambda parts: next(iter(parts)),
)
def test_a_false_part_is_dropped_and_the_text_is_shown(parts: dict[str, bytes]) -> None:
    displays, _ = read(record({"text": b"caf\xe9", **parts}))
    assert displays.displays == [Display("caf�", is_value=True)]
    assert displays.dropped == 1


def test_forged_html_is_passed_on_to_whoever_trusts_it_and_nobody_else() -> None:
    assert read(record({"text": b"t", "html": b"<b>"}), html=True)[0].displays[0].html == "<b>"
    assert read(record({"text": b"t", "html": b"<b>"}))[0].displays[0].html is None


def test_a_million_displays_are_bounded() -> None:
    displays, report = read(record({"text": b"t"}) * 20_000 + VALUE, outputs=("x",))
    assert (len(displays.displays), displays.dropped) == (protocol.MAX_DISPLAYS, 20_000 - protocol.MAX_DISPLAYS)
    assert report.outputs == {"x": b"one"}


def test_the_allowance_counts_what_was_announced() -> None:
    displays, _ = read(record({"text": b"x" * 400}) * 5, most=1000)
    assert (len(displays.displays), displays.dropped) == (2, 3)


@pytest.mark.parametrize(("count", "dropped"), [(5, 5), (-5, 1), ("5", 1), (True, 1), (1e300, 1), (1 << 40, 1)])
def test_the_codes_own_count_of_what_it_left_out_is_bounded(count: Any, dropped: int) -> None:
    assert read(protocol.json_frame(protocol.UNSHOWN, {"count": count}))[0].dropped == dropped


def test_a_listener_that_fails_hears_no_more(caplog: pytest.LogCaptureFixture) -> None:
    def listen(_: Display) -> None:
        raise OSError("gone")

    displays = DisplayReader(1000, on_display=listen)
    ReportReader((), 1, displays).feed(record({"text": b"t"}) * 2)
    assert len(displays.displays) == 2
    assert caplog.text.count("hears no more") == 1


def test_a_good_table_is_read() -> None:
    assert read_table(table()) == Table((Column("a", "int64"),), ((1,),), (0,), "", 1, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"columns": [["a"]]},
        {"columns": [[1, 2]]},
        {"columns": "a"},
        {"columns": [["a", ""]] * 61, "rows": [[1] * 61]},
        {"rows": [[1, 2]]},
        {"rows": [[[1]]]},
        {"rows": [[{}]]},
        {"rows": [1]},
        {"rows": [[1]] * 201, "labels": None, "shape": [201, 1]},
        {"labels": [0, 1]},
        {"labels": [[0]]},
        {"index_name": None},
        {"shape": [0, 1]},
        {"shape": [1.0, 1]},
        {"shape": [1, 1 << 70]},
        {"gaps": [2, None]},
        {"gaps": [True, None]},
        {"gaps": None},
        {"more": 1},
    ],
)
def test_an_impossible_table_is_refused(changes: dict[str, Any]) -> None:
    assert read_table(table(**changes)) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*TABLE, "value", "parts", "text", "png"]), inner, max_size=6)
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(TABLE)), JSON))
def test_any_json_is_a_table_that_can_be_drawn_or_none(changes: dict[str, Any]) -> None:
    found = read_table(table(**changes))
    if found is not None:
        widths = {len(line) for line in found.drawn()}
        assert len(widths) == 1
        json.dumps(found.drawn()).encode()


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(protocol.FROM_CODE)), JSON.map(lambda each: json.dumps(each).encode()) | st.binary(max_size=40))
    )
)
def test_no_sequence_of_records_raises(records: list[tuple[bytes, bytes]]) -> None:
    stream = b"".join(protocol.frame(kind, payload) for kind, payload in records)
    displays, _ = read(stream)
    assert all(isinstance(shown, Display) for shown in displays.displays)
    assert displays.dropped >= 0
