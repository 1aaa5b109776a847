"""The pool: many Ollama servers behind one face."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Any

from gleitzeit_nb.config import instance_settings, pool_settings
from gleitzeit_nb.core.digests import Conflict, conflicts
from gleitzeit_nb.core.explanation import Explanation
from gleitzeit_nb.core.instances import Instance, InstanceSettings, InstanceState
from gleitzeit_nb.core.models import canonical
from gleitzeit_nb.core.receipts import Receipt
from gleitzeit_nb.core.requests import Chunk, LLMRequest, Message, Reply, RequestOptions, build_request
from gleitzeit_nb.core.settings import PoolSettings
from gleitzeit_nb.core.strategies import strategy_named
from gleitzeit_nb.core.upkeep import Place, PullProgress, Warmed, Where
from gleitzeit_nb.errors import EngineClosedError
from gleitzeit_nb.events import EventBus
from gleitzeit_nb.llm import advice, progress, views
from gleitzeit_nb.llm.aliases import real_model, without_aliases
from gleitzeit_nb.llm.asking import request_from
from gleitzeit_nb.llm.assembly import assembled, changed
from gleitzeit_nb.llm.inventory import LoadedListing, ModelListing
from gleitzeit_nb.llm.layers import answers
from gleitzeit_nb.llm.listing import list_loaded, list_models
from gleitzeit_nb.llm.mapping import Asks, MapItem, Mapper, Wish, room_for
from gleitzeit_nb.llm.named_files import Folder
from gleitzeit_nb.llm.opened import Opened
from gleitzeit_nb.llm.parts import Parts
from gleitzeit_nb.llm.receipts import Receipts
from gleitzeit_nb.llm.upkeep import Upkeep
from gleitzeit_nb.protocols import TransportFactory
from gleitzeit_nb.snapshot import FailoverView, InstanceView, RunView

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack


class OllamaPoolManager:
    """Asks the best instance that can answer, and another when it fails. Lives on the event loop that initialised it.

    Configured by the guide's dictionaries or, whole, by `settings`. `async with` initialises and closes.
    """

    def __init__(
        self,
        instances: Sequence[Mapping[str, Any]] | None = None,
        load_balancing: Mapping[str, Any] | None = None,
        health_check_interval: float | None = None,
        circuit_breaker_config: Mapping[str, Any] | None = None,
        *,
        settings: PoolSettings | None = None,
        events: EventBus | None = None,
        receipts: Receipts | None = None,
        transport_factory: TransportFactory | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        given = (instances, load_balancing, health_check_interval, circuit_breaker_config)
        if settings is None:
            settings = pool_settings(*given)
        elif any(each is not None for each in given):
            raise TypeError("give either settings or the dictionaries, not both")
        strategy_named(settings.balancing.strategy)
        self.settings = settings
        self.events = events if events is not None else EventBus()
        self._receipts = receipts if receipts is not None else Receipts()
        self._factory = transport_factory
        self._clock = clock
        self._rng = rng if rng is not None else random.Random()
        self._ids = itertools.count(1)
        self._opened: Opened | None = None

    def __repr__(self) -> str:
        parts = self._parts
        if parts is None:
            return "<OllamaPoolManager closed>"
        healthy = sum(instance.state is InstanceState.HEALTHY for instance in parts.members.instances)
        return f"<OllamaPoolManager {healthy}/{len(parts.members)} healthy, {self.in_flight} in flight, {self.queue_depth} waiting>"

    async def __aenter__(self) -> Self:
        await self.initialize()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    # -- life -----------------------------------------------------------------------------------------------------------------

    async def initialize(self) -> None:
        """Connect, and look at every instance once, for at most two seconds. Those that are down are a state, not an error."""
        if self._opened is not None:
            self._opened.here()
            return
        made = (self.settings, self.events, self._receipts, self._factory)
        self._opened = opened = Opened(assembled(*made, clock=self._clock, rng=self._rng), self.complete_request)
        try:
            await opened.begin(self.settings)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End what runs: waiting and running requests raise EngineClosedError. Safe to call twice."""
        opened = self._opened
        if opened is None:
            return
        opened.here()
        await opened.end_upkeep()
        self._opened = None
        await opened.end()

    @property
    def _parts(self) -> Parts | None:
        return self._opened.parts if self._opened is not None else None

    def _open(self) -> Opened:
        if self._opened is None:
            raise EngineClosedError("the pool is not open: `await pool.initialize()` first, or use `async with`")
        return self._opened

    def _here(self) -> Parts:
        """The parts, if the pool is open and this is its loop."""
        return self._open().here()

    # -- asking ---------------------------------------------------------------------------------------------------------------

    def chat(self, model: str, messages: str | Sequence[Message], **request: Unpack[RequestOptions]) -> Coroutine[Any, Any, Reply]:
        """The whole answer, to be awaited. `messages`: a dialogue as in Ollama's API, or one text of the user.

        Pictures and functions are read on the calling thread, at once.
        """
        return self._whole(request_from(self._new_id(), "chat", model, messages=messages, **request))

    def stream(self, model: str, messages: str | Sequence[Message], **request: Unpack[RequestOptions]) -> AsyncGenerator[Chunk, None]:
        """The answer as it comes; the last chunk carries the whole as `.reply`. StreamInterruptedError when it is cut."""
        return self.stream_request(request_from(self._new_id(), "chat", model, messages=messages, **request))

    def generate(self, model: str, prompt: str, system: str | None = None, **request: Unpack[RequestOptions]) -> Coroutine[Any, Any, Reply]:
        """As `chat`, of one text. `suffix`: fill the gap before it; `raw`: without the model's template."""
        return self._whole(request_from(self._new_id(), "generate", model, prompt=prompt, system=system, **request))

    async def embed(self, model: str, inputs: str | Sequence[str], **request: Unpack[RequestOptions]) -> list[list[float]]:
        """One vector per input."""
        reply = await self._whole(request_from(self._new_id(), "embed", model, inputs=inputs, **request))
        return [list(vector) for vector in reply.embeddings]

    async def complete_request(self, request: LLMRequest) -> Reply:
        """As `stream_request`, for those who want only the whole."""
        return await self._whole(request)

    async def stream_request(self, request: LLMRequest) -> AsyncGenerator[Chunk, None]:
        """The one way that all requests go. Model "": the default model. Closing the iterator cancels the request."""
        parts = self._here()
        parts.health.touch()
        chunks = answers(parts, request)
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            await chunks.aclose()

    async def _whole(self, request: LLMRequest) -> Reply:
        parts = self._here()
        parts.health.touch()
        reply: Reply | None = None
        chunks = answers(parts, request, in_pieces=False)
        try:
            async for chunk in chunks:
                reply = chunk.reply
        finally:
            await chunks.aclose()
        if reply is None:
            raise RuntimeError("a request ended without a reply and without an error")
        return reply

    def map(
        self,
        requests: Asks,
        max_concurrent: int | None = None,
        *,
        model: str = "",
        method: str = "llm/chat",
        files_from: Folder | None = None,
        **request: Unpack[RequestOptions],
    ) -> AsyncGenerator[MapItem, None]:
        """The answers to many requests, as they come, each with its index; behind everybody who waits, unless `priority` says more.

        `requests` may be endless: no more are taken than are under way. `max_concurrent` None: as many as keep every slot busy.
        `files_from`: the folder of the files that dictionaries among them may name; without it they may name none.
        """
        return self.mapper(Wish.of(method, model, request, files_from), max_concurrent, self.complete_request).items(requests)

    def mapper(self, wish: Wish, max_concurrent: int | None, answer: Callable[[LLMRequest], Awaitable[Reply]]) -> Mapper:
        """What `map` runs on, with another way to get at an answer: for callers on a loop that is not the pool's."""
        if max_concurrent is not None and max_concurrent < 1:
            raise ValueError(f"max_concurrent must be at least 1, not {max_concurrent}")
        strategy_named(wish.strategy or self.settings.balancing.strategy)
        return Mapper(
            make=lambda index, ask: wish.request(self._new_id(), ask, label=f"map [{index}]"),
            answer=answer,
            room=lambda: room_for(self.slots, self.settings.admission.max_queue, max_concurrent),
        )

    def _new_id(self) -> str:
        return f"r{next(self._ids)}"

    def describe(self, request_id: str) -> str:
        """Where a request stands, in one line: "queued 3rd", "loading llama3.2 on gpu-1, 8 s". "" when it does not run."""
        active = tuple(self._parts.active) if self._parts is not None else ()
        return next((progress.describe(journey) for journey in active if journey.request.id == request_id), "")

    def cancel(self, request_id: str, by: str = "by its owner") -> bool:
        """End a request, wherever it stands: who waits for it gets a RequestCancelledError. False when none of that id goes on."""
        found = [journey for journey in self._here().active if journey.request.id == request_id]
        for journey in found:
            journey.dismiss(by)
        return bool(found)

    def explain(self, model: str, **request: Unpack[RequestOptions]) -> Explanation:
        """A dry run: every instance, and whether it would be picked now or why not. `print` shows it as a table."""
        return self.explain_request(build_request("explain", "chat", model, **request))

    def explain_request(self, request: LLMRequest) -> Explanation:
        """As `explain`."""
        parts = self._open().parts
        return advice.explain(parts, without_aliases(parts, request))

    # -- for those who ask the instances themselves -----------------------------------------------------------------------------

    async def get_instance(
        self,
        model: str | None = None,
        strategy: str | None = None,
        tags: Sequence[str] | None = None,
        require_healthy: bool = True,
    ) -> str:
        """URL of the instance that should answer. Advice: it holds no slot. Tell what became of it by `record_…`. NoInstanceError."""
        parts = self._here()
        parts.health.touch()
        model = real_model(parts, model or "")
        return advice.url_for(parts, model, strategy, tags or (), require_healthy=require_healthy)

    async def record_success(self, url: str, response_time: float | None = None) -> None:
        """A request that the caller made at `url` was answered, after so many seconds."""
        advice.record(self._here(), url, response_time, None)

    async def record_failure(self, url: str, exception: BaseException | None = None) -> None:
        """A request that the caller made at `url` failed."""
        advice.record(self._here(), url, None, advice.cause_of(exception))

    # -- members --------------------------------------------------------------------------------------------------------------

    async def add_instance(self, instance: Mapping[str, Any] | InstanceSettings) -> None:
        """Take another server in; waiting requests may go there at once. ConfigError when its id is taken."""
        parts = self._here()
        if not isinstance(instance, InstanceSettings):
            instance = instance_settings(instance, access=self.settings.access)
        member = parts.members.add(instance)
        await parts.health.look([member])

    async def remove_instance(self, instance_id: str) -> None:
        """It finishes what it is answering and gets nothing new."""
        parts = self._here()
        parts.health.forget(parts.members.remove(instance_id))
        parts.dispatcher.pump()

    async def reconfigure(self, settings: PoolSettings, *, gone: Iterable[str] = (), fresh: Sequence[InstanceSettings] = ()) -> None:
        """Obey other settings, and exchange instances, in one step: what is being answered goes on, and who waits sees the new ones.

        `gone` and `fresh` say what changes of the instances; those in `settings` count when the pool is opened again. ConfigError,
        before anything has changed, when an id in `fresh` is taken.
        """
        parts = self._here()
        added = changed(parts, settings, gone, fresh)
        before, self.settings = self.settings, settings
        self._open().preload([model for model in settings.preload if model not in before.preload])
        await parts.health.look(added)
        parts.dispatcher.pump()

    async def drain(self, instance_id: str) -> None:
        """Give it nothing new until `resume`."""
        self._set_draining(instance_id, True, "draining")

    async def resume(self, instance_id: str) -> None:
        self._set_draining(instance_id, False, "resumed")

    async def health_check(self, instance_id: str) -> bool:
        """Look at it now. True: it answers, though perhaps badly; `get_pool_status` says how. NoInstanceError for an unknown id."""
        parts = self._here()
        member = parts.members.named(instance_id)
        await parts.health.look([member])
        return member.instance.state in (InstanceState.HEALTHY, InstanceState.DEGRADED)

    def _set_draining(self, instance_id: str, draining: bool, change: str) -> None:
        parts = self._here()
        instance = parts.members.named(instance_id).instance
        if instance.draining is not draining:
            instance.draining = draining
            parts.journal.changed(instance_id, change)
            parts.dispatcher.pump()

    async def models(self) -> ModelListing:
        """What each instance has, asked now."""
        return await list_models(self._here())

    async def ps(self) -> LoadedListing:
        """What each instance has loaded, asked now."""
        return await list_loaded(self._here())

    # -- models on the instances ------------------------------------------------------------------------------------------------

    async def warm(self, model: str, **place: Unpack[Place]) -> tuple[Warmed, ...]:
        """Load it: on `instance`, on those with `tags`, `everywhere` it is; else on one. Who asks for a load under way waits for that."""
        return await self.upkeep.warm(real_model(self._here(), model), Where.of(**place))

    async def pull(self, model: str, **place: Unpack[Place]) -> AsyncGenerator[PullProgress, None]:
        """Let instances fetch it, and hear how far they are; closing the iterator stops them. Of several, say which."""
        async with aclosing(self.upkeep.pull(model, Where.of(**place))) as news:
            async for progress in news:
                yield progress

    async def unload(self, model: str, **place: Unpack[Place]) -> tuple[str, ...]:
        """Unload it, wherever it is loaded or where `place` says. The instances that did."""
        return await self.upkeep.unload(real_model(self._here(), model), Where.of(**place))

    async def delete(self, model: str, **place: Unpack[Place]) -> tuple[str, ...]:
        """Delete it from the disks of all that have it, or where `place` says. The instances that did."""
        return await self.upkeep.delete(model, Where.of(**place))

    @property
    def upkeep(self) -> Upkeep:
        self._here().health.touch()
        return self._open().upkeep

    # -- what others see ------------------------------------------------------------------------------------------------------

    def touch(self) -> None:
        """Somebody looks at the pool: keep the knowledge of its instances fresh for the next seconds, though nobody asks them."""
        self._here().health.touch()

    async def get_pool_status(self) -> dict[str, Any]:
        """The guide's dictionary, with queue and breaker facts beside it. Rates in percent, durations in seconds."""
        return views.pool_status(self._here())

    def instance_views(self) -> tuple[InstanceView, ...]:
        now = self._clock()
        return tuple(views.instance_view(instance, now) for instance in self._instances)

    def run_views(self) -> tuple[RunView, ...]:
        """The requests that are going on, in order of arrival."""
        return tuple(progress.run_view(journey) for journey in tuple(self._parts.active)) if self._parts is not None else ()

    def failover_views(self) -> tuple[FailoverView, ...]:
        """The last ones, newest first."""
        return views.failover_views(self.events)

    def receipts(self, count: int | None = None, *, failed: bool = False) -> tuple[Receipt, ...]:
        """What became of the last requests, newest first. `failed`: only of those that ended without an answer."""
        found = (each for each in self._receipts if not (failed and each.outcome == "ok"))
        return tuple(itertools.islice(found, count))

    def context_of(self, model: str, instance_id: str = "") -> int | None:
        """Tokens that the model's context holds where it is loaded: on that instance, else where it holds least. None: nobody knows."""
        return views.loaded_context(self._instances, canonical(real_model(self._open().parts, model)), instance_id)

    def digest_conflicts(self) -> tuple[Conflict, ...]:
        """Names that stand for another model on another instance, as far as their lists were read."""
        return conflicts((instance.id, instance.digests) for instance in self._instances)

    @property
    def queue_depth(self) -> int:
        return len(self._parts.dispatcher.queue) if self._parts is not None else 0

    @property
    def slots(self) -> int:
        """How many requests all instances together take at once, without those that are draining."""
        return sum(instance.slots for instance in self._instances if not instance.draining)

    @property
    def in_flight(self) -> int:
        return self._parts.members.in_flight if self._parts is not None else 0

    @property
    def tokens_per_s(self) -> float:
        now = self._clock()
        return sum(views.tokens_per_s(instance, now) for instance in self._instances)

    @property
    def _instances(self) -> tuple[Instance, ...]:
        return self._parts.members.instances if self._parts is not None else ()
