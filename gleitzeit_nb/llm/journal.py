"""What the pool tells the world: events for the views, lines for the log. Prompts and answers never appear in either."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from gleitzeit_nb.core.breaker import Move
from gleitzeit_nb.core.candidates import Verdict
from gleitzeit_nb.core.digests import Conflict
from gleitzeit_nb.core.instances import Instance, InstanceState
from gleitzeit_nb.events import BreakerMoved, DigestsDiffer, EventBus, Failover, InstanceChanged, ModelLoaded, ModelUnloaded, QueueFull
from gleitzeit_nb.llm.faults import shortened

logger = logging.getLogger("gleitzeit_nb.pool")

NAME_CHARS = 80


class Journal:
    """Every decision of the pool that somebody may want to hear of passes through here, once."""

    def __init__(self, events: EventBus) -> None:
        self.events = events
        self._conflicts: frozenset[Conflict] = frozenset()

    def picked(self, request_id: str, model: str, instance: Instance, verdicts: Iterable[Verdict]) -> None:
        if logger.isEnabledFor(logging.DEBUG):
            candidates = "; ".join(f"{name}: {text}" for name, text in (verdict.row for verdict in verdicts))
            logger.debug("%s for %r goes to %s (%s)", request_id, shortened(model, NAME_CHARS), instance.id, candidates)

    def passed_over(self, request_id: str, model: str, verdicts: Iterable[Verdict]) -> None:
        if logger.isEnabledFor(logging.DEBUG):
            reasons = "; ".join(f"{name}: {text}" for name, text in (verdict.row for verdict in verdicts))
            logger.debug("%s for %r goes nowhere (%s)", request_id, shortened(model, NAME_CHARS), reasons)

    def failed_try(self, request_id: str, instance: Instance, what: str) -> None:
        logger.debug("%s failed on %s: %r", request_id, instance.id, what)

    def failover(self, request_id: str, model: str, source: str, target: str, reason: str) -> None:
        logger.info("%s moves from %s to %s: %r", request_id, source, target, reason)
        self.events.emit(Failover(time.time(), request_id, shortened(model, NAME_CHARS), source, target, reason))

    def breaker_moved(self, instance: Instance, moves: Iterable[Move]) -> None:
        for move in moves:
            logger.info("breaker of %s: %s -> %s (%s)", instance.id, move.before.value, move.after.value, move.reason)
            self.events.emit(BreakerMoved(time.time(), instance.id, move.before.value, move.after.value, move.reason))

    def state_changed(self, instance: Instance, state: InstanceState, reason: str) -> None:
        """Set the state; tell only when it is another one."""
        before, instance.state, instance.reason = instance.state, state, reason
        if state is not before:
            self.changed(instance.id, state.value, reason)

    def digests_compared(self, found: Iterable[Conflict]) -> None:
        """Tell of those that were not told of yet."""
        now = frozenset(found)
        for conflict in sorted(now - self._conflicts, key=lambda each: each.model):
            logger.warning("%s", shortened(conflict.text))
            self.events.emit(DigestsDiffer(time.time(), shortened(conflict.model, NAME_CHARS), conflict.holders))
        self._conflicts = now

    def changed(self, instance_id: str, change: str, reason: str = "") -> None:
        logger.info("instance %s: %s%s", instance_id, change, f" ({reason!r})" if reason else "")
        self.events.emit(InstanceChanged(time.time(), instance_id, change, reason))

    def model_loaded(self, instance: Instance, model: str, waited_s: float | None = None) -> None:
        logger.info("%s has loaded %r", instance.id, shortened(model, NAME_CHARS))
        self.events.emit(ModelLoaded(time.time(), instance.id, shortened(model, NAME_CHARS), waited_s))

    def model_unloaded(self, instance: Instance, model: str) -> None:
        logger.info("%s has unloaded %r", instance.id, shortened(model, NAME_CHARS))
        self.events.emit(ModelUnloaded(time.time(), instance.id, shortened(model, NAME_CHARS)))

    def queue_full(self, waiting: int) -> None:
        logger.warning("requests are turned away: %d wait already", waiting)
        self.events.emit(QueueFull(time.time(), waiting))
