"""Can an instance take a request: now, later or never, and in what words?

Nothing is changed here, and nothing is compared: choosing among those that can is the strategies' work.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum
from typing import NamedTuple

from gleitzeit_nb.core.abilities import ContextFit
from gleitzeit_nb.core.instances import Instance, InstanceState
from gleitzeit_nb.core.models import display
from gleitzeit_nb.core.needs import Needs


class Hope(Enum):
    """What can become of a candidate while the request waits."""

    NOW = "now"
    LATER = "later"
    EJECTED = "ejected"  # a breaker is in the way
    NEVER = "never"


class Standing(Enum):
    """The verdict on one candidate: its hope, and the words for it (`a` and `b` are the verdict's facts)."""

    PICKED = (Hope.NOW, "picked: {a}/{b} in flight")
    FREE = (Hope.NOW, "could take it: {a}/{b} in flight")
    PANIC = (Hope.NOW, "could take it though it is ejected, since most are: {a}/{b} in flight")
    WAITS = (Hope.LATER, "{a}, waits for {b}")  # it could take it, and yet the request is better off elsewhere
    BUSY = (Hope.LATER, "busy {a}/{b}")
    BUSY_WITH_MODEL = (Hope.LATER, "busy with {a}")
    ELSEWHERE = (Hope.LATER, "busy in another kernel")
    SLOW_START = (Hope.LATER, "has just failed or come back, takes {a} at a time for now")
    PAUSED = (Hope.LATER, "said that it is busy, asked again in {a:.1f} s")
    LIMITED = (Hope.LATER, "its rate limit is used up, asked again in {a:.1f} s")
    PROBING = (Hope.LATER, "half open, one probe is on its way")
    UNHEALTHY = (Hope.LATER, "unhealthy: {a}")
    UNKNOWN = (Hope.LATER, "has not answered yet")
    EJECTED = (Hope.EJECTED, "ejected ({b}), next probe in {a:.1f} s")
    DRAINING = (Hope.NEVER, "draining")
    OTHER = (Hope.NEVER, "not the instance asked for")
    NO_MODEL = (Hope.NEVER, "has not the model {a}")
    NO_TAG = (Hope.NEVER, "no tag {a}")
    NO_GPU = (Hope.NEVER, "no GPU is known")
    NO_POOL_TAG = (Hope.NEVER, "no tag {a}, which the pool requires of everybody")
    NOT_PRIVATE = (Hope.NEVER, "not on this machine")
    NO_ABILITY = (Hope.NEVER, "its {a} has not the ability: {b}")
    NO_CONTEXT = (Hope.NEVER, "its {a} holds fewer than {b} tokens")
    SMALL_CONTEXT = (Hope.NEVER, "has {a} loaded with a smaller context than {b}; --force-ctx would load it anew")
    TRIED = (Hope.NEVER, "has failed this request already")

    def __init__(self, hope: Hope, words: str) -> None:
        self.hope = hope
        self.words = words

    def text(self, a: object, b: object) -> str:
        return self.words.format(a=a, b=b)


FREE = Standing.FREE  # by itself: before Python 3.12 each look-up through the class is a call, and there are several for each candidate
_UNHEALTHY, _UNKNOWN = InstanceState.UNHEALTHY, InstanceState.UNKNOWN

OCCUPIED = frozenset({Standing.BUSY, Standing.BUSY_WITH_MODEL, Standing.ELSEWHERE, Standing.SLOW_START})
"""All its slots are taken for now: one that is worth asking for advice, or waiting for."""


class Verdict(NamedTuple):
    """One candidate and how it was judged. The text is built only when somebody reads it."""

    instance: Instance
    standing: Standing
    a: object = None
    b: object = None

    @property
    def text(self) -> str:
        return self.standing.text(self.a, self.b)

    @property
    def row(self) -> tuple[str, str]:
        return self.instance.id, self.text


def judge(needs: Needs, instance: Instance, now: float, *, regard_health: bool = True, regard_breakers: bool = True) -> Verdict:
    """Can this instance take the request? What can never change is looked at first."""
    obstacle = _never(needs, instance) or _unable(needs, instance, now)
    if obstacle is not None:
        return obstacle
    if regard_breakers and not instance.admits(needs.model, now):
        retry_at = instance.retry_at(needs.model)
        if retry_at is None or now >= retry_at:
            return Verdict(instance, Standing.PROBING)
        return Verdict(instance, Standing.EJECTED, retry_at - now, instance.ejected_because(needs.model))
    if regard_health and instance.state is _UNHEALTHY:
        return Verdict(instance, Standing.UNHEALTHY, instance.reason)
    if regard_health and instance.state is _UNKNOWN:
        return Verdict(instance, Standing.UNKNOWN)
    if now < instance.pause.until:
        return Verdict(instance, Standing.PAUSED, instance.pause.until - now)
    ready_at = None if instance.rate is None else instance.rate.ready_at(now)
    if ready_at is not None:
        return Verdict(instance, Standing.LIMITED, ready_at - now)
    load, slots = instance.load, instance.slots
    if load.in_flight >= slots:
        return Verdict(instance, Standing.BUSY, load.in_flight, slots)
    if instance.settings.max_concurrent is None and load.by_model.get(needs.model):
        return Verdict(instance, Standing.BUSY_WITH_MODEL, display(needs.model))
    if now < instance.elsewhere_until:
        return Verdict(instance, Standing.ELSEWHERE)
    cap = instance.slow_start(needs.model, now)
    if cap is not None:
        return Verdict(instance, Standing.SLOW_START, cap)
    return Verdict(instance, FREE, load.in_flight, slots)


def may_ever(needs: Needs, instance: Instance) -> bool:
    """Can it take the request now or later, as things stand?"""
    return _never(needs, instance) is None  # what a model is able to do is learned as it is asked for


def outlook(instance: Instance, now: float) -> tuple[object, ...]:
    """Everything that can change of what `_never` and `_unable` read of an instance, and what makes later of now and never of later.

    While it is the same, only slots can have become free.
    """
    breakers = (instance.breaker, *instance.model_breakers.values())
    return (
        instance.draining,
        instance.state in (InstanceState.UNHEALTHY, InstanceState.UNKNOWN),
        (instance.pause.until, instance.pause.count),
        instance.elsewhere_until if now < instance.elsewhere_until else 0.0,
        instance.known_models,
        instance.missing_tags,
        tuple(instance.abilities.items()),
        tuple((breaker.state, breaker.retry_at) for breaker in breakers),
        tuple((entry.name, entry.gpu_share, entry.context_length) for entry in instance.loaded.values()),
    )


def _never(needs: Needs, instance: Instance) -> Verdict | None:
    """The obstacle that no waiting removes, if there is one."""
    if needs.instance is not None and instance.id != needs.instance:
        return Verdict(instance, Standing.OTHER)
    if instance.missing_tags:
        return Verdict(instance, Standing.NO_POOL_TAG, ", ".join(instance.missing_tags))
    if needs.private and not instance.is_private:
        return Verdict(instance, Standing.NOT_PRIVATE)
    if instance.draining:
        return Verdict(instance, Standing.DRAINING)
    if needs.model and instance.has_model(needs.model) is False:
        return Verdict(instance, Standing.NO_MODEL, display(needs.model))
    if needs.tags and not needs.tags.issubset(instance.settings.tags):
        return Verdict(instance, Standing.NO_TAG, ", ".join(sorted(needs.tags.difference(instance.settings.tags))))
    if needs.require_gpu and not instance.has_gpu(needs.model):
        return Verdict(instance, Standing.NO_GPU)
    if instance.settings.id in needs.excluded:
        return Verdict(instance, Standing.TRIED)
    return None


def _unable(needs: Needs, instance: Instance, now: float) -> Verdict | None:
    """What the model cannot do there, as far as that is known."""
    abilities = instance.abilities.get(needs.model)
    if abilities is not None:
        lacking = abilities.lacks(needs.capabilities)
        if lacking:
            return Verdict(instance, Standing.NO_ABILITY, display(needs.model), ", ".join(sorted(lacking)))
    if needs.min_context is None:
        return None
    fit = instance.context_fit(needs.model, needs.min_context, now, may_reload=needs.may_reload)
    if fit is ContextFit.NEVER:
        return Verdict(instance, Standing.NO_CONTEXT, display(needs.model), needs.min_context)
    return Verdict(instance, Standing.SMALL_CONTEXT, display(needs.model), needs.min_context) if fit is ContextFit.SMALLER else None


def is_model_missing(needs: Needs, verdicts: Collection[Verdict]) -> bool:
    """Is the model what is missing: no instance is known to have it?"""
    missing = any(verdict.standing is Standing.NO_MODEL for verdict in verdicts)
    return missing and not any(verdict.instance.has_model(needs.model) for verdict in verdicts)
