"""What a picture of a hundred busy instances costs the kernel: made four times a second, sent as often as its size allows."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from bench.paired import compare
from bench.promises import Promise, at_most
from gleitzeit_nb.config import load
from gleitzeit_nb.core.instances import InstanceSettings
from gleitzeit_nb.core.models import LoadedModel
from gleitzeit_nb.engine import SNAPSHOT_INTERVAL_S, Engine
from gleitzeit_nb.jupyter.control.comms import BYTES_PER_S
from gleitzeit_nb.jupyter.control.messages import snapshot_message

INSTANCES = 100
MODELS = tuple(f"model-{number}:latest" for number in range(12))
MINUTE_S = 60
ROUNDS = 20  # in one measurement of CPU time


async def telemetry_promises() -> AsyncIterator[Promise]:
    async with Engine(load({"instances": []}, environ={}, home=Path("/nonexistent"))) as engine:
        fleet = Fleet(engine)
        await fleet.grow()
        message = snapshot_message(fleet.picture())
        yield await compare(
            f"picture of {INSTANCES} instances, made",
            _asynchronous(lambda: snapshot_message(fleet.picture())),
            _asynchronous(lambda: json.loads(json.dumps(message))),
            against="json.loads(json.dumps()) of the same",
            limit=5.0,
            pairs=60,
        )
        made_s, sent_s = _cpu_s(fleet.picture), _cpu_s(lambda: json.dumps(snapshot_message(fleet.picture())))
        size = len(json.dumps(message))
        per_s = min(1 / SNAPSHOT_INTERVAL_S, BYTES_PER_S / size)
        share = 100 * (made_s / SNAPSHOT_INTERVAL_S + 2 * (sent_s - made_s) * per_s)  # what is sent is encoded twice: measured, and sent
        seen = f"{made_s * 1000:.2f} ms to look, {sent_s * 1000:.2f} ms to tell, {size / 1000:.0f} kB {per_s:.1f} times a second"
        yield at_most("… shown live, of one core", share, 2.0, seen, "%")


class Fleet:
    """Instances that nobody asks over the network, and whose books say that they are busy."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._rng = random.Random(1)
        self._instances: list[Any] = []

    async def grow(self) -> None:
        pool = self._engine.pool
        await asyncio.gather(*(pool.add_instance(_settings(number)) for number in range(INSTANCES)))
        self._instances = list(pool._instances)
        now = time.monotonic()
        for each in self._instances:
            each.learn_models(MODELS)
            for name in MODELS[:2]:
                each.loaded[name] = LoadedModel(name, 1.0, 8192, seen_at=now, size_bytes=40 << 30, vram_bytes=40 << 30)
        for second in range(MINUTE_S):
            self._work(now - MINUTE_S + second)

    def picture(self) -> Any:
        """After a moment in which every instance did something."""
        self._work(time.monotonic())
        return self._engine._take()

    def _work(self, now: float) -> None:
        for each in self._instances:
            each.load.begin(MODELS[0], now)
            each.load.tokens.add(self._rng.randrange(80), now)
            each.load.succeeded(self._rng.random(), now)
            if each.load.in_flight > 2:
                each.load.end(MODELS[0], now)


def _settings(number: int) -> InstanceSettings:
    return InstanceSettings(f"gpu-{number}", f"http://127.0.0.1:{20_000 + number}", max_concurrent=4, tags=("gpu", "48 GB"))


def _asynchronous(work: Callable[[], object]) -> Any:
    async def once() -> None:
        work()

    return once


def _cpu_s(work: Callable[[], object]) -> float:
    """The least of five measurements: others on the machine only ever add."""
    found = []
    for _ in range(5):
        begin = time.process_time()
        for _ in range(ROUNDS):
            work()
        found.append((time.process_time() - begin) / ROUNDS)
    return min(found)
