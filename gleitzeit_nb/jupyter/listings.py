"""Tables of text for cells: models, states, findings. Pure: facts in, lines out. All names come from elsewhere and are cleaned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gleitzeit_nb.core.digests import SHOWN_CHARS, conflicts
from gleitzeit_nb.core.models import canonical, display
from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.rendering.columns import CELL_CHARS, columns

if TYPE_CHECKING:
    from gleitzeit_nb.core.aliases import Aliases
    from gleitzeit_nb.llm.inventory import LoadedListing, ModelListing


def aliases_text(aliases: Aliases) -> str:
    """Below the models; nothing where there are none."""
    return "".join(f"\n{one_line(display(name), CELL_CHARS)} → {one_line(str(alias))}" for name, alias in sorted(aliases.items()))


def models_text(listing: ModelListing) -> str:
    others = conflicts((row.instance, {canonical(row.name): row.digest}) for row in listing.rows if row.digest)
    odd = {each.model for each in others}
    rows = [("Instance", "Model", "Size", "Parameters", "Quantization", "Warm", "Digest")]
    for row in sorted(listing.rows, key=lambda each: (each.instance, not each.warm, each.name)):
        facts = (size_text(row.size_bytes), row.parameters or "–", row.quantization or "–", "warm" if row.warm else "")
        digest = row.digest[:SHOWN_CHARS] or "–"
        rows.append((row.instance, row.name, *facts, f"{digest} ≠" if canonical(row.name) in odd else digest))
    table = columns(rows) if len(rows) > 1 else "No instance has a model. Fetch one with %llm pull NAME."
    return table + "".join(f"\n≠ {one_line(each.text)}" for each in others) + _unreachable(listing.unreachable)


def loaded_text(listing: LoadedListing) -> str:
    rows = [("Instance", "Model", "Size", "Processor", "Context", "Until")]
    for row in sorted(listing.rows, key=lambda each: (each.instance, each.name)):
        context = "–" if row.context_length is None else str(row.context_length)
        rows.append((row.instance, row.name, size_text(row.size_bytes), processor_text(row.gpu_share), context, row.expires_at[:19] or "–"))
    table = columns(rows) if len(rows) > 1 else "No model is loaded."
    return table + _unreachable(listing.unreachable)


def _unreachable(rows: Sequence[tuple[str, str]]) -> str:
    return "".join(f"\n{one_line(name, CELL_CHARS)} could not be asked: {one_line(reason)}" for name, reason in rows)


def size_text(size_bytes: int | None) -> str:
    """In the units that Ollama shows: powers of ten."""
    if size_bytes is None:
        return "–"
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size_bytes >= factor:
            value = size_bytes / factor
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{size_bytes} B"


def processor_text(gpu_share: float | None) -> str:
    if gpu_share is None:
        return "–"
    return "CPU" if gpu_share <= 0 else f"GPU {gpu_share:.0%}".replace("%", " %")
