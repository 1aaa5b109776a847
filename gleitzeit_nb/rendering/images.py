"""The sandbox's images as text. Pure; names and labels come from the daemon and are cleaned."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.rendering import words
from gleitzeit_nb.rendering.columns import columns

if TYPE_CHECKING:
    from gleitzeit_nb.sandbox.images.inventory import Inventory, Made

PACKAGES_SHOWN = 4


def inventory_text(inventory: Inventory) -> str:
    """A table of images, and one of modes."""
    parts = []
    if inventory.images:
        rows: list[tuple[str, ...]] = [("Image", "Python", "Size", "Made", "Used by", "Holds")]
        rows += [_row(inventory, image) for image in inventory.images]
        parts.append("Images of the sandbox\n" + columns(rows, indent="  ") + _notes(inventory))
    else:
        parts.append("There is no image of the sandbox yet. Make one with: gleitzeit-nb images build")
    if inventory.modes:
        modes: list[tuple[str, ...]] = [("Mode", "Image")]
        modes += [(wanted.mode, wanted.name if wanted.id else f"missing: {wanted.name or 'none'}") for wanted in inventory.modes]
        problems = list(dict.fromkeys(one_line(wanted.problem, 400) for wanted in inventory.modes if wanted.problem))
        parts.append("Container modes\n" + columns(modes, indent="  ") + "".join(f"\n  {problem}" for problem in problems))
    return "\n\n".join(parts)


def removal_text(images: Sequence[Made]) -> str:
    """What would go. Sizes include layers that images share, so that they do not add up."""
    if not images:
        return "Every image of ours is used by a mode: there is nothing to remove."
    rows = [("Image", "Size", "Made"), *((image.name, size(image), made_at(image)) for image in images)]
    return "No mode uses these\n" + columns(rows, indent="  ")


def size(image: Made) -> str:
    return words.memory(image.size_bytes).replace("\u00a0", " ")


def made_at(image: Made) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(image.created_s))


def _row(inventory: Inventory, image: Made) -> tuple[str, ...]:
    users = ", ".join(inventory.users(image)) or words.UNKNOWN
    return (image.name, image.python or words.UNKNOWN, size(image), made_at(image), users, _holds(image))


def _holds(image: Made) -> str:
    parts = []
    if image.packages:
        more = len(image.packages) - PACKAGES_SHOWN
        parts.append(", ".join(image.packages[:PACKAGES_SHOWN]) + (f" and {more} more" if more > 0 else ""))
    if image.preload:
        parts.append(f"{', '.join(image.preload)} ready")
    return "; ".join(parts)


def _notes(inventory: Inventory) -> str:
    """Digest and age."""
    lines = [f"{image.name}: {image.id[:19]}{_aged(inventory.age(image))}" for image in inventory.images]
    return "\n" + "".join(f"\n  {one_line(line)}" for line in lines)


def _aged(why: str) -> str:
    return f", out of date: {why}" if why else ""
