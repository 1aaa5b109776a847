"""A name from untrusted code is relative, visible, and the same thing on every machine; or no file is written under it."""

from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.core.filenames import MAX_DEPTH, Names, problem


@pytest.mark.parametrize("name", ["a", "plot.png", "d/e/f.txt", "Größe 1.csv", "データ/表.csv", "a-b_c(1)+~.tar.gz", "-rf", "x" * 240])
def test_ordinary_names_pass(name: str) -> None:
    assert problem(name) == ""


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "no name"),
        ("/etc/passwd", "absolute"),
        ("../x", "leads elsewhere"),
        ("a/../../x", "leads elsewhere"),
        ("a//b", "leads elsewhere"),
        ("a/", "leads elsewhere"),
        ("./a", "leads elsewhere"),
        (".bashrc", "begins with a dot"),
        (".git/hooks/post-checkout", "begins with a dot"),
        ("a/.ssh/b", "begins with a dot"),
        ("a\0b", "holds"),
        ("a\nb", "holds"),
        ("a\x1b[31m", "holds"),
        ("a\u202egnp.exe", "holds"),
        ("a\u200bb", "holds"),
        ("a\u00a0b", "holds"),
        ("C:\\x", "holds"),
        ("a\\..\\b", "holds"),
        ("a:stream", "holds"),
        ("a?", "holds"),
        (" a", "blank"),
        ("a /b", "blank"),
        ("a.", "dot"),
        ("CON", "device"),
        ("d/nul.txt", "device"),
        ("com1 .txt", "device"),
        ("x" * 241, "longer"),
        ("ü" * 130, "longer"),
        ("/".join(["a"] * (MAX_DEPTH + 1)), "deeper"),
        ("a/" * 1000, "longer"),
        ("\ud800", "UTF-8"),
        ("\udcff\udcfe", "UTF-8"),
    ],
)
def test_other_names_are_refused_with_the_reason(name: str, says: str) -> None:
    assert says in problem(name)


@given(st.text(max_size=40) | st.text("./\\:aA\0 ~", max_size=12))
def test_a_name_that_passes_leads_nowhere_else(name: str) -> None:
    if problem(name):
        return
    parts = name.split("/")
    assert os.path.normpath(os.path.join("/top", name)) == "/top/" + name
    assert all(part and not part.startswith(".") for part in parts)
    assert not any(unicodedata.category(char)[0] == "C" for char in name)


def test_names_that_are_one_elsewhere_are_taken_once() -> None:
    names = Names(["Plot.png", "d/e"])
    for other in ("plot.PNG", "Plot.png", "d", "D/E", "d/e/f", "STRASSE"):
        assert bool(names.add(other)) == (other != "STRASSE")
    assert names.add("straße")
    assert Names(["e\u0301"]).add("\u00e9")
    assert not names.add("d/f")
