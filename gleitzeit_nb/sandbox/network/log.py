"""What came of a run's connections: every decision counted and told, in a bounded number of records and events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gleitzeit_nb.core.network import NetworkRecord, Outcome

MOST_RECORDS = 100
MOST_TOLD = 200  # events of one run: a flood must not wash everything else out of the engine's log
OTHERS = "other hosts"

# the decision with its bytes, and whether it tells of the end of an allowed connection
Tell = Callable[[NetworkRecord, bool], None]


@dataclass(eq=False)
class Access:
    """An allowed connection, and what went over it."""

    host: str
    port: int
    bytes_sent: int = 0
    bytes_received: int = 0


@dataclass(eq=False)
class _Count:
    connections: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0


class NetworkLog:
    """`tell` hears of each decision, and of the end of each allowed connection; not more than MOST_TOLD times."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._told = 0
        self._counts: dict[tuple[str, int, Outcome, str], _Count] = {}
        self._accesses: dict[Access, _Count] = {}

    def __repr__(self) -> str:
        return f"<NetworkLog {len(self._counts)} records, {len(self._accesses)} connections open>"

    def allowed(self, host: str, port: int) -> Access:
        access = Access(host, port)
        self._accesses[access] = self._count(host, port, "allowed", "")
        self._say(NetworkRecord(host, port, "allowed"), ended=False)
        return access

    def ended(self, access: Access, reason: str = "") -> None:
        """`reason`: why it was cut, "" when it came to its own end."""
        self._add(access, self._accesses.pop(access))
        if reason:
            self._count(access.host, access.port, "refused", reason)
        self._say(NetworkRecord(access.host, access.port, "allowed", reason, 1, access.bytes_sent, access.bytes_received), ended=True)

    def turned_away(self, host: str, port: int, outcome: Outcome, reason: str) -> None:
        self._count(host, port, outcome, reason)
        self._say(NetworkRecord(host, port, outcome, reason), ended=False)

    def records(self) -> tuple[NetworkRecord, ...]:
        """In the order of their first connection, with what open connections have moved so far."""
        for access, count in self._accesses.items():
            self._add(access, count)
        return tuple(NetworkRecord(*key, each.connections, each.bytes_sent, each.bytes_received) for key, each in self._counts.items())

    def _count(self, host: str, port: int, outcome: Outcome, reason: str) -> _Count:
        key = (host, port, outcome, reason)
        if key not in self._counts and len(self._counts) >= MOST_RECORDS:
            key = (OTHERS, 0, outcome, "")
        count = self._counts.setdefault(key, _Count())
        count.connections += 1
        return count

    def _add(self, access: Access, count: _Count) -> None:
        count.bytes_sent += access.bytes_sent
        count.bytes_received += access.bytes_received

    def _say(self, record: NetworkRecord, *, ended: bool) -> None:
        if self._told < MOST_TOLD:
            self._told += 1
            self._tell(record, ended)
