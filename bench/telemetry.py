"""What a picture of a hundred busy instances costs the kernel: made four times a second, sent as often as its size allows.

Behind it lies a log that is full of events, of which each picture tells the last.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from bench.paired import compare
from bench.promises import Promise, at_most
from gleitzeit_nb.config import load
from gleitzeit_nb.core.instances import InstanceSettings, InstanceState
from gleitzeit_nb.core.models import LoadedModel
from gleitzeit_nb.engine import SNAPSHOT_INTERVAL_S, Engine
from gleitzeit_nb.events import Failover
from gleitzeit_nb.jupyter.control.comms import BYTES_PER_S
from gleitzeit_nb.jupyter.control.messages import snapshot_message
from gleitzeit_nb.jupyter.dashboard import live, markup

INSTANCES = 100
MODELS = tuple(f"model-{number}:latest" for number in range(12))
EVENTS = 1000  # as many as the log keeps
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
        yield _dashboard(fleet, made_s)


def _dashboard(fleet: Fleet, made_s: float) -> Promise:
    """The notebook's own view of the same; its widgets speak to nobody here, so what they send is encoded by hand."""
    from gleitzeit_nb.jupyter.dashboard.widgets import DashboardWidgets

    widgets = DashboardWidgets(lambda _paused: None, lambda _command, _instance: None)
    widgets.show(markup.live(fleet.picture(), "live"))
    sizes = []

    def draw() -> None:
        before = widgets.shown
        sizes.append(widgets.show(markup.live(fleet.picture(), "live"), live.PICTURE_BYTES))
        changed = [now for now, then in zip(widgets.shown, before, strict=True) if now != then]
        json.dumps(json.dumps(changed))  # a widget encodes once, and whoever signs it looks at each letter again

    drawn_s = _cpu_s(draw) - made_s
    widgets.close()
    size = sum(sizes) / len(sizes)
    per_s = min(1 / SNAPSHOT_INTERVAL_S, live.BYTES_PER_S / size)
    share = 100 * (made_s / SNAPSHOT_INTERVAL_S + drawn_s * per_s)
    seen = f"{drawn_s * 1000:.2f} ms to draw, {size / 1000:.0f} kB {per_s:.1f} times a second"
    return at_most(f"… in the notebook, behind {EVENTS:,} events", share, 2.0, seen, "%")


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
        for number in range(EVENTS):
            source, target = (f"gpu-{(number + step) % INSTANCES}" for step in range(2))
            self._engine.events.emit(Failover(time.time(), f"r{number}", MODELS[0], source, target, "no first token in 5 s"))

    def learn(self, models: Sequence[str]) -> None:
        """All of them have these."""
        for each in self._instances:
            each.learn_models(models)

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
            each.state = InstanceState.HEALTHY  # whatever a probe has found at its address


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
