"""What a sandboxed run shows, in a notebook: ours, escaped, or a picture; nothing of the code's is live unless the cell trusts it."""

from __future__ import annotations

import base64

import pytest

from gleitzeit_nb.core.displays import Column, Display, Table
from gleitzeit_nb.core.pictures import Picture
from gleitzeit_nb.jupyter.sandbox.shown import mime_bundle
from tests.support.shell import Shell

EVIL = "<script>alert(1)</script>\u202e\x1b]0;t\x07"
TABLE = Table((Column(EVIL, "<b>"), Column("n", "float64")), ((EVIL, 1.5), (None, 20.25)), (EVIL, 1), EVIL, 100, 2, row_gap=1)


def test_a_table_is_drawn_by_us_and_every_cell_is_escaped() -> None:
    bundle = mime_bundle(Display("the code's own text", TABLE))
    drawn = bundle["text/html"]
    assert "<script" not in drawn
    assert "&lt;script&gt;alert(1)&lt;/script&gt;⟦U+202E⟧" in drawn
    assert "\x1b" not in drawn + bundle["text/plain"]
    assert "<td>20.25</td>" in drawn
    assert drawn.endswith("100 rows × 2 columns</div>")
    assert bundle["text/plain"].splitlines()[-1] == "[100 rows × 2 columns]"


def test_no_formula_is_typeset_in_a_table() -> None:
    drawn = mime_bundle(Display("t", Table((Column("$a$", ""),), (("\\(b\\)",),), None, "", 1, 1)))["text/html"]
    assert "<th><code" in drawn
    assert ">$a$</code></th>" in drawn
    assert ">\\(b\\)</code></td>" in drawn


def test_pictures_go_as_pictures_and_an_svg_only_as_an_image() -> None:
    assert mime_bundle(Display("t", picture=Picture("png", b"\x89", 1, 1)))["image/png"] == base64.b64encode(b"\x89").decode()
    svg = mime_bundle(Display("t", picture=Picture("svg", b"<svg onload='x'>")))
    assert set(svg) == {"text/plain", "text/html"}
    assert svg["text/html"].startswith('<img alt="SVG" src="data:image/svg+xml;base64,')
    assert "onload" not in svg["text/html"]


def test_text_is_made_harmless() -> None:
    assert mime_bundle(Display("\x1b[31mred\x1b[0m\x07\u202e")) == {"text/plain": "red␇⟦U+202E⟧"}


def test_html_is_there_only_where_it_was_trusted() -> None:
    assert mime_bundle(Display("t", html="<b>hi</b>")) == {"text/plain": "t", "text/html": "<b>hi</b>"}


def test_displays_stand_between_what_was_printed(shell: Shell) -> None:
    shell.engine.sandbox.output = [("stdout", "one\n"), Display("42"), ("stdout", "two\n"), Display("'v'", is_value=True)]
    cell = shell.run("%%sandbox\npass")
    assert [shown["data"] for shown in cell.displays] == [{"text/plain": "42"}, {"text/plain": "'v'"}]
    assert cell.stdout.startswith("one\ntwo\n")


@pytest.mark.parametrize(("options", "trusts"), [("", False), ("--trust-html", True)])
def test_trust_is_the_cells_own_word(shell: Shell, options: str, trusts: bool) -> None:
    shell.run(f"%%sandbox {options}\npass")
    assert shell.engine.sandbox.runs[0]["trust_html"] is trusts


def test_quiet_shows_no_displays(shell: Shell) -> None:
    shell.engine.sandbox.output = [Display("42")]
    assert shell.run("%%sandbox -q\npass").displays == []
