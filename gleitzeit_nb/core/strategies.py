"""Which of the instances that can answer should: filter, then score, then choose.

`pick` chooses among the candidates that can take a request (`candidates.judge`). Nothing is changed here: whoever takes the pick
reserves it in the same synchronous step (`leases.reserve`).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import NamedTuple

from gleitzeit_nb.core.candidates import Standing, Verdict, judge
from gleitzeit_nb.core.instances import Instance
from gleitzeit_nb.core.needs import Needs
from gleitzeit_nb.core.panic import panicked
from gleitzeit_nb.errors import ConfigError


@dataclass(frozen=True)
class BalancingSettings:
    """Pool-wide routing. `retry_attempts`: further tries on *other* instances before the first token, when `failover`."""

    strategy: str = "least_loaded"
    failover: bool = True
    retry_attempts: int = 3
    health_check_interval_s: float = 30.0


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
        verdicts = list(panicked(verdicts, needs, now))
        free = [verdict.instance for verdict in verdicts if verdict.standing is Standing.PANIC]
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
    busy = [verdict.instance for verdict in found.verdicts if verdict.standing in _OCCUPIED]
    return found._replace(instance=_choose(busy, needs, now, rng)) if busy else found


_OCCUPIED = frozenset({Standing.BUSY, Standing.BUSY_WITH_MODEL, Standing.ELSEWHERE, Standing.SLOW_START})
_HOPEFUL = _OCCUPIED | {Standing.FREE, Standing.PAUSED, Standing.PROBING}


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
