"""The composition root: configuration in; pool, sandbox and one snapshot out."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from gleitzeit_nb import __version__
from gleitzeit_nb.config import Config
from gleitzeit_nb.core.instances import InstanceSettings
from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.errors import EngineClosedError, GleitzeitError
from gleitzeit_nb.events import EventBus
from gleitzeit_nb.jobs import Jobs
from gleitzeit_nb.snapshot import SCHEMA_VERSION, RunView, Snapshot

if TYPE_CHECKING:
    from gleitzeit_nb.doctor import Finding
    from gleitzeit_nb.embedded import EmbeddedInstance
    from gleitzeit_nb.llm.pool import OllamaPoolManager
    from gleitzeit_nb.llm.receipts import Receipts
    from gleitzeit_nb.sandbox import Sandbox

logger = logging.getLogger("gleitzeit_nb.engine")

NAME_CHARS = 60
RUNS_SHOWN = 50  # in a snapshot; the others are counted
SNAPSHOT_INTERVAL_S = 0.25  # at most 4 snapshots a second reach the views

Watcher = Callable[[Snapshot], None]


class Engine:
    """Owns everything that runs for one configuration. Lives on the event loop that started it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.events = EventBus()
        self.jobs = Jobs()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pool: OllamaPoolManager | None = None
        self._receipts: Receipts | None = None  # outlives the pool when the engine is started again
        self._sandbox: Sandbox | None = None
        self._embedded: EmbeddedInstance | None = None
        self._discovered: tuple[InstanceSettings, ...] = ()
        self._watchers: list[Watcher] = []
        self._ticker: asyncio.Task[None] | None = None
        self._latest: Snapshot | None = None
        self._changing = asyncio.Lock()  # invariant: one change of pool, sandbox and configuration at a time

    def __repr__(self) -> str:
        if self._loop is None:
            return "<Engine stopped>"
        return f"<Engine {self._pool!r} {self._sandbox!r}>"

    @property
    def pool(self) -> OllamaPoolManager:
        if self._pool is None:
            raise EngineClosedError("the engine is not running: await engine.start() first")
        return self._pool

    @property
    def sandbox(self) -> Sandbox:
        if self._sandbox is None:
            raise EngineClosedError("the engine is not running: await engine.start() first")
        return self._sandbox

    async def __aenter__(self) -> Engine:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    # -- life -------------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Make pool and sandbox. Instances that are down and a missing Docker daemon are states, not errors."""
        if self._loop is not None:
            return
        self._loop = asyncio.get_running_loop()
        try:
            await self._start_pool()
            await self._start_sandbox()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End everything that this engine started. Safe to call twice."""
        ticker, self._ticker = self._ticker, None
        if ticker is not None:
            ticker.cancel()
            await asyncio.gather(ticker, return_exceptions=True)
        await self.jobs.close()
        pool, self._pool = self._pool, None
        sandbox, self._sandbox = self._sandbox, None
        embedded, self._embedded = self._embedded, None
        self._loop = None
        for part in (pool, sandbox):
            if part is not None:
                await part.close()
        if embedded is not None:
            await asyncio.to_thread(embedded.stop)

    async def apply(self, config: Config, *, again: bool = False) -> str:
        """Take over a changed configuration; what did not change goes on undisturbed, and running requests finish.

        Instances that were added by hand stay. `again` also looks anew for servers that were discovered and for the sandbox's
        default mode, which are otherwise settled once. When it raises, the configuration is the one before.

        Only a sandbox whose own configuration changed is replaced, with its runs and sessions: returned is what ended, "" for nothing.
        """
        async with self._changing:
            return await self._apply(config, again=again)

    async def _apply(self, config: Config, *, again: bool) -> str:
        before, self.config = self.config, config
        if self._loop is None:
            return ""
        try:
            if before.pool != config.pool or (again and not config.explicit_instances):
                await self._change_pool(before)
            in_use = self.sandbox.run_views() or self.sandbox.session_views()
            if before.sandbox != config.sandbox or (again and not in_use):
                return await self._change_sandbox()
            if again:
                await self.sandbox.look_again()
        except BaseException:
            self.config = before
            raise
        return ""

    async def restart_pool(self) -> None:
        """A new pool in place of the present one, as the configuration says now; the embedded instance is started anew with it.

        Whoever waits for the old one gets a RequestCancelledError. Instances that were added by hand, and what was drained, are
        forgotten. The sandbox, its runs and its sessions go on. When it raises, the pool is the one before.
        """
        async with self._changing:
            before, embedded, self._embedded = self.pool, self._embedded, None
            try:
                await self._start_pool()
            except BaseException:
                self._embedded = embedded
                raise
            for run in before.run_views():
                before.cancel(run.id, "because the pool was restarted")
            await asyncio.sleep(0)  # they hear it before the pool is gone
            await before.close()
            if embedded is not None:
                await asyncio.to_thread(embedded.stop)

    def cancel(self, run: str, by: str) -> bool:
        """End a request, run or job by its id in snapshots. `by`: from where, such as "from the side panel". False: it does not go on."""
        return self.jobs.cancel(run, by) or self.pool.cancel(run, by) or self.sandbox.cancel(run, f"cancelled {by}")

    async def _start_pool(self) -> None:
        from gleitzeit_nb.llm.pool import OllamaPoolManager
        from gleitzeit_nb.llm.receipts import Receipts

        settings = replace(self.config.pool, instances=await self._instances())
        if self._receipts is None:
            self._receipts = Receipts()
        pool = OllamaPoolManager(settings=settings, events=self.events, receipts=self._receipts)
        await pool.initialize()
        self._pool = pool

    async def _start_sandbox(self) -> None:
        from gleitzeit_nb.sandbox import Sandbox

        fresh = Sandbox(self.config.sandbox, events=self.events)
        await fresh.start()
        self._sandbox = fresh

    async def _change_sandbox(self) -> str:
        """What ended with the one before, in a sentence; "" for nothing."""
        before = self.sandbox
        await self._start_sandbox()
        runs, sessions = before.run_views(), before.session_views()
        for run in runs:
            before.cancel(run.id, "the sandbox was configured anew")
        await before.close()
        ended = [f"{len(runs)} run{'' if len(runs) == 1 else 's'}"] if runs else []
        ended += [f"the session {one_line(each.name, NAME_CHARS)}" for each in sessions]
        return f"The sandbox was configured anew, which ended {', '.join(ended)}." if ended else ""

    async def _change_pool(self, before: Config) -> None:
        old = {each.id: each for each in (before.pool.instances if before.explicit_instances else self._discovered)}
        new = {each.id: each for each in await self._instances()}
        all_anew = any(getattr(before.pool, name) != getattr(self.config.pool, name) for name in ("share_slots", "replay"))
        kept = set() if all_anew else {name for name, each in new.items() if old.get(name) == each}
        settings = replace(self.config.pool, instances=tuple(new.values()))
        await self.pool.reconfigure(
            settings, gone=[name for name in old if name not in kept], fresh=[each for name, each in new.items() if name not in kept]
        )

    # -- instances --------------------------------------------------------------------------------------------------------

    async def _instances(self) -> tuple[InstanceSettings, ...]:
        """What is configured; else what answers at Ollama's usual address; else the embedded model, if it was fetched before."""
        if self.config.explicit_instances or self.config.pool.replay is not None:
            return self.config.pool.instances
        from gleitzeit_nb.llm.discovery import discover

        found = tuple(await discover(self.config.discovery_urls, self.config.pool.access))
        if not found:
            found = await asyncio.to_thread(self._embedded_instance)
        self._discovered = found
        return found

    def _embedded_instance(self) -> tuple[InstanceSettings, ...]:
        """The embedded model as an instance; nothing is downloaded for it unasked."""
        from gleitzeit_nb.config import instance_settings
        from gleitzeit_nb.embedded import EmbeddedInstance, is_ready
        from gleitzeit_nb.embedded.launch import STAND_IN

        if self._embedded is None:
            if not is_ready():
                return ()
            try:
                self._embedded = EmbeddedInstance.launch(STAND_IN)
            except GleitzeitError as error:
                logger.warning("no Ollama answered, and the embedded instance did not start: %s", error)
                return ()
        return (instance_settings(self._embedded.instance),)

    # -- what people see --------------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """What is true now. From any thread; off the loop it waits for the loop at most a second, then gives the last one."""
        loop = self._loop
        if loop is None:
            raise EngineClosedError("the engine is not running: await engine.start() first")
        if running_loop() is loop:
            return self._take()
        future = asyncio.run_coroutine_threadsafe(self._take_soon(), loop)
        try:
            return future.result(timeout=1.0)
        except concurrent.futures.TimeoutError:
            if self._latest is None:
                raise
            return self._latest

    def run_views(self) -> tuple[RunView, ...]:
        """All requests, runs and jobs that are going on. On the loop."""
        return self.jobs.merged(self.pool.run_views() + self.sandbox.run_views())

    async def doctor(self) -> list[Finding]:
        """What is there and what is missing, each with what to do. Takes a second or two: it starts a guest to see whether it holds."""
        from gleitzeit_nb.doctor import examine

        return await examine(self.config, self.pool.instance_views(), self.sandbox, self.pool.digest_conflicts())

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Call `watcher` on the engine's loop with each changed snapshot, at most 4 times a second. Returns the way to end it."""
        loop = self._loop
        if loop is None:
            raise EngineClosedError("the engine is not running: await engine.start() first")
        self._watchers.append(watcher)
        loop.call_soon_threadsafe(self._ensure_ticker)

        def unwatch() -> None:
            if watcher in self._watchers:
                self._watchers.remove(watcher)

        return unwatch

    async def _take_soon(self) -> Snapshot:
        return self._take()

    def _take(self) -> Snapshot:
        """The latest snapshot again when nothing changed, else a new one with the next number."""
        pool, sandbox, last = self.pool, self.sandbox, self._latest
        modes, runs = sandbox.mode_views(), self.run_views()
        fresh = Snapshot(
            schema_version=SCHEMA_VERSION,
            seq=last.seq + 1 if last else 1,
            at=time.time(),
            instances=pool.instance_views(),
            queue_depth=pool.queue_depth,
            in_flight=pool.in_flight,
            tokens_per_s=pool.tokens_per_s,
            modes=modes,
            default_mode=sandbox.default_mode,
            containers=sum(mode.containers for mode in modes),
            runs=runs[:RUNS_SHOWN],
            failovers=pool.failover_views(),
            sessions=sandbox.session_views(),
            security=sandbox.security_view(),
            container_list=sandbox.container_views(),
            runs_total=len(runs),
            version=__version__,
        )
        if last is None or replace(fresh, seq=last.seq, at=last.at) != last:
            self._latest = fresh
            return fresh
        return last

    def _ensure_ticker(self) -> None:
        if self._ticker is None and self._watchers and self._loop is not None:
            self._ticker = self._loop.create_task(self._tick(), name="gleitzeit-snapshots")

    async def _tick(self) -> None:
        """Runs only while somebody watches."""
        told: Snapshot | None = None
        while self._watchers:
            self.pool.touch()  # what is watched is kept fresh also while nobody asks
            snapshot = self._take()
            if snapshot is not told:
                told = snapshot
                for watcher in tuple(self._watchers):
                    try:
                        watcher(snapshot)
                    except Exception:
                        logger.exception("a view failed on a snapshot and is dropped")
                        self._watchers.remove(watcher)
            await asyncio.sleep(SNAPSHOT_INTERVAL_S)
        self._ticker = None


def running_loop() -> asyncio.AbstractEventLoop | None:
    """That of the calling thread, if one runs there."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
