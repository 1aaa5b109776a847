"""`{expression}` in prompts, for every text there is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.errors import UsageError
from gleitzeit_nb.jupyter.arguments import MagicParser, split
from gleitzeit_nb.jupyter.template import expand

NAMES: dict[str, Any] = {"x": "{y} {{ }} {", "y": "secret", "n": 3}
pieces = st.lists(
    st.sampled_from(["{x}", "{n:03d}", "{", "}", "{{", "}}", "'", '"', "!", "!r}", ":", "(", ")", "[", "x", " ", "\\", "\n"]), max_size=12
)


def evaluate(expression: str) -> Any:
    return eval(expression, {"__builtins__": {}}, NAMES)  # noqa: S307 - the names are the test's own


@given(pieces.map("".join))
def test_it_expands_or_says_what_is_wrong(text: str) -> None:
    refusal = ""
    try:
        expand(text, evaluate)
    except UsageError as error:
        refusal = str(error)
    assert not refusal or "--raw" in refusal


@given(st.text())
def test_doubled_braces_give_back_any_text(text: str) -> None:
    assert expand(text.replace("{", "{{").replace("}", "}}"), evaluate) == text


@given(st.text())
def test_what_is_inserted_is_never_looked_at(value: str) -> None:
    assert expand("<{v}>", lambda _: value) == f"<{value}>"


def test_a_value_with_braces_does_not_reach_other_names() -> None:
    assert expand("{x}", evaluate) == "{y} {{ }} {"


@given(st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="'"), min_size=1), max_size=5))
def test_quoted_words_come_through_a_line(words: list[str]) -> None:
    assert split(" ".join(f"'{word}'" for word in words)) == words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("-m llama3.2 # the small one, it's fine", ["-m", "llama3.2"]),
        ("--system 'C# code' -m C#", ["--system", "C# code", "-m", "C#"]),
        ('--system "don\'t"', ["--system", "don't"]),
        ("# only a comment", []),
        ("", []),
    ],
)
def test_a_comment_ends_the_line_and_a_hash_in_a_word_does_not(line: str, words: list[str]) -> None:
    assert split(line) == words


def test_an_inserted_value_never_becomes_an_option() -> None:
    parser = MagicParser("%%test", "")
    parser.add_argument("-m", "--model")
    parser.add_argument("--raw", action="store_true")
    for line in ("--model {v}", "-m {v}"):
        found = parser.read(line, lambda word: word.replace("{v}", "--raw"))
        assert (found.model, found.raw) == ("--raw", False)
