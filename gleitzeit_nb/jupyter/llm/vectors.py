"""`%%llm --embed`: texts in, vectors out, as a value that shows itself as a short table."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.core.requests import LLMRequest, Reply
from gleitzeit_nb.errors import MissingDependencyError, UsageError
from gleitzeit_nb.jupyter.values import LLMReply
from gleitzeit_nb.rendering.columns import columns

if TYPE_CHECKING:
    from gleitzeit_nb.jupyter.front import Front

ROWS_SHOWN = 8
NUMBERS_SHOWN = 4


class LLMVectors(LLMReply):
    """One vector for each text. `len()` and iteration go over the vectors."""

    def __init__(self, reply: Reply, texts: tuple[str, ...]) -> None:
        super().__init__(reply)
        self.texts = texts

    def __len__(self) -> int:
        return len(self.reply.embeddings)

    def __iter__(self) -> Any:
        return iter(self.vectors)

    @property
    def vectors(self) -> list[list[float]]:
        return [list(vector) for vector in self.reply.embeddings]

    @property
    def array(self) -> Any:
        """A numpy array of float32, one row for each text."""
        try:
            import numpy as np
        except ImportError as exc:
            raise MissingDependencyError("numpy", "cells", "an array of vectors") from exc
        return np.asarray(self.reply.embeddings, dtype=np.float32)

    def footer(self) -> str:
        lengths = {len(vector) for vector in self.reply.embeddings}
        size = f"{len(self)} × {lengths.pop()}" if len(lengths) == 1 else f"{len(self)} vectors"
        return f"{super().footer()} · {size}"

    def table(self) -> str:
        rows = [("", "Text", "Vector")]
        for number, (text, vector) in enumerate(zip(self.texts[:ROWS_SHOWN], self.reply.embeddings[:ROWS_SHOWN], strict=False), start=1):
            numbers = ", ".join(f"{each:.3f}" for each in vector[:NUMBERS_SHOWN]) + (", …" if len(vector) > NUMBERS_SHOWN else "")
            rows.append((str(number), one_line(text, 48), numbers))
        more = len(self.texts) - ROWS_SHOWN
        return columns(rows) + (f"\n… and {more} more" if more > 0 else "")

    def content(self) -> dict[str, str]:
        table = self.table()
        return {"text/plain": table, "text/html": f"<pre>{html.escape(table)}</pre>"}


def texts_of(cell: str, front: Front, expanded: Callable[[str], str]) -> tuple[str, ...]:
    """What is to be embedded: the texts of the list variable that the cell names and nothing else, else its lines that are not blank."""
    name = cell.strip()
    named = front.shell.user_ns.get(name) if name.isidentifier() else None
    if named is None or isinstance(named, str):
        return tuple(line.strip() for line in expanded(cell).splitlines() if line.strip())
    try:
        found = tuple(named)
    except TypeError:
        found = (named,)
    if not found or not all(isinstance(each, str) for each in found):
        raise UsageError(f"--embed: {name[:60]} is no list of texts but a {type(named).__name__}.\nWrite one per line, or name a list.")
    return found


def embedded(front: Front, request: LLMRequest) -> LLMVectors:
    """Ask the pool and wait."""
    return LLMVectors(front.runtime.call(front.engine.pool.complete_request(request)), request.inputs)
