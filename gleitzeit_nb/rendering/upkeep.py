"""Commands on models as text: how far a pull is, what was loaded, what would be deleted. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gleitzeit_nb.core.models import display
from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.core.upkeep import Holding, PullProgress, Warmed

NAME_CHARS = 48
BAR_WIDTH = 24


def progress_line(progress: PullProgress) -> str:
    """One instance in one line, with a bar where the size is known."""
    name = one_line(progress.instance, NAME_CHARS)
    if progress.error:
        return f"{name}  failed: {one_line(progress.error)}"
    if progress.done:
        return f"{name}  has {one_line(display(progress.model), NAME_CHARS)}"
    share = progress.share
    if share is None:
        return f"{name}  {one_line(progress.status)}"
    filled = int(share * BAR_WIDTH)
    sizes = f"{progress.completed_bytes / 1e6:.0f} of {progress.total_bytes / 1e6:.0f} MB"
    return f"{name}  {'█' * filled}{'░' * (BAR_WIDTH - filled)} {share:4.0%}  {sizes}  {one_line(progress.status)}"


def step_of(progress: PullProgress) -> tuple[object, ...]:
    """What of a progress is worth a line of its own where nothing can be drawn anew: another kind of work, or another tenth."""
    share = progress.share
    return progress.instance, progress.status.split(" ")[0], None if share is None else int(share * 10), progress.done


def warmed_text(done: Iterable[Warmed]) -> str:
    return "\n".join(
        f"{one_line(each.instance, NAME_CHARS)}  has {one_line(display(each.model), NAME_CHARS)} loaded"
        + (" (it was)" if each.was_warm else f" (it took {each.elapsed_s:.1f} s)")
        for each in done
    )


def unloaded_text(model: str, instances: Sequence[str]) -> str:
    name = one_line(display(model), NAME_CHARS)
    if not instances:
        return f"{name} is loaded nowhere."
    return f"{name} is unloaded on {', '.join(one_line(each, NAME_CHARS) for each in instances)}. Who was answering with it finishes first."


def deleted_text(model: str, instances: Sequence[str]) -> str:
    return f"{one_line(display(model), NAME_CHARS)} is deleted on {', '.join(one_line(each, NAME_CHARS) for each in instances)}."


def deletion_question(holdings: Sequence[Holding]) -> str:
    """What would be deleted, and where."""
    rows = [f"  {one_line(each.name, NAME_CHARS)} on {one_line(each.instance, NAME_CHARS)}{_facts(each)}" for each in holdings]
    return "this would delete\n" + "\n".join(rows)


def _facts(holding: Holding) -> str:
    size = "" if holding.size_bytes is None else f", {holding.size_bytes / 1e6:.0f} MB"
    return size + (f", digest {one_line(holding.digest[:12], 12)}" if holding.digest else "")
