"""What a probe or a request says of an instance's state. Pure: the probing itself is in `llm.health`."""

from __future__ import annotations

from dataclasses import dataclass

from gleitzeit_nb.core.breaker import BreakerState
from gleitzeit_nb.core.faults import TRAITS, Blame, Cause
from gleitzeit_nb.core.instances import Instance, InstanceState
from gleitzeit_nb.core.models import display

SLOW_PROBE_S = 2.0
DEGRADED_ERROR_RATE = 0.2
ENOUGH_REQUESTS = 5  # to speak of a rate
MISSES = 2  # probes in a row without an answer that make an instance unhealthy; one may be a moment of heavy work

Assessment = tuple[InstanceState, str]


@dataclass(frozen=True)
class Probe:
    """How a health probe went. `cause` None: the instance answered; `partly`: what it did not answer as it should."""

    elapsed_s: float
    cause: Cause | None = None
    detail: str = ""
    partly: str = ""


def after_probe(instance: Instance, probe: Probe) -> Assessment:
    """The state that follows. Counts missed probes on the instance."""
    if probe.cause is Cause.FIRST_BYTE_TIMEOUT:
        instance.missed_probes += 1
        reason = f"did not answer a health probe for {probe.elapsed_s:.1f} s"
        settled = instance.state in (InstanceState.HEALTHY, InstanceState.DEGRADED)
        return (InstanceState.DEGRADED if settled and instance.missed_probes < MISSES else InstanceState.UNHEALTHY), reason
    instance.missed_probes = 0
    if probe.cause is not None:
        text = TRAITS[probe.cause].text
        return InstanceState.UNHEALTHY, f"{text}: {probe.detail}" if probe.detail else text
    if probe.partly:
        return InstanceState.DEGRADED, probe.partly
    if probe.elapsed_s > SLOW_PROBE_S:
        return InstanceState.DEGRADED, f"took {probe.elapsed_s:.1f} s to answer a health probe"
    return after_answers(instance)


def after_request(instance: Instance, cause: Cause | None) -> Assessment:
    """The state after a request ended there. `cause` None: it was answered."""
    if cause is None:
        return after_answers(instance)
    traits = TRAITS[cause]
    if traits.fatal:
        return InstanceState.UNHEALTHY, traits.text
    if traits.blame is Blame.NOBODY or instance.state is InstanceState.UNHEALTHY:
        return instance.state, instance.reason
    state, reason = after_answers(instance)
    return InstanceState.DEGRADED, reason if state is InstanceState.DEGRADED else f"the last request failed: it {traits.text}"


def after_answers(instance: Instance) -> Assessment:
    """What is reachable and answers is healthy, unless its work goes wrong: that no good probe can hide."""
    if instance.breaker.state is not BreakerState.CLOSED:
        return InstanceState.DEGRADED, f"ejected: it {instance.breaker.reason}"
    for model, breaker in instance.model_breakers.items():
        if breaker.state is not BreakerState.CLOSED:
            return InstanceState.DEGRADED, f"{display(model)} fails there: it {breaker.reason}"
    rate = instance.load.error_rate
    if rate is not None and rate >= DEGRADED_ERROR_RATE and instance.load.recent >= ENOUGH_REQUESTS:
        return InstanceState.DEGRADED, f"{rate:.0%} of the last {instance.load.recent} requests failed"
    return InstanceState.HEALTHY, ""
