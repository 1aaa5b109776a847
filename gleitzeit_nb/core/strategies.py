"""Which of the instances that can answer should: filter, then score, then choose.

`judge` says of one instance whether it can take a request now, may later, or never; `pick` chooses among those that can.
Nothing is changed here: whoever takes the pick reserves it in the same synchronous step (`leases.reserve`).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random
from types import MappingProxyType
from typing import NamedTuple

from gleitzeit_nb.core.instances import Instance, InstanceState
from gleitzeit_nb.core.models import canonical, display
from gleitzeit_nb.core.requests import LLMRequest
from gleitzeit_nb.errors import ConfigError


@dataclass(frozen=True)
class BalancingSettings:
    """Pool-wide routing. `retry_attempts`: further tries on *other* instances before the first token, when `failover`."""

    strategy: str = "least_loaded"
    failover: bool = True
    retry_attempts: int = 3
    health_check_interval_s: float = 30.0


@dataclass(frozen=True)
class TimeoutSettings:
    """Per-phase limits of one try (s), under the request's one deadline."""

    connect_s: float = 2.0
    first_token_warm_s: float = 30.0
    first_token_cold_s: float = 300.0
    between_tokens_s: float = 30.0


@dataclass(frozen=True)
class Needs:
    """What a request asks of an instance. Equal needs wait in one line. `model` is canonical; "": any."""

    model: str
    strategy: str = "least_loaded"
    tags: frozenset[str] = frozenset()
    instance: str | None = None
    require_gpu: bool = False
    preference: str | None = None
    max_latency_s: float | None = None
    excluded: frozenset[str] = frozenset()  # have failed this request already

    @classmethod
    def of(cls, request: LLMRequest, model: str, strategy: str, excluded: Iterable[str] = ()) -> Needs:
        """What `request` needs when it asks for `model` by that strategy."""
        return cls(
            model=canonical(model),
            strategy=strategy,
            tags=frozenset(request.tags),
            instance=request.instance,
            require_gpu=request.require_gpu,
            preference=request.instance_preference,
            max_latency_s=None if request.max_latency_ms is None else request.max_latency_ms / 1000,
            excluded=frozenset(excluded),
        )


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
    BUSY = (Hope.LATER, "busy {a}/{b}")
    BUSY_WITH_MODEL = (Hope.LATER, "busy with {a}")
    PAUSED = (Hope.LATER, "said that it is busy, asked again in {a:.1f} s")
    PROBING = (Hope.LATER, "half open, one probe is on its way")
    UNHEALTHY = (Hope.LATER, "unhealthy: {a}")
    UNKNOWN = (Hope.LATER, "has not answered yet")
    EJECTED = (Hope.EJECTED, "ejected ({b}), next probe in {a:.1f} s")
    DRAINING = (Hope.NEVER, "draining")
    OTHER = (Hope.NEVER, "not the instance asked for")
    NO_MODEL = (Hope.NEVER, "has not the model {a}")
    NO_TAG = (Hope.NEVER, "no tag {a}")
    NO_GPU = (Hope.NEVER, "no GPU is known")
    TRIED = (Hope.NEVER, "has failed this request already")

    def __init__(self, hope: Hope, words: str) -> None:
        self.hope = hope
        self.words = words


class Verdict(NamedTuple):
    """One candidate and how it was judged. The text is built only when somebody reads it."""

    instance: Instance
    standing: Standing
    a: object = None
    b: object = None

    @property
    def text(self) -> str:
        return self.standing.words.format(a=self.a, b=self.b)

    @property
    def row(self) -> tuple[str, str]:
        return self.instance.id, self.text


class Pick(NamedTuple):
    """Who should answer (None: nobody can right now), and every candidate's verdict."""

    instance: Instance | None
    verdicts: tuple[Verdict, ...]

    @property
    def rows(self) -> tuple[tuple[str, str], ...]:
        return tuple(verdict.row for verdict in self.verdicts)


Score = tuple[float, ...]


class Strategy(NamedTuple):
    """`score`: of an instance that can take the request; the lowest wins, equals are drawn. `doc`: one line for users."""

    score: Callable[[Instance, Needs, float], Score]
    doc: str


def least_loaded(instance: Instance, needs: Needs, now: float) -> Score:
    return instance.load.in_flight / instance.slots, 0.0 if instance.is_warm(needs.model, now) else 1.0


def round_robin(instance: Instance, needs: Needs, now: float) -> Score:
    return (float(instance.last_turn),)


STRATEGIES: Mapping[str, Strategy] = MappingProxyType(
    {
        "least_loaded": Strategy(least_loaded, "the smallest share of busy slots; among equals one with the model loaded, then by chance"),
        "round_robin": Strategy(round_robin, "in turn: whoever was picked longest ago"),
    }
)


def strategy_named(name: str) -> Strategy:
    """The strategy of that name, or a ConfigError that names the nearest."""
    found = STRATEGIES.get(name)
    if found is not None:
        return found
    near = difflib.get_close_matches(name, STRATEGIES, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"there is no load balancing strategy {name[:60]!r}; there are {', '.join(STRATEGIES)}.{hint}")


