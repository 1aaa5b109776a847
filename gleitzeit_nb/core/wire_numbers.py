"""Numbers as servers send them: JSON has integers without end, and arithmetic with those ends in an OverflowError."""

from __future__ import annotations

MOST = (1 << 63) - 1  # Ollama's own integers have 64 bits


def count(value: object) -> int | None:
    """A whole number from 0 on that a server can have meant; None: it is something else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST else None
