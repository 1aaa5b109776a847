"""Which models are loaded, for how long, and who may use them: one load at a time, as in Ollama.

    absent ──load──▶ loaded ──(other num_ctx asked: retiring)──▶ idle ──▶ absent
                       │ └──────── expired while idle, unloaded ──▶ absent
                       └── its process died ──▶ absent; the next request loads again

A request for a loaded model waits for one of its slots without bound; a request that must load waits in a bounded queue.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gleitzeit_nb.embedded.child import Child
from gleitzeit_nb.embedded.options import FOREVER_S
from gleitzeit_nb.embedded.store import ModelStore, ServedModel
from gleitzeit_nb.embedded.wire import RefusalError
from gleitzeit_nb.errors import ChildStartError, WeightsError

_log = logging.getLogger(__name__)
_EXPIRY_TICK_S = 0.25
BUSY = "server busy, please try again.  maximum pending requests exceeded"


@dataclass(frozen=True)
class Limits:
    """How much one server loads. The defaults are Ollama's."""

    parallel: int = 1
    max_queue: int = 512
    keep_alive_s: float = 300.0
    num_ctx: int = 4096
    threads: int = 1


class Loaded:
    """One model in memory. `users` counts requests that hold or wait for a slot."""

    def __init__(self, model: ServedModel, child: Child, num_ctx: int, slots: int) -> None:
        self.model = model
        self.child = child
        self.num_ctx = num_ctx
        self.slots = asyncio.Semaphore(slots)
        self.users = 0
        self.keep_alive_s = 0.0
        self.expires_at = 0.0  # on the clock of the table
        self.retiring = False

    def __repr__(self) -> str:
        return f"<Loaded {self.model.name} num_ctx={self.num_ctx} users={self.users} {self.child!r}>"


class ModelTable:
    """The loaded models of one server. Lives on one event loop; `run` must run beside it for expiry."""

    def __init__(self, store: ModelStore, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.store = store
        self.limits = limits
        self._clock = clock
        self._loaded: dict[str, Loaded] = {}
        self._loading = asyncio.Lock()  # invariant: at most one child starts, and only its holder adds an entry
        self._pending = 0
        self._idle = asyncio.Event()  # pulsed whenever some model loses its last user or its process

    def __repr__(self) -> str:
        return f"<ModelTable {list(self._loaded.values())} pending={self._pending}>"

    @asynccontextmanager
    async def lease(self, model: ServedModel, num_ctx: int | None, keep_alive_s: float | None) -> AsyncIterator[Loaded]:
        """The model, loaded and kept so until the lease ends. The caller takes a slot of it itself."""
        entry = self._take(model, num_ctx)
        if entry is None:
            entry = await self._load_in_turn(model, num_ctx)
        entry.users += 1
        if keep_alive_s is not None:
            entry.keep_alive_s = keep_alive_s
        entry.expires_at = self._clock() + entry.keep_alive_s
        try:
            yield entry
        finally:
            entry.users -= 1
            entry.expires_at = self._clock() + entry.keep_alive_s
            if not entry.users:
                self._idle.set()

    def _take(self, model: ServedModel, num_ctx: int | None) -> Loaded | None:
        """The loaded model if it fits the request as it is."""
        entry = self._loaded.get(model.name)
        wanted = model.context_length(num_ctx, self.limits.num_ctx)
        if entry is None or entry.retiring or not entry.child.alive or entry.num_ctx != wanted or entry.model != model:
            return None
        return entry

    async def _load_in_turn(self, model: ServedModel, num_ctx: int | None) -> Loaded:
        if self._pending >= self.limits.max_queue:
            raise RefusalError(503, BUSY)
        self._pending += 1
        try:
            async with self._loading:
                entry = self._take(model, num_ctx)  # somebody before us may have loaded it
                if entry is None:
                    await self._make_room(model)
                    entry = await self._load(model, num_ctx)
                return entry
        finally:
            self._pending -= 1

    async def _make_room(self, model: ServedModel) -> None:
        """End the model's process if it has one of another shape, or a dead one. Waits for its users."""
        own = self._loaded.get(model.name)
        if own is None:
            return
        own.retiring = True  # from here on its new requests queue behind this load
        try:
            while own.users and own.child.alive:
                self._idle.clear()
                await self._idle.wait()
            await self._unload(own)
        finally:
            own.retiring = False

    async def _load(self, model: ServedModel, num_ctx: int | None) -> Loaded:
        context = model.context_length(num_ctx, self.limits.num_ctx)
        slots = 1 if model.header.is_embedding else self.limits.parallel
        # The file is checked while the process loads it: a whole file costs no time, a damaged one is named as such.
        checking = asyncio.ensure_future(asyncio.to_thread(self.store.verify, model))
        try:
            child = await Child.start(
                model.path, slots=slots, num_ctx=context, threads=self.limits.threads, embedding=model.header.is_embedding
            )
        except ChildStartError as error:
            try:
                await checking
            except WeightsError as damaged:
                raise RefusalError(500, str(damaged)) from damaged
            self.store.forget(model)
            raise RefusalError(500, str(error)) from error
        except BaseException:  # the caller left: its load ends with it
            checking.cancel()
            raise
        try:
            await checking
        except BaseException as error:
            await child.stop()
            if isinstance(error, WeightsError):
                raise RefusalError(500, str(error)) from error
            raise
        entry = Loaded(model, child, context, slots)
        entry.keep_alive_s = self.limits.keep_alive_s
        self._loaded[model.name] = entry
        return entry

    async def _unload(self, entry: Loaded) -> None:
        if self._loaded.get(entry.model.name) is entry:
            del self._loaded[entry.model.name]
        await entry.child.stop()
        self._idle.set()
        _log.info("unloaded %s", entry.model.name)

    def expire(self, model: ServedModel) -> None:
        """Unload as soon as nobody uses it."""
        entry = self._loaded.get(model.name)
        if entry is not None:
            entry.keep_alive_s = 0.0
            entry.expires_at = self._clock()

    def running(self) -> list[Loaded]:
        """Loaded models, the latest expiry first."""
        alive = [entry for entry in self._loaded.values() if entry.child.alive]
        return sorted(alive, key=lambda entry: -entry.expires_at)

    def expires_in_s(self, entry: Loaded) -> float:
        """Seconds until it expires; FOREVER_S never."""
        return FOREVER_S if entry.expires_at == FOREVER_S else entry.expires_at - self._clock()

    async def run(self) -> None:
        """Unload what has expired, and notice processes that died. Runs until cancelled."""
        while True:
            await asyncio.sleep(_EXPIRY_TICK_S)
            if any(not entry.child.alive for entry in self._loaded.values()):
                self._idle.set()  # whoever waits for such a model's users need not
            for entry in list(self._loaded.values()):
                if not entry.users and (entry.expires_at <= self._clock() or not entry.child.alive):
                    await self._unload(entry)

    async def close(self) -> None:
        """End every child."""
        entries = list(self._loaded.values())
        self._loaded.clear()
        await asyncio.gather(*(entry.child.stop() for entry in entries))
