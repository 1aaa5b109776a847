"""Names of files that cross the border, checked: what a name may be on any machine, and which of several are one on some.

A name is relative, its parts set apart by slashes. It comes from untrusted code, so that what it may be is listed, not what it may not.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

MAX_NAME_BYTES = 1024
MAX_PART_BYTES = 240  # below the 255 of most file systems: room for a temporary name
MAX_DEPTH = 16

_FORBIDDEN = frozenset('\\:*?"<>|')  # a separator, a stream, or a pattern elsewhere
_DEVICES = frozenset(("con", "prn", "aux", "nul", *(f"{name}{digit}" for name in ("com", "lpt") for digit in "123456789")))
_SHOWN = frozenset(("L", "M", "N", "P", "S"))  # letters, marks, numbers, punctuation, symbols: all that can be seen


def problem(name: str) -> str:
    """Why no file may have this name; "" when one may."""
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        return "its name is no UTF-8 text"
    if not name:
        return "it has no name"
    if size > MAX_NAME_BYTES:
        return f"its name is longer than {MAX_NAME_BYTES} bytes"
    if name.startswith("/"):
        return "its name is absolute"
    parts = name.split("/")
    if len(parts) > MAX_DEPTH:
        return f"it lies deeper than {MAX_DEPTH} directories"
    return next(filter(None, map(_part_problem, parts)), "")


def _part_problem(part: str) -> str:
    if part in ("", ".", ".."):
        return f"its name has the part {part!r}, which leads elsewhere"
    if part.startswith("."):
        return "its name begins with a dot, as names do that tools obey unseen"
    if len(part.encode("utf-8")) > MAX_PART_BYTES:
        return f"a part of its name is longer than {MAX_PART_BYTES} bytes"
    if part != part.strip() or part.endswith("."):
        return "a part of its name begins or ends with a blank, or ends with a dot"
    strange = next((char for char in part if char in _FORBIDDEN or (char != " " and unicodedata.category(char)[0] not in _SHOWN)), None)
    if strange is not None:
        return f"its name holds {strange!a}"
    if part.partition(".")[0].rstrip().lower() in _DEVICES:
        return f"its name is that of a device elsewhere ({part})"
    return ""


def key(name: str) -> str:
    """Equal for names that are one on a file system that knows neither case nor forms of composition."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


class Names:
    """Those that were taken, and what stands in the way of another: the same one, or a file where it needs a directory."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()
        for name in taken:
            self.add(name)

    def add(self, name: str) -> str:
        """Take a name; or the reason why it cannot be had beside the others."""
        own = key(name)
        parents = [own[:place] for place, char in enumerate(own) if char == "/"]
        if own in self._files or own in self._folders or any(parent in self._files for parent in parents):
            return "its name is that of another but for case or form, or leads through one"
        self._files.add(own)
        self._folders.update(parents)
        return ""