def pick(needs: Needs, instances: Collection[Instance], now: float, rng: Random) -> Pick:
    """Choose for `needs`. Instances that are not known to be up are passed over, unless nobody else is left to hope for."""
    verdicts = [judge(needs, instance, now) for instance in instances]
    if not any(verdict.standing in _HOPEFUL for verdict in verdicts):
        verdicts = [_regardless_of_health(verdict, needs, now) for verdict in verdicts]
    free = [verdict.instance for verdict in verdicts if verdict.standing is Standing.FREE]
    if not free:
        return Pick(None, tuple(verdicts))
    chosen = _choose(free, needs, now, rng)
    for index, verdict in enumerate(verdicts):
        if verdict.instance is chosen:
            verdicts[index] = verdict._replace(standing=Standing.PICKED)
    return Pick(chosen, tuple(verdicts))


def advise(needs: Needs, instances: Collection[Instance], now: float, rng: Random) -> Pick:
    """As `pick`, but a busy instance will do when no slot is free: for callers who hold no slot."""
    found = pick(needs, instances, now, rng)
    if found.instance is not None:
        return found
    busy = [verdict.instance for verdict in found.verdicts if verdict.standing in (Standing.BUSY, Standing.BUSY_WITH_MODEL)]
    return found._replace(instance=_choose(busy, needs, now, rng)) if busy else found


def judge(needs: Needs, instance: Instance, now: float, *, regard_health: bool = True) -> Verdict:
    """Can this instance take the request? What can never change is looked at first."""
    obstacle = _never(needs, instance)
    if obstacle is not None:
        return obstacle
    if not instance.admits(needs.model, now):
        retry_at = instance.retry_at(needs.model)
        if retry_at is None or now >= retry_at:
            return Verdict(instance, Standing.PROBING)
        return Verdict(instance, Standing.EJECTED, retry_at - now, instance.ejected_because(needs.model))
    if regard_health and instance.state is InstanceState.UNHEALTHY:
        return Verdict(instance, Standing.UNHEALTHY, instance.reason)
    if regard_health and instance.state is InstanceState.UNKNOWN:
        return Verdict(instance, Standing.UNKNOWN)
    if now < instance.paused_until:
        return Verdict(instance, Standing.PAUSED, instance.paused_until - now)
    load, slots = instance.load, instance.slots
    if load.in_flight >= slots:
        return Verdict(instance, Standing.BUSY, load.in_flight, slots)
    if not instance.is_free_for(needs.model):
        return Verdict(instance, Standing.BUSY_WITH_MODEL, display(needs.model))
    return Verdict(instance, Standing.FREE, load.in_flight, slots)


_HOPEFUL = frozenset(
    {Standing.FREE, Standing.BUSY, Standing.BUSY_WITH_MODEL, Standing.PAUSED, Standing.PROBING},
)


def _never(needs: Needs, instance: Instance) -> Verdict | None:
    """The obstacle that no waiting removes, if there is one."""
    if needs.instance is not None and instance.id != needs.instance:
        return Verdict(instance, Standing.OTHER)
    if instance.draining:
        return Verdict(instance, Standing.DRAINING)
    if needs.model and instance.has_model(needs.model) is False:
        return Verdict(instance, Standing.NO_MODEL, display(needs.model))
    missing = needs.tags.difference(instance.settings.tags)
    if missing:
        return Verdict(instance, Standing.NO_TAG, ", ".join(sorted(missing)))
    if needs.require_gpu and not instance.has_gpu(needs.model):
        return Verdict(instance, Standing.NO_GPU)
    if instance.id in needs.excluded:
        return Verdict(instance, Standing.TRIED)
    return None


def _regardless_of_health(verdict: Verdict, needs: Needs, now: float) -> Verdict:
    if verdict.standing not in (Standing.UNHEALTHY, Standing.UNKNOWN):
        return verdict
    return judge(needs, verdict.instance, now, regard_health=False)


def _choose(free: Sequence[Instance], needs: Needs, now: float, rng: Random) -> Instance:
    if len(free) == 1:
        return free[0]
    score = strategy_named(needs.strategy).score
    scored = [(_preference(instance, needs), score(instance, needs, now)) for instance in free]
    best = min(scored)
    ties = [instance for instance, each in zip(free, scored, strict=True) if each == best]
    return ties[0] if len(ties) == 1 else rng.choice(ties)


def _preference(instance: Instance, needs: Needs) -> tuple[bool, bool]:
    """What the request would rather have, before any strategy speaks: False sorts first."""
    latency = instance.load.latency.value
    slow = needs.max_latency_s is not None and latency is not None and latency > needs.max_latency_s
    return needs.preference is not None and instance.id != needs.preference, slow


def is_model_missing(needs: Needs, verdicts: Collection[Verdict]) -> bool:
    """Is the model what is missing: no instance is known to have it?"""
    missing = any(verdict.standing is Standing.NO_MODEL for verdict in verdicts)
    return missing and not any(verdict.instance.has_model(needs.model) for verdict in verdicts)
