"""Waiting for something to become true, with a limit that a busy machine does not reach."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

LIMIT_S = 30.0

T = TypeVar("T")


async def until(condition: Callable[[], object], limit_s: float = LIMIT_S) -> None:
    """Fails where it does not become true in time. The test's own loop goes on meanwhile."""
    give_up = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < give_up, f"it did not become true within {limit_s:g} s"
        await asyncio.sleep(0.01)


def wait_until(condition: Callable[[], T], limit_s: float = LIMIT_S, what: str = "it to become true") -> T:
    """The first true value of the condition; fails where there is none in time."""
    give_up = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < give_up, f"waited {limit_s:g} s for {what}"
        time.sleep(0.05)
    return value
