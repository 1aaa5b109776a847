"""Looking after the instances while the pool is in use: are they there, what have they, what is loaded.

Nothing runs while nobody asks: `touch` starts one watcher per instance, and watchers end some seconds after the last use.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from random import Random

from gleitzeit_nb.core.breaker import BreakerState
from gleitzeit_nb.core.digests import conflicts
from gleitzeit_nb.core.faults import Cause
from gleitzeit_nb.core.health import Probe, after_probe
from gleitzeit_nb.core.instances import Instance, InstanceState
from gleitzeit_nb.core.models import LoadedModel
from gleitzeit_nb.core.runner_options import after_look
from gleitzeit_nb.llm.faults import InstanceFault
from gleitzeit_nb.llm.inventory import digests_of, loaded_of, names_of, sizes_of
from gleitzeit_nb.llm.journal import Journal
from gleitzeit_nb.llm.membership import Member, Membership

FIRST_LOOK_S = 2.0  # a dead server must not hold up the start
PROBE_TIMEOUT_S = 3.0
LINGER_S = 10.0  # after the last use
TICK_S = 0.5  # how soon a watcher notices that something became due
AWAY_EVERY_S = 0.5  # who is away or ejected is looked for this often: less than a request's patience, so that it is found in time
BUSY_EVERY_S = 5.0  # what is loaded changes while requests run
LIST_EVERY_S = 60.0
JITTER = 0.2  # of every interval, so that many kernels do not ask in step


@dataclass(eq=False)
class Watch:
    """The probing of one instance."""

    member: Member
    due_at: float = 0.0
    probed_at: float = 0.0
    listed_at: float | None = None
    task: asyncio.Task[None] | None = None
    probing: asyncio.Task[None] | None = None  # shared by all who want a probe now


class HealthMonitor:
    """Probes by `/api/version`, `/api/ps` and `/api/tags`; writes what it learns into the instances.

    Then it calls `on_news`; and before that `on_lost`, when an instance does not answer any more.
    """

    def __init__(
        self,
        members: Membership,
        journal: Journal,
        *,
        interval_s: float,
        is_busy: Callable[[], bool],
        on_news: Callable[[Instance], None],
        on_lost: Callable[[Instance], None],
        clock: Callable[[], float] = time.monotonic,
        rng: Random,
    ) -> None:
        self._members = members
        self._journal = journal
        self.interval_s = interval_s
        self._is_busy = is_busy
        self._on_news = on_news
        self._on_lost = on_lost
        self._clock = clock
        self._rng = rng
        self._watches: dict[Member, Watch] = {}
        self._running = 0
        self._used_until = 0.0
        self._closed = False

    def __repr__(self) -> str:
        return f"<HealthMonitor {self._running} of {len(self._watches)} watched>"

    def touch(self) -> None:
        """Somebody uses the pool, or looks at it: keep the knowledge fresh for a while."""
        self._used_until = self._clock() + LINGER_S
        if self._running == len(self._members) or self._closed:
            return
        for member in self._members:
            self._ensure_watcher(self._watch_of(member))

    async def look(self, members: Iterable[Member], limit_s: float | None = None) -> None:
        """Probe these now, all at once; those that take longer than a first look may go on without the caller."""
        probes = [self._probe_soon(self._watch_of(member)) for member in members]
        if probes:
            await asyncio.wait(probes, timeout=FIRST_LOOK_S if limit_s is None else limit_s)

    async def refresh_models(self, max_age_s: float) -> None:
        """List the models anew where the list is older than that."""
        now = self._clock()
        stale = [watch for watch in map(self._watch_of, self._members) if watch.listed_at is None or now - watch.listed_at > max_age_s]
        for watch in stale:
            watch.listed_at = None
        await self.look([watch.member for watch in stale])

    def expire_models(self, member: Member) -> None:
        """The instance has just contradicted its list: ask for it at the next probe, and that soon."""
        watch = self._watch_of(member)
        watch.listed_at = None
        watch.due_at = 0.0

    def look_soon(self, member: Member) -> None:
        """Something has just changed there, such as what is loaded: look now, and let nobody wait for it."""
        if not (self._closed or member.retired):
            self._probe_soon(self._watch_of(member))

    def forget(self, member: Member) -> None:
        """It does not belong to the pool any more."""
        watch = self._watches.pop(member, None)
        for task in (watch.task, watch.probing) if watch is not None else ():
            if task is not None:
                task.cancel()

    async def close(self) -> None:
        self._closed = True
        tasks = [task for watch in self._watches.values() for task in (watch.task, watch.probing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._watches.clear()

    # -- watchers -------------------------------------------------------------------------------------------------------------

    def _watch_of(self, member: Member) -> Watch:
        watch = self._watches.get(member)
        if watch is None:
            watch = self._watches[member] = Watch(member)
        return watch

    def _ensure_watcher(self, watch: Watch) -> None:
        if watch.task is None:
            self._running += 1
            watch.task = asyncio.get_running_loop().create_task(self._keep(watch), name=f"gleitzeit-health-{watch.member.instance.id}")

    async def _keep(self, watch: Watch) -> None:
        try:
            while not watch.member.retired and (self._is_busy() or self._clock() < self._used_until):
                if self._clock() >= watch.due_at:
                    await self._probe_soon(watch)
                await asyncio.sleep(min(TICK_S, max(0.05, watch.due_at - self._clock())))
                self._come_earlier(watch)
        finally:
            watch.task = None
            self._running -= 1

    def _come_earlier(self, watch: Watch) -> None:
        """What was to be probed late is due sooner when requests run there, or when it has failed since."""
        watch.due_at = min(watch.due_at, watch.probed_at + self._period_s(watch))

    def _period_s(self, watch: Watch) -> float:
        instance = watch.member.instance
        if instance.state is InstanceState.UNHEALTHY or instance.missed_probes or instance.breaker.state is not BreakerState.CLOSED:
            period_s = AWAY_EVERY_S
        elif instance.load.in_flight:
            period_s = BUSY_EVERY_S
        else:
            return self.interval_s
        return min(period_s, self.interval_s)

    # -- one probe --------------------------------------------------------------------------------------------------------------

    def _probe_soon(self, watch: Watch) -> asyncio.Task[None]:
        if watch.probing is None or watch.probing.done():
            watch.probing = asyncio.get_running_loop().create_task(self._probe(watch))
        return watch.probing

    async def _probe(self, watch: Watch) -> None:
        member, started = watch.member, self._clock()
        try:
            await member.transport.get("/api/version", timeout_s=PROBE_TIMEOUT_S)
            elapsed_s = self._clock() - started
            probe = Probe(elapsed_s, partly=await self._learn(watch, started))
        except InstanceFault as fault:
            probe = Probe(self._clock() - started, fault.cause, fault.detail)
        if member.retired or self._closed:
            return
        self._book(watch, probe)

    async def _learn(self, watch: Watch, started: float) -> str:
        """What is loaded and, when it is due, what there is; what went wrong with that, in one line."""
        steps = [self._learn_loaded]
        if watch.listed_at is None or started - watch.listed_at > LIST_EVERY_S:
            steps.append(self._learn_models)
        problem = ""
        for step in steps:
            try:
                await step(watch, started)
            except InstanceFault as fault:
                if fault.cause is Cause.UNAUTHORISED:
                    raise
                problem = f"answers, but its lists of models cannot be read: it {fault}"
        return problem

    async def _learn_loaded(self, watch: Watch, started: float) -> None:
        instance = watch.member.instance
        listed = loaded_of(await watch.member.transport.get("/api/ps", timeout_s=PROBE_TIMEOUT_S), self._clock())
        loaded = {name: after_look(entry, instance.loaded.get(name)) for name, entry in listed.items()}
        # What an answer proved to be loaded after the probe began is newer than the probe.
        loaded.update({name: entry for name, entry in instance.loaded.items() if entry.seen_at > started and name not in loaded})
        if watch.probed_at:  # what the first look finds has not changed
            self._tell_of_loads(instance, loaded)
        instance.loaded = loaded

    def _tell_of_loads(self, instance: Instance, loaded: Mapping[str, LoadedModel]) -> None:
        for name in loaded.keys() - instance.loaded.keys():
            self._journal.model_loaded(instance, name)
        for name in instance.loaded.keys() - loaded.keys():
            self._journal.model_unloaded(instance, name)

    async def _learn_models(self, watch: Watch, started: float) -> None:
        instance = watch.member.instance
        listing = await watch.member.transport.get("/api/tags", timeout_s=PROBE_TIMEOUT_S)
        instance.learn_models(names_of(listing))
        before, instance.digests = instance.digests, digests_of(listing)
        if instance.digests != before:
            self._journal.digests_compared(conflicts((each.id, each.digests) for each in self._members.instances))
        instance.sizes_bytes = sizes_of(listing)
        watch.listed_at = started

    def _book(self, watch: Watch, probe: Probe) -> None:
        instance = watch.member.instance
        if probe.cause is None:
            move = instance.breaker.reached(self._clock())
            if move is not None:
                self._journal.breaker_moved(instance, [move])
        else:
            instance.breaker.missed()
        self._journal.state_changed(instance, *after_probe(instance, probe))
        if instance.state is InstanceState.UNHEALTHY:
            self._on_lost(instance)
        watch.probed_at = self._clock()
        watch.due_at = watch.probed_at + self._period_s(watch) * self._rng.uniform(1 - JITTER, 1 + JITTER)
        self._on_news(instance)
