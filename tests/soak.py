"""A pool on servers that fail in every way they can, asked by callers that cancel, time out, interrupt and walk away, for a while.

python -m tests.soak --seconds 600 --seed 1

What happens is drawn from the seed. At the end every request must be accounted for, nothing may be left (no task, thread, slot,
socket or other file descriptor), and memory must be flat. Prints how requests ended, and how often each failure was met. Exits 1
when something of that does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import CancelledError as InterruptedFutureError
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as OutOfPatienceError  # not the builtin one before Python 3.11
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gleitzeit_nb.core.breaker import BreakerSettings
from gleitzeit_nb.core.receipts import Receipt
from gleitzeit_nb.core.requests import Reply
from gleitzeit_nb.errors import PoolError, StreamInterruptedError
from gleitzeit_nb.events import BreakerMoved, Event, EventBus, Failover, InstanceChanged
from gleitzeit_nb.llm.journey import Journey
from gleitzeit_nb.llm.pool import OllamaPoolManager
from gleitzeit_nb.llm.receipts import Receipts
from tests.llm.conftest import HASTY, settings_for
from tests.support.fake_ollama import BROKEN, BUSY, FakeOllama, Fault, Kind

MODEL = "llama3.2"
NAMES = "abcd"
ARRIVALS_PER_S = 80.0
MOODS_PER_S = 30.0  # how often a server begins or ceases to fail
MOVES_PER_S = 3.0  # how often one is killed, drained or taken away
AT_ONCE = 60
THREADS = 2
DEADLINE_S = 20.0
COMES_BACK_S = 5.0  # within which an instance must be used again that behaves again
KEPT = 50  # receipts and events, so that memory is flat soon
LEAKED_PER_REQUEST = 0.5  # objects; a request that is held on to somewhere leaves dozens …
SLACK_OBJECTS = 1000  # … beside what comes and goes with the moment
GROWTH_BYTES = 24 << 20
FAULTS: tuple[Fault | None, ...] = (
    *([None] * 7),
    BUSY,
    BROKEN,
    *(Fault(kind) for kind in (Kind.DISCONNECT, Kind.HTML, Kind.EMPTY, Kind.CUT, Kind.HANG_BEFORE_HEADERS, Kind.HANG_BEFORE_TOKEN)),
    *(Fault(kind, after=1) for kind in (Kind.CUT, Kind.STALL, Kind.END_EARLY, Kind.BROKEN_LINE, Kind.ERROR_LINE)),
    Fault(Kind.HANG_BEFORE_HEADERS, everywhere=True),
)


Change = Callable[[OllamaPoolManager, FakeOllama], Awaitable[None]]


@dataclass(frozen=True)
class Holdings:
    """What this process holds. Sockets count among the descriptors."""

    threads: frozenset[str]
    descriptors: tuple[str, ...]

    @classmethod
    def now(cls) -> Holdings:
        gc.collect()
        return cls(frozenset(thread.name for thread in threading.enumerate()), tuple(sorted(_descriptors())))


def _descriptors() -> Iterator[str]:
    """Where they lead, without the numbers of sockets and pipes, which differ."""
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the one that listed them is gone
            yield os.readlink(entry).partition("[")[0]


@dataclass(frozen=True)
class Weight:
    """Of the process while nobody asks."""

    requests: int
    objects: int
    resident_bytes: int

    @classmethod
    def now(cls, requests: int) -> Weight:
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return cls(requests, len(gc.get_objects()), pages * os.sysconf("SC_PAGE_SIZE"))


@dataclass
class Tally:
    """How requests ended, what was done to them, and what is wrong with the soak itself."""

    begun: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    tries: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    moods: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    took_s: float = 0.0

    def expect(self, holds: bool, what: str) -> None:
        if not holds:
            self.wrong.append(what)

    def hear(self, event: Event) -> None:
        if isinstance(event, BreakerMoved):
            self.events[f"breaker {event.after}"] += 1
        elif isinstance(event, InstanceChanged):
            self.events[event.change] += 1
        elif isinstance(event, Failover):
            self.events["failover"] += 1

    def lines(self) -> Iterator[str]:
        yield f"{self.begun} requests in {self.took_s:.0f} s"
        for title, counts in (("ended", self.endings), ("tries", self.tries), ("servers", self.moods), ("events", self.events)):
            yield f"{title}: " + (", ".join(f"{name} {count}" for name, count in counts.most_common()) or "none")
        yield from (f"WRONG: {what}" for what in self.wrong)


class TalliedReceipts(Receipts):
    """Counts how the tries of every request ended, also of those whose caller is gone."""

    def __init__(self, tries: Counter[str]) -> None:
        super().__init__(KEPT)
        self._tries = tries

    def answered(self, journey: Journey) -> Receipt:
        receipt = super().answered(journey)
        self._tries.update(each.outcome for each in receipt.tries)
        return receipt

    def failed(self, journey: Journey, exc: BaseException) -> None:
        if journey.receipt is None:
            super().failed(journey, exc)
            self._tries.update(each.outcome for each in journey.attempts)


class Soak:
    """One run. `play` is all of it; the fleet, the callers and the checks are its parts."""

    def __init__(self, seed: int, seconds: float) -> None:
        self.tally = Tally()
        self._rng = random.Random(seed)
        self._seconds = seconds
        self._servers = [FakeOllama(name, token_s=0.001) for name in NAMES]
        self._asking: set[asyncio.Future[None]] = set()
        self._weights: list[Weight] = []

    async def play(self) -> None:
        began = time.monotonic()
        for server in self._servers:
            await server.listen()
        before = asyncio.all_tasks()
        events = EventBus(kept=KEPT)
        events.subscribe(self.tally.hear)
        breaker = BreakerSettings(first_ejection_s=0.05, recovery_timeout_s=0.5)
        settings = settings_for(*self._servers, max_concurrent=3, timeouts=HASTY, breaker=breaker)
        pool = OllamaPoolManager(
            settings=settings, events=events, receipts=TalliedReceipts(self.tally.tries), rng=random.Random(self._rng.random())
        )
        async with pool:
            with ThreadPoolExecutor(THREADS, thread_name_prefix="soak") as executor:
                self._callers = Callers(pool, self.tally, self._rng, executor)
                for _ in range(3):  # the first third fills what is bounded; the others must weigh the same
                    await self._storm(pool, self._seconds / 3)
                    await self._calm(pool)
        self._check_weight()
        left = [task for task in asyncio.all_tasks() - before if not task.done()]
        self.tally.expect(not left, f"tasks are left: {left}")
        for server in self._servers:
            await server.die()
        self.tally.took_s = time.monotonic() - began

    # -- the storm ------------------------------------------------------------------------------------------------------------

    async def _storm(self, pool: OllamaPoolManager, seconds: float) -> None:
        ends = time.monotonic() + seconds
        moods, moves = (self._fail, self._fail, self._fail, self._slow), (self._restart, self._drain, self._leave)
        changing = [asyncio.ensure_future(self._change(pool, ends, *each)) for each in ((MOODS_PER_S, moods), (MOVES_PER_S, moves))]
        while time.monotonic() < ends:
            if len(self._asking) < AT_ONCE:
                task = asyncio.ensure_future(self._callers.one())
                self._asking.add(task)
                task.add_done_callback(self._asking.discard)
            await asyncio.sleep(self._rng.expovariate(ARRIVALS_PER_S))
        await asyncio.gather(*changing)

    async def _change(self, pool: OllamaPoolManager, ends: float, per_s: float, ways: Sequence[Change]) -> None:
        while time.monotonic() < ends:
            await self._rng.choice(ways)(pool, self._rng.choice(self._servers))
            await asyncio.sleep(self._rng.expovariate(per_s))

    async def _fail(self, pool: OllamaPoolManager, server: FakeOllama) -> None:
        server.fault = self._rng.choice(FAULTS)
        if server.fault is not None:
            self.tally.moods[server.fault.kind.value if server.fault.kind is not Kind.STATUS else str(server.fault.status)] += 1

    async def _slow(self, pool: OllamaPoolManager, server: FakeOllama) -> None:
        self.tally.moods["other speed"] += 1
        server.token_s = self._rng.choice((0.0, 0.001, 0.02))

    async def _restart(self, pool: OllamaPoolManager, server: FakeOllama) -> None:
        self.tally.moods["killed and started again"] += 1
        await server.die()
        await asyncio.sleep(self._rng.uniform(0.0, 0.3))
        await server.listen()

    async def _drain(self, pool: OllamaPoolManager, server: FakeOllama) -> None:
        self.tally.moods["drained"] += 1
        await pool.drain(server.id)
        await asyncio.sleep(self._rng.uniform(0.0, 0.2))
        await pool.resume(server.id)

    async def _leave(self, pool: OllamaPoolManager, server: FakeOllama) -> None:
        self.tally.moods["removed and added again"] += 1
        await pool.remove_instance(server.id)
        await asyncio.sleep(self._rng.uniform(0.0, 0.2))
        await pool.add_instance(server.settings(max_concurrent=3))

    # -- afterwards -----------------------------------------------------------------------------------------------------------

    async def _calm(self, pool: OllamaPoolManager) -> None:
        """All servers behave. Whoever still asks is waited for; then the pool has to be as good as new."""
        tally = self.tally
        for server in self._servers:
            server.fault, server.token_s = None, 0.0
        if self._asking:
            _, late = await asyncio.wait(self._asking, timeout=2 * DEADLINE_S)
            tally.expect(not late, f"{len(late)} requests have not ended long after their deadline")
        tally.expect(sum(tally.endings.values()) == tally.begun, f"{tally.begun} requests began, {sum(tally.endings.values())} ended")
        tally.expect((pool.in_flight, pool.queue_depth, pool.run_views()) == (0, 0, ()), f"the pool is not idle: {pool!r}")
        for name in NAMES:
            await self._comes_back(pool, name)
        for server in self._servers:
            tally.expect(server.in_flight == 0, f"{server.id} still works for somebody")
            server.requests.clear()
        self._weights.append(Weight.now(tally.begun))

    async def _comes_back(self, pool: OllamaPoolManager, name: str) -> None:
        async def answers() -> bool:
            with suppress(PoolError):
                return (await pool.chat(MODEL, "are you back?", instance=name, deadline=1)).instance == name
            return False

        ends = time.monotonic() + COMES_BACK_S
        while time.monotonic() < ends:
            if await answers():
                return
            await asyncio.sleep(0.1)
        self.tally.expect(False, f"{name} does not answer any more although its server does")

    def _check_weight(self) -> None:
        _, middle, last = self._weights
        requests = last.requests - middle.requests
        more = last.objects - middle.objects
        self.tally.expect(more < SLACK_OBJECTS + LEAKED_PER_REQUEST * requests, f"{more} objects more after {requests} requests")
        self.tally.expect(last.resident_bytes - middle.resident_bytes < GROWTH_BYTES, f"memory grows: {self._weights}")


class Callers:
    """Every way of asking and of leaving. Each call of `one` is one request and one ending in the tally."""

    def __init__(self, pool: OllamaPoolManager, tally: Tally, rng: random.Random, executor: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._tally = tally
        self._rng = rng
        self._executor = executor
        self._ways: tuple[Callable[[str], Awaitable[str]], ...] = (
            *(self._whole,) * 4,
            *(self._stream,) * 3,
            self._embed,
            self._impatient,
            self._cancelled,
            self._cancelled,
            self._walks_away,
            self._forgets,
            self._interrupted,
        )

    async def one(self) -> None:
        self._tally.begun += 1
        text = " ".join(f"n{self._tally.begun}.{word}" for word in range(self._rng.randint(1, 8)))
        try:
            ending = await self._rng.choice(self._ways)(text)
        except StreamInterruptedError as error:
            ending = "StreamInterruptedError"
            self._tally.expect(f"{text} ".startswith(error.partial) and error.partial != "", f"a part of another answer: {error.partial!r}")
        except PoolError as error:
            ending = type(error).__name__
        except Exception as error:  # noqa: BLE001 - nothing else may come out, and what does must not end the soak
            ending = f"untyped {type(error).__name__}"
            self._tally.expect(False, f"not an error of ours: {error!r}")
        self._tally.endings[ending] += 1

    def _is_right(self, text: str, reply: Reply) -> str:
        self._tally.expect(reply.text == f"{text} ", f"asked {text!r}, answered {reply.text!r}")
        return "reply"

    async def _whole(self, text: str) -> str:
        restart = self._rng.random() < 0.3
        reply = await self._pool.chat(MODEL, text, deadline=DEADLINE_S, priority=self._rng.choice((0, 0, 1)), restart_on_cut=restart)
        return self._is_right(text, reply)

    async def _stream(self, text: str) -> str:
        seen, reply = "", None
        async for chunk in self._pool.stream(MODEL, text, deadline=DEADLINE_S):
            seen, reply = seen + chunk.text, chunk.reply
        assert reply is not None
        self._tally.expect(seen == reply.text, f"streamed {seen!r}, then said {reply.text!r}")
        return self._is_right(text, reply)

    async def _embed(self, text: str) -> str:
        vectors = await self._pool.embed(MODEL, text, deadline=DEADLINE_S)
        self._tally.expect(len(vectors) == 1, "one text, but not one vector")
        return "vectors"

    async def _impatient(self, text: str) -> str:
        return self._is_right(text, await self._pool.chat(MODEL, text, deadline=self._rng.uniform(0.001, 0.1)))

    async def _cancelled(self, text: str) -> str:
        task = asyncio.ensure_future(self._pool.chat(MODEL, text, deadline=DEADLINE_S))
        await asyncio.wait({task}, timeout=self._rng.uniform(0.0, 0.05))
        task.cancel()
        try:
            return self._is_right(text, await task)
        except asyncio.CancelledError:
            return "cancelled"

    async def _walks_away(self, text: str) -> str:
        stream = self._pool.stream(MODEL, text, deadline=DEADLINE_S)
        for _ in range(self._rng.randint(0, 2)):
            if await anext(stream, None) is None:
                break
        await stream.aclose()
        return "stream closed"

    async def _forgets(self, text: str) -> str:
        async for chunk in self._pool.stream(MODEL, text, deadline=DEADLINE_S):
            if chunk.text:
                break  # without closing: the collector does
        return "stream dropped"

    async def _interrupted(self, text: str) -> str:
        """As a cell that is interrupted: the caller blocks on another thread, and cancels from there."""
        loop, patience_s = asyncio.get_running_loop(), self._rng.uniform(0.0, 0.1)

        def cell() -> Reply | None:
            future = asyncio.run_coroutine_threadsafe(self._pool.chat(MODEL, text, deadline=DEADLINE_S), loop)
            with suppress(OutOfPatienceError, InterruptedFutureError):
                return future.result(patience_s)
            future.cancel()
            return None

        reply = await loop.run_in_executor(self._executor, cell)
        return "interrupted" if reply is None else self._is_right(text, reply)


def soak(seed: int, seconds: float) -> Tally:
    """All of it, on a loop of its own."""
    before = Holdings.now()
    playing = Soak(seed, seconds)
    asyncio.run(playing.play())
    after = Holdings.now()
    playing.tally.expect(after.threads <= before.threads, f"threads are left: {after.threads - before.threads}")
    more = Counter(after.descriptors) - Counter(before.descriptors)
    playing.tally.expect(not more, f"descriptors are left: {dict(more)}")
    return playing.tally


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600.0, help="how long it storms (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=1, help="what happens is drawn from it (default: %(default)s)")
    options = parser.parse_args()
    tally = soak(options.seed, options.seconds)
    print("\n".join(tally.lines()))
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
