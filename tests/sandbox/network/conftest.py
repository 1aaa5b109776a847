"""A real guest without isolation, and a run's network before it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest_asyncio

from gleitzeit_nb.core.execution import ExecutionRequest, ExecutionResult, Limits
from gleitzeit_nb.core.network import NetworkLimits, NetworkPolicy, NetworkRecord
from gleitzeit_nb.core.reachable import parse_range
from gleitzeit_nb.sandbox.channel import Expectations
from gleitzeit_nb.sandbox.connection import GuestConnection
from gleitzeit_nb.sandbox.network import Gateway, RunNetwork
from gleitzeit_nb.sandbox.network.policy import rules_of
from tests.sandbox.subprocess_channel import SubprocessChannel

LOOPBACK = ("127.0.0.1", "::1")


class Online:
    """Runs code with a network. `told` holds the decisions of the last run with whether they were ends."""

    def __init__(self, connection: GuestConnection) -> None:
        self.connection = connection
        self.told: list[tuple[NetworkRecord, bool]] = []

    async def __call__(
        self,
        code: str,
        allow: Sequence[str] = (),
        *,
        private: Sequence[str] = LOOPBACK,
        gateway: Gateway | None = None,
        limits: dict[str, Any] | None = None,
        timeout_s: float = 60,
        **request: Any,
    ) -> ExecutionResult:
        self.told = []
        policy = NetworkPolicy(rules_of(allow), tuple(map(parse_range, private)), NetworkLimits(**(limits or {})))
        network = RunNetwork(policy, gateway or Gateway(), lambda record, ended: self.told.append((record, ended)))
        asked = ExecutionRequest("id", code, **request)
        return await self.connection.run(asked, Limits(timeout_s=timeout_s), network=network)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def online(tmp_path_factory: Any) -> AsyncIterator[Online]:
    work: Path = tmp_path_factory.mktemp("work")
    channel = await SubprocessChannel.start(work, Expectations(own_network=True, weaker="no isolation: a test's double"))
    connection = GuestConnection(channel)
    await connection.open()
    yield Online(connection)
    await connection.close()
