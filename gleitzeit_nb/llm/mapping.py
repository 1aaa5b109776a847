"""Many requests over one pool: answers as they come, in bounded memory, behind everybody who waits for one.

requests ──feed──▶ running (≤ room) ──▶ ready ──▶ the caller
            ▲                             │
            └── only while running and ready together are fewer than twice the room ──┘
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from gleitzeit_nb.core.requests import LLMRequest, Message, Reply
from gleitzeit_nb.errors import EngineClosedError, GleitzeitError, WrongLoopError
from gleitzeit_nb.llm.named_files import Folder
from gleitzeit_nb.llm.params import TAKES, kind_of, request_of

BACKGROUND = 30  # the default priority: somebody who waits goes before all of these that came less than five minutes earlier

Ask = str | Sequence[Message] | Mapping[str, Any] | LLMRequest
"""One request of a map: a prompt, a dialogue, the guide's dictionary (also with its `method`), or the whole value."""
Asks = Iterable[Ask] | AsyncIterable[Ask]


@dataclass(frozen=True)
class MapItem:
    """What came of the request number `index`: a reply, or the error that it ended with. `request` is as it was given."""

    index: int
    request: Ask = field(repr=False)
    reply: Reply | None = None
    error: Exception | None = None

    @property
    def ok(self) -> bool:
        return self.error is None

    def result(self) -> Reply:
        """The reply; raises the error if there is none."""
        if self.error is not None:
            raise self.error
        assert self.reply is not None
        return self.reply


@dataclass(frozen=True)
class Wish:
    """What the requests of one map have in common. `common` counts where a request says nothing itself.

    `files_from`: the folder of the files that dictionaries among them may name; None: they may name none.
    """

    method: str
    common: Mapping[str, Any]
    files_from: Folder | None = None

    @classmethod
    def of(cls, method: str, model: str, common: Mapping[str, Any], files_from: Folder | None = None) -> Wish:
        """Raises TypeError and ValueError for what no request could be made of."""
        wish = cls(method, {"model": model, "priority": BACKGROUND, **common}, files_from)
        wish.request("check", "")
        return wish

    @property
    def strategy(self) -> str | None:
        return self.common.get("strategy") or self.common.get("load_balancing_strategy")

    def request(self, request_id: str, ask: Ask, label: str = "") -> LLMRequest:
        if isinstance(ask, LLMRequest):
            return ask
        if not isinstance(ask, str | Sequence | Mapping):
            raise TypeError(f"a request is a text, a dialogue, a dictionary or an LLMRequest, not {type(ask).__name__}")
        own: Mapping[str, Any] = ask if isinstance(ask, Mapping) else {}
        kind = kind_of(own.get("method", self.method))
        asked = {name: value for name, value in own.items() if name != "method"}
        common = self.common if own else {**self.common, TAKES[kind][0]: ask}
        if not own and kind == "generate" and not isinstance(ask, str):
            raise TypeError("llm/generate takes a text; a dialogue is for llm/chat")
        return request_of(request_id, kind, asked, label, common=common, files_from=self.files_from)


def room_for(slots: int, max_queue: int, max_concurrent: int | None) -> int:
    """How many requests of a map may be in the pool at once. By default one waits for each slot, so that none is ever idle.

    Never so many that they alone could fill more than half of the queue.
    """
    slots = max(1, slots)
    return min(2 * slots if max_concurrent is None else max_concurrent, slots + max(1, max_queue // 2))


@dataclass(eq=False)
class Mapper:
    """One map. `make` turns what was given into a request, `answer` asks it, `room` says how many may be under way now."""

    make: Callable[[int, Ask], LLMRequest]
    answer: Callable[[LLMRequest], Awaitable[Reply]]
    room: Callable[[], int]
    running: set[asyncio.Task[MapItem]] = field(default_factory=set)
    ready: deque[MapItem] = field(default_factory=deque)
    _space: asyncio.Event = field(default_factory=asyncio.Event)  # an item has ended or was taken
    _news: asyncio.Event = field(default_factory=asyncio.Event)  # there is something for the caller
    _failure: BaseException | None = None  # of the pool or of ourselves, not of one request

    def __repr__(self) -> str:
        return f"<Mapper {len(self.running)} running, {len(self.ready)} ready>"

    async def items(self, asks: Asks) -> AsyncGenerator[MapItem, None]:
        """As completed. What `asks` itself raises is raised after the answers to what it gave before."""
        if isinstance(asks, str | bytes | Mapping):
            raise TypeError(f"map takes many requests, such as a list of prompts, not one {type(asks).__name__}")
        feeding = asyncio.ensure_future(self._feed(asks))
        feeding.add_done_callback(lambda _: self._news.set())
        try:
            while True:
                while self.ready and self._failure is None:
                    self._space.set()
                    yield self.ready.popleft()
                if self._failure is not None:
                    raise self._failure
                if feeding.done() and not self.running:
                    feeding.result()
                    return
                self._news.clear()
                await self._news.wait()
        finally:
            tasks = {feeding, *self.running}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _feed(self, asks: Asks) -> None:
        """Take a request only when there is room for it: the rest stays where it comes from."""
        async with aclosing(_each(asks)) as source:
            for index in itertools.count():
                await self._until_space()
                try:
                    ask = await anext(source)
                except StopAsyncIteration:
                    return
                task = asyncio.ensure_future(self._one(index, ask))
                self.running.add(task)
                task.add_done_callback(self._ended)

    async def _until_space(self) -> None:
        while len(self.running) >= self.room() or len(self.running) + len(self.ready) >= 2 * self.room():
            self._space.clear()
            await self._space.wait()

    async def _one(self, index: int, ask: Ask) -> MapItem:
        try:
            request = replace(self.make(index, ask), stands_back=True)
        except (TypeError, ValueError) as error:
            return MapItem(index, ask, error=error)
        try:
            return MapItem(index, ask, reply=await self.answer(request))
        except (EngineClosedError, WrongLoopError):
            raise  # of everybody, not of this request
        except GleitzeitError as error:
            return MapItem(index, ask, error=error)

    def _ended(self, task: asyncio.Task[MapItem]) -> None:
        self.running.discard(task)
        if not task.cancelled():
            failure = task.exception()
            if failure is None:
                self.ready.append(task.result())
            else:
                self._failure = self._failure or failure
        self._space.set()
        self._news.set()


async def _each(asks: Asks) -> AsyncGenerator[Ask, None]:
    if isinstance(asks, AsyncIterable):
        async for ask in asks:
            yield ask
    else:
        for ask in asks:
            yield ask
