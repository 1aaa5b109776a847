"""Untrusted text made safe to show as text: nothing in it acts on the reader's screen, and nothing hides."""

from __future__ import annotations

import re

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_BIDI = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))


def _visible() -> dict[int, str]:
    """What each character that acts instead of showing is replaced with."""
    table = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"}
    table[0x7F] = "\N{SYMBOL FOR DELETE}"
    table.update(dict.fromkeys(range(0x80, 0xA0), _REPLACEMENT))  # C1: a terminal takes some of them for escape sequences
    table.update(dict.fromkeys(range(0xD800, 0xE000), _REPLACEMENT))  # lone surrogates: no message can carry them
    table.update(dict.fromkeys(range(0xFFF9, 0xFFFC), _REPLACEMENT))
    table.update({code: f"⟦U+{code:04X}⟧" for code in _BIDI})
    table.update(dict.fromkeys(range(0xE0000, 0xE0080), ""))  # tag characters: text that only a machine reads
    table.update({0x2028: "\n", 0x2029: "\n", 0xFEFF: ""})
    return table


_VISIBLE = _visible()
_VISIBLE_BUT_RETURN = {code: shown for code, shown in _VISIBLE.items() if code != 0x0D}
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_BEGUN_SEQUENCE = re.compile(r"\x1b(?:\[[0-9;:]{0,32})?\Z")


def clean(text: str) -> str:
    """`text` with line ends made one kind, and every control, bidi and tag character visible or gone."""
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_VISIBLE)


def one_line(text: str, limit: int = 160) -> str:
    """`text` as one clean line of at most `limit` characters."""
    line = " ".join(clean(text[: limit * 8]).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def size_words(size_bytes: int) -> str:
    """A size for people: "812 bytes", "1.5 kB", "20 MB"."""
    if size_bytes < 1000:
        return f"{size_bytes} byte{'' if size_bytes == 1 else 's'}"
    size, unit = size_bytes / 1000, "kB"
    for larger in ("MB", "GB"):
        if size >= 999.5:
            size, unit = size / 1000, larger
    return f"{size:.1f} {unit}" if size < 10 else f"{size:.0f} {unit}"


class OutputText:
    """Clean text out of a stream of pieces: a program's output as it arrives.

    Colours are dropped, other escape sequences are shown. A carriage return stays: progress bars live by it.
    """

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """What can be shown now; the beginning of an escape sequence is held back until its end is there."""
        text = self._held + piece
        begun = _BEGUN_SEQUENCE.search(text, max(0, len(text) - 40))
        cut = begun.start() if begun else len(text)
        self._held = text[cut:]
        return _COLOUR.sub("", text[:cut]).translate(_VISIBLE_BUT_RETURN)

    def flush(self) -> str:
        """What was held back."""
        held, self._held = self._held, ""
        return held.translate(_VISIBLE_BUT_RETURN)
