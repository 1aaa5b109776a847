"""The network of one run, as the guest's connection sees it: frames in, records out, and an end that leaves nothing open."""

from __future__ import annotations

import time
from typing import Any

from gleitzeit_nb.core.network import NetworkPolicy, NetworkRecord
from gleitzeit_nb.events import EventBus, NetworkDecision
from gleitzeit_nb.sandbox.network.gateway import Gateway
from gleitzeit_nb.sandbox.network.log import NetworkLog, Tell
from gleitzeit_nb.sandbox.network.proxy import Proxy
from gleitzeit_nb.sandbox.network.streams import KINDS, Send, Streams


class RunNetwork:
    """Made per run; `start` before its first frame, `close` once at its end. `tell` hears of every decision."""

    kinds = KINDS

    def __init__(self, policy: NetworkPolicy, gateway: Gateway, tell: Tell) -> None:
        self._log = NetworkLog(tell)
        self._limits = policy.limits
        self._streams = Streams(Proxy(policy, gateway, self._log).serve, policy.limits.connections, policy.limits.connections_total)

    def __repr__(self) -> str:
        return f"<RunNetwork {self._streams!r}>"

    def header(self) -> dict[str, Any]:
        """What the guest is told with the run."""
        return {"connections": self._limits.connections}

    def start(self, send: Send) -> None:
        self._streams.start(send)

    def take(self, kind: bytes, payload: bytes) -> None:
        """A frame of the guest, of one of `kinds`. Raises FrameError."""
        self._streams.take(kind, payload)

    async def close(self) -> None:
        await self._streams.close()

    def records(self) -> tuple[NetworkRecord, ...]:
        return self._log.records()


def run_network(policy: NetworkPolicy | None, gateway: Gateway, events: EventBus, mode: str, request_id: str) -> RunNetwork | None:
    """The network of a run whose decisions become events; None for a run without one."""
    if policy is None:
        return None

    def tell(record: NetworkRecord, ended: bool) -> None:
        outcome = "ended" if ended else record.outcome
        moved = (record.bytes_sent, record.bytes_received)
        events.emit(NetworkDecision(time.time(), mode, request_id, record.host, record.port, outcome, record.reason, *moved))

    return RunNetwork(policy, gateway, tell)
