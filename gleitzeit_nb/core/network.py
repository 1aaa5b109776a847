"""What a run may have of the network, and what it made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gleitzeit_nb.core.allowlist import Rule, bracketed, first_match
from gleitzeit_nb.core.plain import size_words
from gleitzeit_nb.core.reachable import Network

MIB = 1 << 20
NetworkKind = Literal["none", "restricted"]
Outcome = Literal["allowed", "refused", "failed"]


@dataclass(frozen=True)
class NetworkLimits:
    """What one run may take of an allowed network. Bytes count both ways; `connections` are those open at once, `connections_total` all."""

    run_bytes: int = 256 * MIB
    connection_bytes: int = 256 * MIB
    connections: int = 32
    connections_total: int = 1000
    connect_timeout_s: float = 10.0
    idle_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        for name, most in MOST.items():
            value = getattr(self, name)
            if not 0 < value <= most:
                raise ValueError(f"network limit {name} must be greater than 0 and at most {most:g}, not {value!r}")


# The first process inside holds a window for every open connection, and its own memory counts against the run's.
MOST = {
    "run_bytes": 1 << 40,
    "connection_bytes": 1 << 40,
    "connections": 64,
    "connections_total": 100_000,
    "connect_timeout_s": 120.0,
    "idle_timeout_s": 3600.0,
}


@dataclass(frozen=True)
class NetworkPolicy:
    """The rules of one run. `private`: ranges beyond the public internet that the user's own configuration opens."""

    rules: tuple[Rule, ...] = ()
    private: tuple[Network, ...] = ()
    limits: NetworkLimits = NetworkLimits()

    def rule_for(self, host: str, port: int) -> Rule | None:
        """`host` in its normal form."""
        return first_match(self.rules, host, port)


@dataclass(frozen=True)
class NetworkRecord:
    """One destination with one outcome. `count`: connections; bytes as the code saw them. Hosts are the code's own choice of text.

    `outcome`: "allowed"; "refused" (a rule, an address or a limit); "failed" (it did not answer). `reason`: why not.
    """

    host: str
    port: int
    outcome: Outcome
    reason: str = ""
    count: int = 1
    bytes_sent: int = 0
    bytes_received: int = 0

    @property
    def place(self) -> str:
        return f"{bracketed(self.host)}:{self.port}" if self.port else self.host


def summary(records: Sequence[NetworkRecord]) -> str:
    """One line: "example.org:443 allowed 12 kB; evil.org:443 refused 3x"; "" when nothing was tried."""
    shown = [_phrase(each) for each in records[:SHOWN]]
    more = len(records) - SHOWN
    return "; ".join([*shown, f"{more} more"] if more > 0 else shown)


SHOWN = 6


def _phrase(record: NetworkRecord) -> str:
    times = f" {record.count}×" if record.count > 1 else ""
    if record.outcome != "allowed":
        return f"{record.place} {record.outcome}{times}"
    return f"{record.place} allowed{times} {size_words(record.bytes_sent + record.bytes_received)}"
