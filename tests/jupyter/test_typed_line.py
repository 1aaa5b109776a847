"""A line while it is being typed, and the expression that is open in it."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.jupyter.arguments import split
from gleitzeit_nb.jupyter.completion.typed_line import quoted, read_typed
from gleitzeit_nb.jupyter.template import open_expression


@pytest.mark.parametrize(
    ("line", "before", "word"),
    [
        ("", (), ""),
        ("-m ", ("-m",), ""),
        ("-m lla", ("-m",), "lla"),
        ("-m 'a b", ("-m",), "a b"),
        ('"a b" c', ("a b",), "c"),
        (r"a\ b", (), "a b"),
        (r'"a\"b', (), 'a"b'),
        ("a#b", (), "a#b"),
        ("'' x", ("",), "x"),
    ],
)
def test_words_are_told_apart_as_a_shell_does(line: str, before: tuple[str, ...], word: str) -> None:
    typed = read_typed(line)
    assert typed is not None
    assert (typed.before, typed.word) == (before, word)


@pytest.mark.parametrize("line", ["# x", "-m a # lla", "-m a #"])
def test_in_a_comment_nothing_is_typed(line: str) -> None:
    assert read_typed(line) is None


@given(st.text("ab \\\"'=,-", max_size=12))
def test_a_line_that_is_whole_has_the_words_that_the_magic_reads(line: str) -> None:
    typed = read_typed(line + " x")
    try:
        words = tuple(shlex.split(line + " x"))
    except ValueError:
        return
    assert typed is not None
    assert (*typed.before, typed.word) == words


@given(st.text("ab \\\"'{#é", min_size=1, max_size=12))
def test_a_value_that_is_written_is_read_back(value: str) -> None:
    for quote in ("", "'", '"'):
        written = quoted(value, quote)
        if written is not None:
            assert split(f"{quote}{written}{quote}") == [value]


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("", None),
        ("{", ""),
        ("a {na", "na"),
        ("{a} {b", "b"),
        ("{{a", None),
        ("{{{a", "a"),
        ("{f('}') + b", "f('}') + b"),
        ("{d['k", "d['k"),
        ("{a:>1", None),
        ("{a!r}", None),
        ('{"a": 1} {b', "b"),
    ],
)
def test_the_expression_at_the_end_of_a_text_is_found(text: str, expression: str | None) -> None:
    assert open_expression(text) == expression
