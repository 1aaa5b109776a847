"""What a run showed, as plain records: text, a table of plain cells, a checked picture. All of it is untrusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gleitzeit_nb.core.pictures import Picture

Cell = str | int | float | bool | None

CELL_CHARS = 60  # of a cell in a drawing; the record holds what came
_DECIMALS = 6
_LARGE, _SMALL = 1e15, 1e-5  # beyond these a column of numbers is written with exponents


@dataclass(frozen=True)
class Column:
    name: str
    dtype: str


@dataclass(frozen=True)
class Table:
    """The rows that are shown of a table, and how much there is in all. `labels`: the index, one cell per row.

    `row_gap`, `column_gap`: before this row or column others were left out; None where nothing was.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    labels: tuple[Cell, ...] | None
    index_name: str
    total_rows: int
    total_columns: int
    row_gap: int | None = None
    column_gap: int | None = None

    def shape(self) -> str:
        return f"{self.total_rows:,} row{'' if self.total_rows == 1 else 's'} × {self.total_columns:,} column" + (
            "" if self.total_columns == 1 else "s"
        )

    def drawn(self) -> list[list[str]]:
        """A head line, then one line per row, every cell as text, with a line and a column of dots where some were left out."""
        columns = [_texts([row[place] for row in self.rows]) for place in range(len(self.columns))]
        names = [column.name for column in self.columns]
        if self.column_gap is not None:
            columns.insert(self.column_gap, ["…"] * len(self.rows))
            names.insert(self.column_gap, "…")
        if self.labels is not None:
            columns.insert(0, _texts(self.labels))
            names.insert(0, self.index_name)
        lines = [names, *([column[row] for column in columns] for row in range(len(self.rows)))]
        if self.row_gap is not None:
            lines.insert(self.row_gap + 1, ["…"] * len(names))
        return lines


@dataclass(frozen=True)
class Display:
    """One thing that a run showed. `is_value`: the value of the last expression; else `display()` or a figure showed it.

    `text` is always there. `html` only where the caller said that he trusts it: it is the code's own, and live.
    """

    text: str
    table: Table | None = None
    picture: Picture | None = None
    html: str | None = None
    is_value: bool = False


def _texts(cells: Sequence[Cell]) -> list[str]:
    """A column's cells as text; numbers with as many decimals as the column needs."""
    numbers = [cell for cell in cells if isinstance(cell, float) and math.isfinite(cell)]
    small = any(number and abs(number) < _SMALL for number in numbers)
    spec = ".6e" if small or any(abs(number) >= _LARGE for number in numbers) else f".{_decimals(numbers)}f"
    return [_text(cell, spec) for cell in cells]


def _decimals(numbers: Sequence[float]) -> int:
    written = [f"{number:.{_DECIMALS}f}".rstrip("0").partition(".")[2] for number in numbers]
    return max(1, max(map(len, written), default=1))


def _text(cell: Cell, spec: str) -> str:
    if isinstance(cell, float):
        return format(cell, spec) if math.isfinite(cell) else "NaN" if math.isnan(cell) else str(cell)
    text = str(cell)
    return text if len(text) <= CELL_CHARS else text[: CELL_CHARS - 1] + "…"
