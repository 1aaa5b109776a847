"""What one bad instance of three costs, and what happens when all are down. Real HTTP servers that misbehave on purpose."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from bench.promises import Promise, at_most
from gleitzeit_nb.core.requests import Chunk
from gleitzeit_nb.core.settings import PoolSettings
from gleitzeit_nb.core.timeouts import TimeoutSettings
from gleitzeit_nb.errors import GleitzeitError, StreamInterruptedError
from gleitzeit_nb.llm.pool import OllamaPoolManager
from tests.support.fake_ollama import BROKEN, BUSY, FakeOllama, Fault, Kind

MODEL = "llama3.2"
PROMPT = "one two three four five"
TOKEN_S = 0.01
SLOTS = 4
IN_FLIGHT = 6  # half of all slots
WINDOW_S = 3.0
FIRST_BYTE_S = 1.0
TIMEOUTS = TimeoutSettings(first_token_warm_s=FIRST_BYTE_S, first_token_cold_s=FIRST_BYTE_S, between_tokens_s=FIRST_BYTE_S)
REFUSES = "refuses"

BEFORE_A_TOKEN: dict[str, Fault | None] = {
    REFUSES: None,
    "resets": Fault(Kind.CUT),
    "hangs": Fault(Kind.HANG_BEFORE_HEADERS),
    "answers 500": BROKEN,
    "answers 503": BUSY,
    "serves HTML": Fault(Kind.HTML),
    "cuts before a token": Fault(Kind.CLOSE),
}
AFTER_A_TOKEN = (Kind.CUT, Kind.CLOSE, Kind.SHORT, Kind.STALL, Kind.END_EARLY, Kind.ERROR_LINE, Kind.BROKEN_LINE)


@dataclass
class Tally:
    """What a window of asking came to."""

    answered: int = 0
    lost: list[str] = field(default_factory=list)
    bad_tries: int = 0
    took_s: list[float] = field(default_factory=list)

    @property
    def p99_s(self) -> float:
        return statistics.quantiles(self.took_s, n=100, method="inclusive")[98]

    @property
    def seen(self) -> str:
        return f"{self.answered} answered in {WINDOW_S:g} s, p99 {self.p99_s:.2f} s" + (f"; lost: {self.lost[0]}" if self.lost else "")


class Stand:
    """Three servers and a pool over them, warm."""

    def __init__(self, *, token_s: float = TOKEN_S) -> None:
        self.bad, *self.others = (FakeOllama(name, token_s=token_s) for name in ("bad", "good", "better"))
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Stand:
        servers = [await self._stack.enter_async_context(server) for server in (self.bad, *self.others)]
        settings = PoolSettings(tuple(each.settings(max_concurrent=SLOTS) for each in servers), timeouts=TIMEOUTS, share_slots=False)
        self.pool = await self._stack.enter_async_context(OllamaPoolManager(settings=settings))
        await asyncio.gather(*(self.pool.chat(MODEL, PROMPT) for _ in range(3 * SLOTS)))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    async def fail(self, fault: Fault | None) -> None:
        if fault is None:
            await self.bad.die()
        self.bad.fault = fault

    async def ask_for(self, seconds: float, in_flight: int = IN_FLIGHT) -> Tally:
        tally, end = Tally(), time.monotonic() + seconds

        async def worker() -> None:
            while time.monotonic() < end:
                await self._ask(tally)

        await asyncio.gather(*(worker() for _ in range(in_flight)))
        return tally

    async def _ask(self, tally: Tally) -> None:
        begin = time.monotonic()
        try:
            reply = await self.pool.chat(MODEL, PROMPT)
        except GleitzeitError as error:
            tally.lost.append(f"{type(error).__name__}: {error}")
            return
        tally.answered += 1
        tally.took_s.append(time.monotonic() - begin)
        tally.bad_tries += sum(attempt.instance == "bad" and attempt.outcome != "ok" for attempt in reply.route.attempts)


async def fault_promises() -> AsyncIterator[Promise]:
    async with Stand() as stand:
        calm = await stand.ask_for(WINDOW_S)
    yield at_most("one of three is well: lost", len(calm.lost), 0, f"the control: {calm.seen}")
    for name, fault in BEFORE_A_TOKEN.items():
        async with Stand() as stand:
            await stand.fail(fault)
            tally = await stand.ask_for(WINDOW_S)
        yield at_most(f"one of three {name}: lost", len(tally.lost), 0, tally.seen)
        yield at_most(f"one of three {name}: tries there", tally.bad_tries, 6, f"in {WINDOW_S:g} s, {IN_FLIGHT} requests at a time")
        if name == "hangs":
            seen = f"first-byte timeout {FIRST_BYTE_S:g} s; the slowest {max(tally.took_s):.2f} s; without a fault {calm.p99_s:.2f} s"
            yield at_most("one of three hangs: p99", tally.p99_s, FIRST_BYTE_S + 1.0, seen, "s")
    yield await silent_cuts()
    async for promise in all_down():
        yield promise


async def silent_cuts() -> Promise:
    """Streams that end neither whole nor with an error that says so and holds what had come."""
    silent: list[str] = []
    async with Stand() as stand:
        for kind in AFTER_A_TOKEN:
            stand.bad.fault = Fault(kind, after=2)
            silent += [kind.value for ending in await asyncio.gather(*(_ending(stand.pool) for _ in range(SLOTS))) if not ending]
    return at_most("a stream cut after a token: silence", len(silent), 0, f"of {SLOTS * len(AFTER_A_TOKEN)} streams; {silent[:1]}")


async def _ending(pool: OllamaPoolManager) -> bool:
    chunks: list[Chunk] = []
    try:
        async for chunk in pool.stream(MODEL, PROMPT, instance_preference="bad"):
            chunks.append(chunk)
    except StreamInterruptedError as error:
        return error.partial == "".join(chunk.text for chunk in chunks) != ""
    reply = chunks[-1].reply
    return reply is not None and reply.text.split() == PROMPT.split()


async def all_down() -> AsyncIterator[Promise]:
    async with Stand() as stand:
        for server in (stand.bad, *stand.others):
            await server.die()
        refusals = [await _refusal_s(stand.pool) for _ in range(6)]
        yield at_most("all down: until an error says so", max(refusals), 1.0, f"{len(refusals)} requests in turn", "s")
        await asyncio.sleep(2.0)
        await stand.others[0].listen()
        begin = time.monotonic()
        tally = await stand.ask_for(1.5, in_flight=2)
        first_s = tally.took_s[0] if tally.took_s else time.monotonic() - begin
        yield at_most("first instance back: until an answer", first_s, 1.5, f"{tally.answered} answered in 1.5 s", "s")
        yield at_most("first instance back: lost since then", len(tally.lost), 0, "; ".join(tally.lost[:1]))


async def _refusal_s(pool: OllamaPoolManager) -> float:
    begin = time.monotonic()
    try:
        await pool.chat(MODEL, PROMPT)
    except GleitzeitError as error:
        if "bad" not in str(error):  # the table names everybody
            raise
        return time.monotonic() - begin
    raise RuntimeError("an answer came from nowhere")
