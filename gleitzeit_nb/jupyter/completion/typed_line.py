"""A magic's line while it is being typed: whole words, and the one at the cursor with the places of its characters. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

_PLAIN = re.compile(r"[\w@%+=:,./~*^!?-]+")


class Typed(NamedTuple):
    """`before`: the whole words, unquoted. `word`: what stands at the cursor, unquoted; "" between words.

    `places[i]`: where in the line the i-th character of `word` stands, one more for the cursor itself. `opened`: where the quote that is
    still open stands, else None. `started`: where the word begins, with its quote.
    """

    before: tuple[str, ...]
    word: str
    places: tuple[int, ...]
    started: int
    opened: int | None
    line: str

    def fragment(self, index: int) -> tuple[int, str]:
        """Of the word from its character `index` on: where what replaces it begins, and the quote that stands around it there."""
        if self.opened is not None and self.places[index] > self.opened:
            return self.places[index], self.line[self.opened]
        before = self.places[index - 1] + 1 if index else self.started
        return before, ""


def read_typed(line: str) -> Typed | None:
    """`line` up to the cursor, told apart as `arguments.split` does it; None inside a comment."""
    before: list[str] = []
    word: list[str] = []
    places: list[int] = []
    started: int | None = None
    opened: int | None = None
    at = 0
    while at < len(line):
        char = line[at]
        quote = line[opened] if opened is not None else ""
        taken = -1  # the place of a character that belongs to the word
        if char == "\\" and quote != "'" and at + 1 < len(line) and (not quote or line[at + 1] in (quote, "\\")):
            at += 1
            taken = at
        elif quote:
            opened = None if char == quote else opened
            taken = -1 if char == quote else at
        elif char in "\"'":
            opened = at
        elif char.isspace():
            if started is not None:
                before.append("".join(word))
            word, places, started = [], [], None
            at += 1
            continue
        elif char == "#" and started is None:
            return None
        else:
            taken = at
        if started is None:
            started = at - 1 if taken == at and line[at - 1 : at] == "\\" else at
        if taken >= 0:
            word.append(line[taken])
            places.append(taken)
        at += 1
    return Typed(tuple(before), "".join(word), (*places, len(line)), len(line) if started is None else started, opened, line)


def quoted(text: str, quote: str) -> str | None:
    """`text` as it is to be written: between quotes where it needs them, or inside the `quote` that is open. None: it cannot be."""
    if quote == "'":
        return None if "'" in text else text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    if quote:
        return escaped
    return text if _PLAIN.fullmatch(text) else f'"{escaped}"'
