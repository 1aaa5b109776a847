"""The pool as others see it: snapshot records, and the dictionary of the guide."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from gleitzeit_nb.core.breaker import BreakerState
from gleitzeit_nb.core.instances import Instance, InstanceState
from gleitzeit_nb.core.models import display
from gleitzeit_nb.events import EventBus, Failover
from gleitzeit_nb.llm.parts import Parts
from gleitzeit_nb.snapshot import FailoverView, InstanceView, WarmModel

FAILOVERS_SHOWN = 20


def instance_view(instance: Instance, now: float) -> InstanceView:
    load, settings, breaker = instance.load, instance.settings, instance.breaker
    return InstanceView(
        id=instance.id,
        url=settings.url,
        tags=settings.tags,
        state=instance.state.value,
        reason=_reason(instance),
        draining=instance.draining,
        breaker=breaker.state.value,
        retry_in_s=breaker.retry_in(now),
        in_flight=load.in_flight,
        max_concurrent=instance.slots,
        latency_s=load.latency_s,
        error_rate=load.error_rate,
        total_requests=load.total,
        failed_requests=load.failed,
        tokens_per_s=load.tokens.rates(now),
        warm=tuple(
            WarmModel(display(name), entry.gpu_share, entry.vram_bytes, entry.size_bytes, entry.expires_at)
            for name, entry in instance.loaded.items()
        ),
        models=instance.shown_models,
        load=load.occupancy.shares(instance.slots, now),
        latencies_s=load.answers.means_s(now),
    )


def loaded_context(instances: Iterable[Instance], model: str, instance_id: str) -> int | None:
    """Tokens that the model's context holds where it is loaded: on that instance, else where it holds least. None: nobody knows."""
    found = {each.id: entry.context_length for each in instances if (entry := each.loaded.get(model)) is not None}
    known = [tokens for tokens in found.values() if tokens is not None]
    return found.get(instance_id) or min(known, default=None)


def failover_views(events: EventBus) -> tuple[FailoverView, ...]:
    """The last ones of the event log, newest first."""
    found = (event for event in reversed(events.log) if isinstance(event, Failover))
    return tuple(
        FailoverView(each.at, each.source, each.target, each.reason, each.model) for each in itertools.islice(found, FAILOVERS_SHOWN)
    )


def tokens_per_s(instance: Instance, now: float) -> float:
    """What it does now: the current bucket has only begun, so the one before it counts where that is more."""
    return max(instance.load.tokens.rates(now)[-2:], default=0.0)


def pool_status(parts: Parts) -> dict[str, Any]:
    """The guide's dictionary: rates in percent, durations in seconds. Queue and breaker facts stand beside its keys."""
    instances, now = parts.members.instances, parts.clock()
    states = [instance.state for instance in instances]
    return {
        "total_instances": len(instances),
        "healthy_instances": states.count(InstanceState.HEALTHY),
        "degraded_instances": states.count(InstanceState.DEGRADED),
        "unhealthy_instances": states.count(InstanceState.UNHEALTHY),
        "unknown_instances": states.count(InstanceState.UNKNOWN),
        "queue_depth": len(parts.dispatcher.queue),
        "max_queue": parts.settings.admission.max_queue,
        "in_flight": parts.members.in_flight,
        "strategy": parts.settings.balancing.strategy,
        "failovers": [_failover_status(each) for each in failover_views(parts.journal.events)],
        "instances": {instance.id: _instance_status(instance, now) for instance in instances},
    }


def _failover_status(view: FailoverView) -> dict[str, Any]:
    """`time`: s since the epoch."""
    return {"time": view.at, "from": view.source, "to": view.target, "reason": view.reason, "model": view.model}


def _instance_status(instance: Instance, now: float) -> dict[str, Any]:
    load, breaker = instance.load, instance.breaker
    errors = 100 * (load.error_rate or 0.0)
    return {
        "url": instance.settings.url,
        "state": instance.state.value,
        "active_requests": load.in_flight,
        "total_requests": load.total,
        "avg_response_time": load.mean_latency_s or 0.0,
        "error_rate": errors,
        "availability": 100 - errors,
        "models_loaded": [display(name) for name in instance.loaded],
        "model_load_times": {display(name): seconds for name, seconds in load.load_times_s.items()},
        "circuit_breaker_open": breaker.state is BreakerState.OPEN,
        "circuit_breaker_state": breaker.state.value,
        "retry_in": breaker.retry_in(now),
        "reason": _reason(instance),
        "draining": instance.draining,
        "max_concurrent": instance.slots,
        "failed_requests": load.failed,
        "models": list(instance.shown_models),
        "tags": list(instance.settings.tags),
    }


def _reason(instance: Instance) -> str:
    """Why it is not well, and what is not well about the way to it."""
    settings = instance.settings
    unverified = settings.url.startswith("https:") and not settings.tls.verify
    return ", ".join([*([instance.reason] if instance.reason else []), *(["its certificate is not verified"] if unverified else [])])
