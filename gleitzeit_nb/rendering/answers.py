"""Where an answer came from, in words. Pure; names are cleaned."""

from __future__ import annotations

from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.core.requests import Reply

SOURCES = {"cache": "cached", "recording": "replayed"}  # of answers that no instance was asked for
NAME_CHARS = 60


def origin(reply: Reply) -> str:
    """Who answered; of an answer that was kept, whose it was the first time."""
    instance = one_line(reply.instance, NAME_CHARS)
    return instance if reply.source == "instance" else f"{SOURCES[reply.source]}, no instance asked (first answered by {instance})"
