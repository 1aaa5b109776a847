"""What a run says that it shows, read as hostile: a record that is not as it should be is dropped and counted, never an error."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, cast

from gleitzeit_nb.core.displays import Cell, Column, Display, Table
from gleitzeit_nb.core.pictures import Picture, PictureError, PictureKind, checked
from gleitzeit_nb.protocols import DisplaySink
from gleitzeit_nb.sandbox import protocol
from gleitzeit_nb.sandbox.protocol import FrameError, json_payload

logger = logging.getLogger("gleitzeit_nb.sandbox")

PARTS = ("text", "table", "png", "jpeg", "svg", "html")
PICTURES: tuple[PictureKind, ...] = ("png", "jpeg", "svg")
TEXT_BYTES = 512 << 10
TABLE_BYTES = 1 << 20
MAX_ROWS, MAX_COLUMNS = 200, 60
MAX_TOTAL = 1 << 62
MAX_CELL_CHARS = 1000
MAX_DROPPED = 1 << 31


class DisplayReader:
    """Records in, checked displays out, at most `most_bytes` and so many of them together. `html`: the caller trusts the code's own.

    `dropped` counts what was malformed, too much, or not sent for that reason.
    """

    def __init__(self, most_bytes: int, *, html: bool = False, on_display: DisplaySink | None = None) -> None:
        self.displays: list[Display] = []
        self.dropped = 0
        self._left = most_bytes
        self._html = html
        self._on_display = on_display
        self._is_value = False
        self._parts: list[tuple[str, int]] = []  # of the record whose data is coming
        self._size = 0
        self._data = bytearray()
        self.reading = False  # is data that comes now a display's? Also that of a dropped one

    def begin(self, content: Mapping[str, Any]) -> None:
        self.reading = True
        self._parts, self._size = [], 0
        parts = _sizes(content.get("parts"))
        size = sum(parts.values())
        if not parts or size > self._left or len(self.displays) >= protocol.MAX_DISPLAYS or type(content.get("value")) is not bool:
            self.dropped += 1
            return
        self._left -= size
        self._parts, self._size, self._is_value = list(parts.items()), size, content["value"]

    def take(self, payload: bytes) -> None:
        if not self._parts:
            return  # of a record that was dropped
        self._data += payload
        if len(self._data) > self._size:
            self.cut()
            self.reading = True
        elif len(self._data) == self._size:
            data, parts = bytes(self._data), self._parts
            self._forget()
            self._show(parts, data)

    def cut(self) -> None:
        """Another record came: the data of this one will not."""
        if self._parts:
            self.dropped += 1
        self._forget()

    def unshown(self, content: Mapping[str, Any]) -> None:
        """The code's own count of what it did not send."""
        count = content.get("count")
        self.dropped = min(MAX_DROPPED, self.dropped + (count if type(count) is int and 0 < count < MAX_DROPPED else 1))

    def _forget(self) -> None:
        self.reading, self._parts, self._size = False, [], 0
        self._data.clear()

    def _show(self, parts: Sequence[tuple[str, int]], data: bytes) -> None:
        content, start = {}, 0
        for kind, size in parts:
            content[kind] = data[start : start + size]
            start += size
        display, refused = read_display(content, html=self._html, is_value=self._is_value)
        self.dropped += refused
        self.displays.append(display)
        if self._on_display is None:
            return
        try:
            self._on_display(display)
        except Exception:
            logger.exception("whoever listens to the sandbox's displays failed; it hears no more of this run")
            self._on_display = None


def _sizes(parts: object) -> dict[str, int]:
    """Kind → size of each part; nothing when any of it is impossible. Text is always there."""
    if not isinstance(parts, list) or len(parts) > len(PARTS):
        return {}
    found: dict[str, int] = {}
    for part in parts:
        if not (isinstance(part, list) and len(part) == 2 and part[0] in PARTS and part[0] not in found):
            return {}
        if type(part[1]) is not int or not 0 < part[1] <= protocol.PART_BYTES:
            return {}
        found[part[0]] = part[1]
    return found if found.get("text", TEXT_BYTES + 1) <= TEXT_BYTES else {}


def read_display(content: Mapping[str, bytes], *, html: bool, is_value: bool) -> tuple[Display, int]:
    """(what can be shown of it, how many of its parts cannot). The text can always be: as UTF-8, with replacements."""
    refused = 0
    table: Table | None = None
    if "table" in content:
        table = read_table(content["table"])
        refused += table is None
    picture: Picture | None = None
    for kind in PICTURES:
        if kind in content and picture is None:
            try:
                picture = checked(kind, content[kind])
            except PictureError as exc:
                logger.debug("a picture of the code is not shown: %s", exc)
                refused += 1
    trusted = content["html"].decode("utf-8", "replace") if html and "html" in content else None
    refused += "html" in content and not html
    return Display(content["text"].decode("utf-8", "replace"), table, picture, trusted, is_value), refused


# -- tables -------------------------------------------------------------------------------------------------------------------


def read_table(data: bytes) -> Table | None:
    """None for whatever is not exactly a table of plain cells, of a size that can be drawn."""
    if len(data) > TABLE_BYTES:
        return None
    try:
        content = json_payload(data)
    except FrameError:
        return None
    if set(content) != {"columns", "rows", "labels", "index_name", "shape", "gaps"}:
        return None
    columns, rows, labels = content["columns"], content["rows"], content["labels"]
    if not (_listed(columns, MAX_COLUMNS) and all(_listed(each, 2, 2) and _all_text(each) for each in columns)):
        return None
    if not (_listed(rows, MAX_ROWS) and all(_listed(row, len(columns), len(columns)) and _all_cells(row) for row in rows)):
        return None
    if labels is not None and not (_listed(labels, len(rows), len(rows)) and _all_cells(labels)):
        return None
    shape, gaps, name = content["shape"], content["gaps"], content["index_name"]
    sized = _listed(shape, 2, 2) and all(type(each) is int and 0 <= each < MAX_TOTAL for each in shape)
    if not sized or shape[0] < len(rows) or shape[1] < len(columns) or not isinstance(name, str):
        return None
    if not (_listed(gaps, 2, 2) and _gap(gaps[0], len(rows)) and _gap(gaps[1], len(columns))):
        return None
    return Table(
        columns=tuple(Column(_plain_text(each[0]), _plain_text(each[1])) for each in columns),
        rows=tuple(tuple(map(_plain_cell, row)) for row in rows),
        labels=None if labels is None else tuple(map(_plain_cell, labels)),
        index_name=_plain_text(name),
        total_rows=shape[0],
        total_columns=shape[1],
        row_gap=gaps[0],
        column_gap=gaps[1],
    )


def _listed(value: object, most: int, least: int = 0) -> bool:
    return isinstance(value, list) and least <= len(value) <= most


def _all_text(values: Sequence[object]) -> bool:
    return all(isinstance(each, str) for each in values)


def _all_cells(values: Sequence[object]) -> bool:
    return all(each is None or isinstance(each, (str, int, float)) for each in values)


def _gap(value: object, most: int) -> bool:
    return value is None or (type(value) is int and 0 <= value <= most)


def _plain_cell(value: object) -> Cell:
    return _plain_text(value) if isinstance(value, str) else cast(Cell, value)


def _plain_text(text: str) -> str:
    """Without halves of surrogate pairs, which JSON can say and nobody can print."""
    return text[:MAX_CELL_CHARS].encode("utf-8", "replace").decode("utf-8")
