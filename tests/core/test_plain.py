"""Text that is not trusted, made safe to show as text."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.core.plain import OutputText, clean, one_line

ACTING = {"Cc", "Cs"}


def acts(char: str) -> bool:
    return (unicodedata.category(char) in ACTING and char not in "\n\t") or unicodedata.bidirectional(char) in {
        *("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"),
    }


@given(st.text())
def test_nothing_acts_on_the_screen_and_it_can_be_sent(text: str) -> None:
    shown = clean(text)
    assert not [char for char in shown if acts(char)]
    shown.encode()
    assert clean(shown) == shown


@given(st.text(), st.integers(1, 200))
def test_a_line_is_one_line_of_that_length(text: str, limit: int) -> None:
    shown = one_line(text, limit)
    assert "\n" not in shown
    assert len(shown) <= limit


@given(st.lists(st.text(alphabet="\x1b[]0;1m31K\r\nabc")))
def test_output_in_pieces_is_the_same_as_in_one(pieces: list[str]) -> None:
    stream, whole = OutputText(), OutputText()
    assert "".join(map(stream.feed, pieces)) + stream.flush() == whole.feed("".join(pieces)) + whole.flush()


def test_colours_go_and_other_sequences_are_shown() -> None:
    text = OutputText()
    assert text.feed("\x1b[1;31mred\x1b[0m \x1b]0;title\x07 50 %\r") == "red ␛]0;title␇ 50 %\r"


def test_text_for_machines_only_is_gone_and_directions_are_visible() -> None:
    assert clean("a\U000e0041\U000e0042b\u202ec\ufeff") == "ab⟦U+202E⟧c"
