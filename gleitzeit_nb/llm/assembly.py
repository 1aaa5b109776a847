"""The parts of a pool, made and connected to one another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random

from gleitzeit_nb.core.admission import AdmissionQueue
from gleitzeit_nb.core.instances import Instance, InstanceSettings
from gleitzeit_nb.core.settings import PoolSettings
from gleitzeit_nb.core.strategies import strategy_named
from gleitzeit_nb.errors import ConfigError
from gleitzeit_nb.events import EventBus
from gleitzeit_nb.llm.dispatch import Dispatcher
from gleitzeit_nb.llm.health import HealthMonitor
from gleitzeit_nb.llm.journal import Journal
from gleitzeit_nb.llm.membership import Member, Membership
from gleitzeit_nb.llm.memory import Memory
from gleitzeit_nb.llm.ollama import open_transport
from gleitzeit_nb.llm.parts import Parts
from gleitzeit_nb.llm.receipts import Receipts
from gleitzeit_nb.llm.shared_slots import sharer
from gleitzeit_nb.llm.showings import Showings
from gleitzeit_nb.protocols import TransportFactory


def assembled(
    settings: PoolSettings,
    events: EventBus,
    receipts: Receipts,
    factory: TransportFactory | None,
    *,
    clock: Callable[[], float],
    rng: Random,
) -> Parts:
    """Without any member yet."""
    journal = Journal(events)
    members = Membership(settings.breaker, factory or open_transport, journal, sharer(settings.share_slots, clock), settings.require_tags)
    queue = AdmissionQueue(settings.admission)
    dispatcher = Dispatcher(queue, members, journal, clock=clock, rng=rng)

    def lose(instance: Instance) -> None:
        for journey in tuple(parts.active):
            journey.lose(instance)

    health = HealthMonitor(
        members,
        journal,
        interval_s=settings.balancing.health_check_interval_s,
        is_busy=lambda: bool(members.in_flight or len(queue)),
        on_news=dispatcher.freed,
        on_lost=lose,
        clock=clock,
        rng=rng,
    )
    memory = Memory.of(settings)
    parts = Parts(settings, members, dispatcher, health, journal, Showings(members, clock), receipts, clock, rng, memory)
    return parts


def changed(parts: Parts, settings: PoolSettings, gone: Iterable[str], fresh: Sequence[InstanceSettings]) -> list[Member]:
    """Let an open pool obey other settings, and exchange instances, in one step; the new members. ConfigError before anything changed."""
    leaving = [each for each in gone if each in parts.members]
    for each in fresh:
        if each.id in parts.members and each.id not in leaving:
            raise ConfigError(f"the pool has an instance {each.id!r} that was added by hand: remove it first, or choose another id")
    strategy_named(settings.balancing.strategy)
    _remember(parts, settings)
    _retune(parts, settings)
    for name in leaving:
        parts.health.forget(parts.members.remove(name))
    return [parts.members.add(each) for each in fresh] if parts.memory.recording is None else []


def _remember(parts: Parts, settings: PoolSettings) -> None:
    before = parts.settings
    if (before.cache, before.record, before.replay) != (settings.cache, settings.record, settings.replay):
        parts.memory = Memory.of(settings)


def _retune(parts: Parts, settings: PoolSettings) -> None:
    parts.settings = settings
    parts.dispatcher.queue.settings = settings.admission
    parts.health.interval_s = settings.balancing.health_check_interval_s
    parts.members.obey(settings.breaker, sharer(settings.share_slots, parts.clock), settings.require_tags)
