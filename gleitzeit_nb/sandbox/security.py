"""What the sandbox stopped: counted by kind and mode, the last few kept with time and reason. Listens to events, decides nothing."""

from __future__ import annotations

import signal
from collections import Counter, deque

from gleitzeit_nb.events import ContainerLost, Event, EventBus, NetworkDecision, RunEnded, VerificationFailed
from gleitzeit_nb.snapshot import SecurityCount, SecurityNote, SecurityView

KEPT = 20
REASON_CHARS = 200
ORDINARY = frozenset({"idle", "used up", "size", "closed", "cancelled", "stopped"})  # why a worker goes that did nothing wrong
STOPPED = {"timeout": "ran longer than it may", "oom": "used more memory than it may"}


class SecurityLog:
    """Subscribes when made. A system call is seen only where its refusal ends the process; most are mere errors to the code."""

    def __init__(self, events: EventBus) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._recent: deque[SecurityNote] = deque(maxlen=KEPT)
        self._view = SecurityView()
        events.subscribe(self._hear)

    def __repr__(self) -> str:
        return f"<SecurityLog {sum(self._counts.values())} events>"

    def view(self) -> SecurityView:
        return self._view

    def _hear(self, event: Event) -> None:
        found = classified(event)
        if found is None:
            return
        kind, mode, reason = found
        self._counts[kind, mode] += 1
        self._recent.appendleft(SecurityNote(event.at, kind, mode, reason[:REASON_CHARS]))
        counts = tuple(SecurityCount(kind, mode, count) for (kind, mode), count in sorted(self._counts.items()))
        self._view = SecurityView(counts, tuple(self._recent))


def classified(event: Event) -> tuple[str, str, str] | None:
    """(kind, mode, reason) of an event that is one of security, else None."""
    if isinstance(event, RunEnded) and event.status in STOPPED:
        return event.status, event.mode, STOPPED[event.status]
    if isinstance(event, RunEnded) and event.exit_code == -signal.SIGSYS:
        return "system call", event.mode, "a forbidden system call ended the code"
    if isinstance(event, NetworkDecision) and event.outcome == "refused":
        return "network", event.mode, f"{event.host}:{event.port}: {event.reason}"
    if isinstance(event, VerificationFailed):
        return "verification", event.mode, event.reason
    if isinstance(event, ContainerLost) and event.reason not in ORDINARY:
        return "discarded", event.mode, f"{event.container}: {event.reason}"
    return None
