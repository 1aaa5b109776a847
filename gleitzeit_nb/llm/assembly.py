"""The parts of a pool, made and connected to one another."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from gleitzeit_nb.core.admission import AdmissionQueue
from gleitzeit_nb.core.instances import Instance
from gleitzeit_nb.core.settings import PoolSettings
from gleitzeit_nb.events import EventBus
from gleitzeit_nb.llm.dispatch import Dispatcher
from gleitzeit_nb.llm.health import HealthMonitor
from gleitzeit_nb.llm.journal import Journal
from gleitzeit_nb.llm.membership import Membership
from gleitzeit_nb.llm.ollama import open_transport
from gleitzeit_nb.llm.parts import Parts
from gleitzeit_nb.llm.receipts import Receipts
from gleitzeit_nb.llm.shared_slots import sharer
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
    members = Membership(settings.breaker, factory or open_transport, journal, sharer(settings.share_slots, clock))
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
        on_news=dispatcher.pump,
        on_lost=lose,
        clock=clock,
        rng=rng,
    )
    parts = Parts(settings, members, dispatcher, health, journal, receipts, clock, rng)
    return parts
