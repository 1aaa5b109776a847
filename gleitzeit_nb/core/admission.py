"""The pool's one bounded queue: who waits, and who is next."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AdmissionSettings:
    """`max_queue`: waiting requests before QueueFullError. `queue_timeout_s`: the longest wait; None: only the deadline counts."""

    max_queue: int = 512
    queue_timeout_s: float | None = None
