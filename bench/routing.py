"""What choosing costs, and what it is worth: the pick, a release of a slot in a long queue, loads.

Costs are timed. Loads are counted by real HTTP servers that hold one model at a time.
"""

from __future__ import annotations

import asyncio
import gc
import random
import statistics
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

from bench.paired import compare
from bench.promises import Promise, at_most
from gleitzeit_nb.core.admission import AdmissionQueue, AdmissionSettings
from gleitzeit_nb.core.instances import Instance, InstanceSettings, InstanceState
from gleitzeit_nb.core.leases import Lease, Outcome, reserve
from gleitzeit_nb.core.models import LoadedModel
from gleitzeit_nb.core.needs import Needs, Wishes
from gleitzeit_nb.core.strategies import STRATEGIES, pick
from gleitzeit_nb.llm.pool import OllamaPoolManager
from tests.support.fake_ollama import FakeOllama

MODEL = "llama3.2:latest"
MODELS = ("one:latest", "two:latest", "three:latest")
REPEATS = 200
PICKS = 25
LONG, SHORT = 10_000, 100
RELEASES = 200


async def routing_promises() -> AsyncIterator[Promise]:
    for where in ("warm", "cold"):
        yield await pick_promise(where)
    for kind, needs_of in (("alike", _alike), ("all different", _different)):
        yield release_promise(kind, needs_of)
    yield memory_promise()
    yield await loads_promise()


def instances(count: int, slots: int) -> tuple[Instance, ...]:
    made = []
    for number in range(count):
        one = Instance(InstanceSettings(f"i{number}", f"http://i{number}:1", max_concurrent=slots))
        one.learn_models((MODEL, *MODELS))
        one.state = InstanceState.HEALTHY
        one.loaded[MODEL] = LoadedModel(MODEL, seen_at=0.0)
        made.append(one)
    return tuple(made)


async def pick_promise(where: str) -> Promise:
    """By the strategy that costs most. `where` cold: the model is loaded nowhere, another one everywhere."""
    hundred, needs = instances(100, 4), Needs(MODEL)
    mix = random.Random(1)
    for each in hundred:
        each.load.in_flight, each.last_turn = mix.randrange(3), mix.randrange(500)
        if where == "cold":
            each.loaded = {MODELS[0]: LoadedModel(MODELS[0], seen_at=0.0)}
    found = {name: await _pick_ratio(hundred, needs, Wishes(name)) for name in STRATEGIES}
    each_of_them = ", ".join(f"{name} {value:.0f}" for name, value in found.items())
    return Promise(f"pick among 100 instances, {where}", max(found.values()), 30.0, f"min(range(100)), medians of {PICKS}: {each_of_them}")


async def _pick_ratio(hundred: tuple[Instance, ...], needs: Needs, wishes: Wishes) -> float:
    rng = random.Random(1)

    async def ours() -> float:
        begin = time.process_time()  # of this process alone: a block is longer than the control's, and so more often interrupted
        for _ in range(REPEATS):
            assert pick(needs, wishes, hundred, 1.0, rng).instance is not None
        return time.process_time() - begin

    async def control() -> float:
        begin = time.process_time()
        for _ in range(REPEATS):
            min(range(100))
        return time.process_time() - begin

    return (await compare("", ours, control, against="", limit=0.0, pairs=PICKS)).value


def _alike(number: int) -> Needs:
    return Needs(MODEL)


def _different(number: int) -> Needs:
    return Needs(MODEL, excluded=frozenset({f"gone-{number}"}))


def queue_of(length: int, needs_of: Callable[[int], Needs]) -> tuple[AdmissionQueue, tuple[Instance, ...], list[Lease]]:
    """Five busy instances, and so many who wait."""
    queue, members, rng = AdmissionQueue(AdmissionSettings(max_queue=length)), instances(5, 1), random.Random(2)
    leases = [reserve(member, MODEL, 0.0) for member in members]
    for number in range(length):
        waiter = queue.enter(needs_of(number), queue.key(0, number * 1e-4))
        assert not queue.arrived(waiter, members, 1.0, rng).granted
    return queue, members, leases


def release_promise(kind: str, needs_of: Callable[[int], Needs]) -> Promise:
    def medians() -> list[float]:
        queue, members, leases = queues[length]
        rng, times = random.Random(3), []
        for _ in range(20):
            lease = leases.pop(0)
            lease.end(Outcome.IGNORED, 1.0, rng)
            begin = time.perf_counter()
            result = queue.freed(lease.instance, members, 1.0, rng)
            times.append(time.perf_counter() - begin)
            (grant,) = result.granted
            leases.append(grant.lease)
            waiter = queue.enter(needs_of(random.Random(len(times)).randrange(10**6, 10**7)), queue.key(0, 2.0))
            queue.arrived(waiter, members, 1.0, rng)  # so that the queue stays as long as it was
        return times

    queues = {length: queue_of(length, needs_of) for length in (LONG, SHORT)}
    gc.collect()
    times: dict[int, list[float]] = {LONG: [], SHORT: []}
    for _ in range(RELEASES // 20):
        for length in (LONG, SHORT):
            times[length] += medians()
    ours, control = (statistics.median(times[length]) * 1e6 for length in (LONG, SHORT))
    seen = f"{ours:.0f} µs with {LONG:,} waiting against {control:.0f} µs with {SHORT}, {RELEASES} releases of each"
    return Promise(f"a release, {kind}", ours / control, 3.0, seen)


def memory_promise() -> Promise:
    def per_waiter(length: int) -> float:
        gc.collect()
        tracemalloc.start()
        kept = queue_of(length, _different)
        bytes_used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        del kept
        return bytes_used / length

    small, large = per_waiter(LONG // 10), per_waiter(LONG)
    seen = f"{large:.0f} bytes per waiter of {LONG:,} against {small:.0f} of {LONG // 10:,}, all different"
    return Promise("memory per waiter", large / small, 1.25, seen)


class OneModel(FakeOllama):
    """Holds one model at a time, as a card that is full does."""

    def __init__(self, id: str) -> None:  # noqa: A002 - as in FakeOllama
        super().__init__(id, MODELS, token_s=0.002, load_s=0.4)
        self.shelf.memory_models = 1


async def loads_promise() -> Promise:
    rng, calls = random.Random(4), 300
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(OneModel(name)) for name in "abc"]
        pool = await stack.enter_async_context(
            OllamaPoolManager([{"id": server.id, "url": server.url, "max_concurrent": 1} for server in servers], rng=rng)
        )
        places = asyncio.Semaphore(6)

        async def call(model: str) -> None:
            async with places:
                await pool.chat(model, "some words to say again")

        await asyncio.gather(*(call(rng.choice(MODELS)) for _ in range(calls)))
        loads = sum(server.loads for server in servers)
    return at_most("loads: 3 models, 3 one-model servers", loads, 3, f"{calls} calls, 6 at once, over HTTP")
