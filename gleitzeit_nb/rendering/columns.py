"""Rows of words as aligned columns of plain text. Pure; every word is cleaned."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from gleitzeit_nb.core.plain import one_line

CELL_CHARS = 48
LAST_CELL_CHARS = 120


def columns(rows: Sequence[Sequence[str]], *, indent: str = "") -> str:
    """Rows of words as aligned columns; the first row is the head."""
    cleaned = [[one_line(word, CELL_CHARS) for word in row[:-1]] + [one_line(row[-1], LAST_CELL_CHARS)] for row in rows]
    widths = [max(_width(row[index]) for row in cleaned) for index in range(len(cleaned[0]))]
    return "\n".join(
        (indent + "  ".join(word + " " * (width - _width(word)) for word, width in zip(row, widths, strict=True))).rstrip()
        for row in cleaned
    )


def _width(text: str) -> int:
    """Cells on a terminal: East Asian letters take two, accents of their own none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)
