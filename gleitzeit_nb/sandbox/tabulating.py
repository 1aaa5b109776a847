"""Tables as columns of plain cells, for the host to draw. Travels to the guest: standard library only, Python 3.8.

pandas and polars are recognised, never imported: a value of theirs can only be there when its library is.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ALL_ROWS, END_ROWS = 60, 5  # up to ALL_ROWS are shown whole; of more, so many from either end, as pandas does
ALL_COLUMNS, END_COLUMNS = 20, 10
CELL_CHARS = 200
NAME_CHARS = 100
LISTED = 10_000  # a longer list of dictionaries is not looked through


def table_of(value: Any) -> dict[str, Any] | None:
    """The record of a table, or None for a value that is none."""
    library = type(value).__module__.partition(".")[0]
    if library == "pandas" and hasattr(value, "iloc") and hasattr(value, "index"):
        return _of_pandas(value if hasattr(value, "columns") else value.to_frame())
    if library == "polars" and hasattr(value, "get_column_index"):
        return _of_polars(value)
    if library == "polars" and hasattr(value, "to_frame"):
        return _of_polars(value.to_frame())
    if type(value) is list and 0 < len(value) <= LISTED:
        return _of_dictionaries(value)
    return None


def _of_pandas(frame: Any) -> dict[str, Any]:
    total_rows, total_columns = frame.shape
    rows, row_gap = _chosen(total_rows, ALL_ROWS, END_ROWS)
    places, column_gap = _chosen(total_columns, ALL_COLUMNS, END_COLUMNS)
    part = frame.iloc[rows, places]
    columns = [part.iloc[:, place] for place in range(len(places))]
    cells = [[_cell(each) for each in column.tolist()] for column in columns]
    return {
        "columns": [[_name(name), _name(column.dtype)] for name, column in zip(part.columns.tolist(), columns)],  # noqa: B905 - 3.8
        "rows": _turned(cells, len(rows)),
        "labels": [_cell(each) for each in part.index.tolist()],
        "index_name": _name(" ".join(str(name) for name in part.index.names if name is not None)),
        "shape": [total_rows, total_columns],
        "gaps": [row_gap, column_gap],
    }


def _of_polars(frame: Any) -> dict[str, Any]:
    total_rows, total_columns = frame.shape
    row_gap = _chosen(total_rows, ALL_ROWS, END_ROWS)[1]
    places, column_gap = _chosen(total_columns, ALL_COLUMNS, END_COLUMNS)
    found = frame.rows() if row_gap is None else frame.head(END_ROWS).rows() + frame.tail(END_ROWS).rows()
    return {
        "columns": [[_name(frame.columns[place]), _name(frame.dtypes[place])] for place in places],
        "rows": [[_cell(row[place]) for place in places] for row in found],
        "labels": None,
        "index_name": "",
        "shape": [total_rows, total_columns],
        "gaps": [row_gap, column_gap],
    }


def _of_dictionaries(rows: list[Any]) -> dict[str, Any] | None:
    """None for what is more than a table: other keys than text, or values that hold others."""
    names: dict[str, None] = {}
    for row in rows:
        if type(row) is not dict or not row:
            return None
        names.update(dict.fromkeys(row))
        if len(names) > ALL_COLUMNS:
            return None
    if not all(type(name) is str for name in names):
        return None
    chosen, gap = _chosen(len(rows), ALL_ROWS, END_ROWS)
    cells = [[rows[place].get(name) for name in names] for place in chosen]
    if any(each is not None and not isinstance(each, (str, int, float)) for row in cells for each in row):
        return None
    return {
        "columns": [[_name(name), ""] for name in names],
        "rows": [[_cell(each) for each in row] for row in cells],
        "labels": None,
        "index_name": "",
        "shape": [len(rows), len(names)],
        "gaps": [gap, None],
    }


def _chosen(count: int, most: int, end: int) -> tuple[list[int], int | None]:
    """(which are shown, before which of those some were left out)."""
    if count <= most:
        return list(range(count)), None
    return [*range(end), *range(count - end, count)], end


def _turned(columns: list[list[Any]], rows: int) -> list[list[Any]]:
    return [[column[row] for column in columns] for row in range(rows)]


def _cell(value: Any) -> Any:
    if value is None or type(value) in (bool, float):
        return value
    if type(value) is int and abs(value) < 1 << 64:
        return value
    text = str(value)
    return text if len(text) <= CELL_CHARS else text[: CELL_CHARS - 1] + "…"


def _name(value: Any) -> str:
    text = str(value)
    return text if len(text) <= NAME_CHARS else text[: NAME_CHARS - 1] + "…"
