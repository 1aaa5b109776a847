"""Pools on fake servers, and waiting for conditions."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any

from gleitzeit_nb.core.settings import PoolSettings
from gleitzeit_nb.core.strategies import BalancingSettings
from gleitzeit_nb.core.timeouts import TimeoutSettings
from gleitzeit_nb.llm.pool import OllamaPoolManager
from tests.support.fake_ollama import FakeOllama

HASTY = TimeoutSettings(connect_s=1.0, first_token_warm_s=0.3, first_token_cold_s=0.3, between_tokens_s=0.3)  # for servers that hang


def settings_for(*servers: FakeOllama, **changes: Any) -> PoolSettings:
    """Pool settings with every server as an instance; `max_concurrent` applies to all of them."""
    slots = {"max_concurrent": changes.pop("max_concurrent")} if "max_concurrent" in changes else {}
    balancing = {
        name: changes.pop(name) for name in ("strategy", "failover", "retry_attempts", "health_check_interval_s") if name in changes
    }
    balancing.setdefault("strategy", "least_loaded")  # tests of other things want to know where a request goes
    instances = tuple(server.settings(**slots) for server in servers)
    return PoolSettings(**{"instances": instances, "balancing": BalancingSettings(**balancing), **changes})


@contextlib.asynccontextmanager
async def pool_of(*servers: FakeOllama, **changes: Any) -> AsyncIterator[OllamaPoolManager]:
    """An open pool over `servers`. Ends with nothing left: no slot, no waiter, no task of the pool."""
    pool = OllamaPoolManager(settings=settings_for(*servers, **changes), rng=random.Random(1))
    async with pool:
        yield pool
    assert (pool.in_flight, pool.queue_depth) == (0, 0)
