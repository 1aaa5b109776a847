"""Requirements as they are named in a cell or on a command line: a file of them, or one by one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gleitzeit_nb.core.requirements import MOST_CHARS, Requirements
from gleitzeit_nb.errors import UsageError


def requirements(words: Sequence[str] | None) -> Requirements:
    """What the words of `--requirements` stand for. Raises UsageError."""
    texts = [_content(word) if is_file(word) else word for word in words or ()]
    try:
        return Requirements.of("\n".join(texts))
    except ValueError as error:
        raise UsageError(f"--requirements: {error}.\nName packages (seaborn==0.13.2), or a file of them (requirements.txt)") from error


def is_file(word: str) -> bool:
    """By its looks alone: a slash or .txt at its end, as no requirement has. An address (with an @) is left to be refused as such."""
    return ("/" in word or word.endswith(".txt")) and "@" not in word


def _content(word: str) -> str:
    try:
        with Path(word).expanduser().open(encoding="utf-8") as file:
            return file.read(MOST_CHARS + 1)
    except (OSError, UnicodeDecodeError, RuntimeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UsageError(
            f"--requirements: {word[:200]} cannot be read ({why}).\nName a file that is there, or packages one by one"
        ) from error
