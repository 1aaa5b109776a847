"""What a sandboxed run showed, as text: for a terminal, and beside every richer form."""

from __future__ import annotations

from gleitzeit_nb.core.displays import Display, Table
from gleitzeit_nb.core.plain import OutputText, one_line


def as_text(shown: Display) -> str:
    """Harmless to print. A table of ours where there is one, else the code's own text; a picture is told by its size."""
    if shown.table is not None:
        return table_text(shown.table)
    text = OutputText()
    lines = [(text.feed(shown.text.replace("\r", "\n")) + text.flush()).rstrip("\n")]
    if shown.picture is not None:
        size = f" {shown.picture.width}×{shown.picture.height}" if shown.picture.width else ""
        lines.append(f"[{shown.picture.kind.upper()}{size}, {len(shown.picture.data):,} bytes]")
    return "\n".join(lines)


def table_text(table: Table) -> str:
    """Columns set to the right, as numbers want it, and the whole's size below."""
    lines = [[one_line(cell) for cell in line] for line in table.drawn()]
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    drawn = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([*drawn, f"[{table.shape()}]"])
