"""The text that `status` prints: aligned, complete, and harmless on a terminal whatever the names are."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.doctor import Finding
from gleitzeit_nb.rendering.text import columns, findings_text, status_text
from gleitzeit_nb.snapshot import FailoverView, WarmModel
from tests.support.snapshots import EMPTY, MOCK_UP, hostile, instance, mode


def test_the_tables_of_the_dashboard_are_there() -> None:
    text = status_text(MOCK_UP)
    assert text.startswith("Pool: 3 up, 1 down\n6 in flight, 2 queued · 63 tok/s · sandbox 4 containers\n")
    assert "Ollama instances" in text
    assert "  gpu-1     OK        3/3   200 ms   0.0 %   llama3.2:70b GPU 100 %, mixtral GPU 62 %" in text
    assert "backup: refused 5 times, next probe in 14 s" in text
    assert "Sandbox (default)  3       1       4/5         212 MB" in text
    assert "Local              –       –       –           –       disabled" in text
    assert "gpu-2   local  refused" in text


def test_without_an_instance_it_says_what_to_do() -> None:
    text = status_text(EMPTY)
    assert text.startswith("Pool: no instance")
    assert "ollama serve" in text


def test_columns_stand_under_each_other_also_with_wide_letters() -> None:
    lines = columns([("Name", "Load"), ("例え", "1/2"), ("e\u0301tude", "2/2"), ("abcdef", "3/3")]).split("\n")
    assert [
        line.rindex(word) + line.count("例え") * 2 - line.count("\u0301")
        for line, word in zip(lines, ("Load", "1/2", "2/2", "3/3"), strict=True)
    ] == [8] * 4


ANYTHING = st.text(st.characters(), max_size=80)


@given(ANYTHING, ANYTHING, ANYTHING)
def test_no_name_acts_on_a_terminal(name: str, model: str, reason: str) -> None:
    shown = replace(
        EMPTY,
        instances=(instance(name, url=name, tags=(name,), warm=(WarmModel(model, 0.5),), reason=reason),),
        modes=(mode(name, model, note=reason),),
        failovers=(FailoverView(0.0, name, model, reason, model),),
    )
    text = status_text(shown)
    assert not [char for char in text if unicodedata.category(char) in ("Cc", "Cs") and char != "\n"]
    text.encode()  # no lone surrogate either
    assert len(text.split("\n")) <= 16


def test_hostile_names_keep_their_lines() -> None:
    assert len(status_text(hostile()).split("\n")) == 37


def test_a_finding_of_several_lines_is_indented_under_its_first() -> None:
    text = findings_text([Finding("ok", "python", "3.11"), Finding("missing", "ollama", "none\nStart one: ollama serve")])
    assert text.split("\n") == ["ok       python  3.11", "missing  ollama  none", "                 Start one: ollama serve"]


def test_what_runs_and_the_containers_are_listed() -> None:
    text = status_text(replace(MOCK_UP, runs=MOCK_UP.runs * 5, runs_total=40))
    assert "[job 3] batch" in text
    assert "128 of 500, 3 failed, 2 min left" in text
    assert "and 32 more" in text
    assert "session work" in text
    assert "24 MB" in text
