"""What the sandbox stopped, in words. Pure; every reason may hold what untrusted code wrote, and is cleaned."""

from __future__ import annotations

from gleitzeit_nb.rendering import words
from gleitzeit_nb.rendering.columns import columns
from gleitzeit_nb.snapshot import SecurityView

SHOWN = 8
WORDS = {
    "timeout": "deadline",
    "oom": "out of memory",
    "system call": "forbidden system call",
    "network": "connection refused",
    "verification": "not isolated as promised",
    "discarded": "worker discarded",
}


def kind_word(kind: str) -> str:
    return WORDS.get(kind, kind)


def tally(view: SecurityView) -> str:
    """All that was counted, as one line: "deadline 2× in docker-sandbox, …"."""
    return ", ".join(f"{kind_word(each.kind)} {each.count}× in {each.mode}" for each in view.counts)


def security_text(view: SecurityView) -> str:
    """A table for terminals; "" when there was nothing."""
    if not view.counts:
        return ""
    rows = [("Kind", "Mode", "Times")] + [(kind_word(each.kind), each.mode, str(each.count)) for each in view.counts]
    last = [("Time", "Kind", "Mode", "Why")]
    last += [(words.clock_time(each.at), kind_word(each.kind), each.mode, each.reason) for each in view.recent[:SHOWN]]
    return f"Security\n{columns(rows, indent='  ')}\n\n{columns(last, indent='  ')}"
