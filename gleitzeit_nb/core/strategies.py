"""Which of the instances that can answer should: filter, then score, then choose.

`STRATEGIES` is the one table of the strategies, `pick` chooses among the candidates that can take a request (`candidates.judge`).
Nothing is changed here: whoever takes the pick reserves it in the same synchronous step (`leases.reserve`).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from random import Random
from types import MappingProxyType
from typing import NamedTuple, Protocol

from gleitzeit_nb.core.candidates import FREE, OCCUPIED, Standing, Verdict, judge
from gleitzeit_nb.core.forecast import Case, Forecast, Waiting, rendezvous
from gleitzeit_nb.core.instances import Instance
from gleitzeit_nb.core.needs import Needs, Wishes
from gleitzeit_nb.core.panic import panicked
from gleitzeit_nb.core.pins import Pins
from gleitzeit_nb.core.shortlist import Tiers, Turn, preference, prefers, shortlist
from gleitzeit_nb.core.specialities import mismatches
from gleitzeit_nb.core.turns import middle
from gleitzeit_nb.errors import ConfigError

MANY = 32  # above so many instances, some are looked at instead of all

Score = tuple[float, ...]
Scores = tuple[tuple[str, Score], ...]  # (instance id, score) of those that were compared


@dataclass(frozen=True)
class BalancingSettings:
    """Pool-wide routing. `retry_attempts`: further tries on *other* instances before the first token, when `failover`."""

    strategy: str = "auto"
    failover: bool = True
    retry_attempts: int = 3
    health_check_interval_s: float = 30.0


class Pick(NamedTuple):
    """Who should answer (None: nobody can right now, or `waiting` says for whom to wait), and the verdicts on whom it looked at.

    Of many instances it looks at some only, once one of them can take the request.
    """

    instance: Instance | None
    verdicts: tuple[Verdict, ...]
    waiting: Waiting | None = None
    scores: Scores = ()

    @property
    def rows(self) -> tuple[tuple[str, str], ...]:
        return tuple(verdict.row for verdict in self.verdicts)


class Ranking(Protocol):
    """One case's scores: the lowest wins, equals are drawn. `parts`: what a score is made of, for people."""

    def score(self, instance: Instance) -> Score: ...

    def parts(self, instance: Instance) -> tuple[tuple[str, float], ...]: ...

    def better(self, free: Instance, busy: Collection[Instance]) -> Waiting | None:
        """A busy instance that is worth waiting for, if there is one."""
        ...


class Strategy(NamedTuple):
    """`ranking`: of a case, given everybody who may be compared. `tiers` and `turn`: by what some of many are chosen to be compared.

    `waits`: a request may let a free instance be, for the sake of a busy one.
    """

    ranking: Callable[[Case, Collection[Instance]], Ranking]
    doc: str
    tiers: Tiers | None = None
    turn: Turn | None = None
    waits: bool = False


class Plain:
    """A ranking by a score that each instance has by itself. `labels` name its numbers. It never waits while somebody is free."""

    def __init__(self, score: Callable[[Instance], Score], labels: Sequence[str]) -> None:
        self.score = score
        self._labels = labels

    def parts(self, instance: Instance) -> tuple[tuple[str, float], ...]:
        return tuple(zip(self._labels, self.score(instance), strict=True))

    def better(self, free: Instance, busy: Collection[Instance]) -> Waiting | None:
        return None


class Soonest:
    """A ranking by expected seconds. Equals that would load the model go by rendezvous, so that several kernels agree on its home."""

    def __init__(self, case: Case, candidates: Collection[Instance]) -> None:
        self._forecast = Forecast(case, candidates)

    def score(self, instance: Instance) -> Score:
        return self._forecast.seconds(instance), _home(instance, self._forecast)

    def parts(self, instance: Instance) -> tuple[tuple[str, float], ...]:
        return tuple((f"{label} (s)", seconds) for label, seconds in self._forecast.parts(instance))

    def better(self, free: Instance, busy: Collection[Instance]) -> Waiting | None:
        return self._forecast.better(free, busy)


class Warmest(Soonest):
    """As `Soonest`, but only loading counts, then the share of busy slots: how fast an instance is does not matter."""

    def score(self, instance: Instance) -> Score:
        return self._forecast.cold_s(instance), _busy_share(instance), _home(instance, self._forecast)

    def parts(self, instance: Instance) -> tuple[tuple[str, float], ...]:
        return ("load (s)", self._forecast.cold_s(instance)), ("busy share", _busy_share(instance))

    def better(self, free: Instance, busy: Collection[Instance]) -> Waiting | None:
        return self._forecast.better(free, busy) if self._forecast.cold_s(free) > 0 else None


def _home(instance: Instance, forecast: Forecast) -> float:
    return rendezvous(instance.settings.url, forecast.case.needs.model) if forecast.cold_s(instance) > 0 else 0.0


def _busy_share(instance: Instance) -> float:
    return instance.load.in_flight / instance.slots


def _least_loaded(case: Case, candidates: Collection[Instance]) -> Ranking:
    model, now = case.needs.model, case.now
    return Plain(lambda each: (_busy_share(each), 0.0 if each.is_warm(model, now) else 1.0), ("busy share", "cold"))


def _round_robin(case: Case, candidates: Collection[Instance]) -> Ranking:
    return Plain(lambda each: (float(each.last_turn),), ("last turn",))


_last_turn = attrgetter("last_turn")


def _weighted(case: Case, candidates: Collection[Instance]) -> Ranking:
    return Plain(lambda each: (middle(each),), ("next share",))


def _latency_based(case: Case, candidates: Collection[Instance]) -> Ranking:
    forecast = Forecast(case, candidates)
    return Plain(lambda each: (forecast.answering_s(each),), ("answer (s)",))


def _priority(case: Case, candidates: Collection[Instance]) -> Ranking:
    return Plain(lambda each: (float(each.settings.priority), _busy_share(each)), ("priority", "busy share"))


def _priorities(case: Case, instances: Sequence[Instance]) -> list[int]:
    return [each.settings.priority for each in instances]


def _specialization(case: Case, candidates: Collection[Instance]) -> Ranking:
    ranks = dict(zip(candidates, mismatches(case.needs, case.wishes, candidates), strict=True))
    return Plain(lambda each: (float(ranks[each]), _busy_share(each)), ("mismatch", "busy share"))


def _mismatches(case: Case, instances: Sequence[Instance]) -> list[int]:
    return mismatches(case.needs, case.wishes, instances)


STRATEGIES: Mapping[str, Strategy] = MappingProxyType(
    {
        "auto": Strategy(
            Soonest,
            "the soonest whole answer: speed, load, whether the model is loaded and the conversation known; waits for a better busy one",
            waits=True,
        ),
        "least_loaded": Strategy(_least_loaded, "the smallest share of busy slots; among equals one with the model loaded, then by chance"),
        "round_robin": Strategy(_round_robin, "in turn: whoever was picked longest ago", turn=_last_turn),
        "weighted": Strategy(_weighted, "in turn, in proportion to each instance's `weight`, evenly spread", turn=middle),
        "latency_based": Strategy(
            _latency_based, "the fastest of late: time to the first token and per token of this model, times its load"
        ),
        "model_affinity": Strategy(
            Warmest,
            "where the model is loaded; waits for it rather than load it elsewhere, until waiting costs more",
            waits=True,
        ),
        "priority": Strategy(
            _priority, "the lowest `priority` number; the next one only when nobody of the first can take it", tiers=_priorities
        ),
        "specialization": Strategy(
            _specialization,
            "whose `specialization` fits: vision for images, large or high-memory for models from 18 GB, embedding, code",
            tiers=_mismatches,
        ),
    }
)


def nearest_strategy(name: str) -> str | None:
    """The name that `name` may have meant."""
    near = difflib.get_close_matches(name.lower().replace("-", "_"), STRATEGIES, n=1)
    return near[0] if near else None


def strategy_named(name: str) -> Strategy:
    """The strategy of that name, or a ConfigError that names the nearest."""
    found = STRATEGIES.get(name)
    if found is not None:
        return found
    near = nearest_strategy(name)
    hint = f" Did you mean {near!r}?" if near else ""
    raise ConfigError(f"there is no load balancing strategy {name[:60]!r}; there are {', '.join(STRATEGIES)}.{hint}")


def pick(
    needs: Needs,
    wishes: Wishes,
    instances: Collection[Instance],
    now: float,
    rng: Random,
    *,
    pins: Pins | None = None,
    ahead: int = 0,
    waited_s: float = 0.0,
    exact: bool = False,
) -> Pick:
    """Choose for a request. Instances that are not known to be up are passed over, unless nobody else is left to hope for.

    `ahead`: how many wait before it for the same, `waited_s`: how long it has passed by free instances. `exact`: look at everybody.
    """
    strategy = strategy_named(wishes.strategy)
    case = Case.of(needs, wishes, now, pins)
    few = exact or len(instances) <= MANY
    verdicts = _all(needs, instances, now) if few else shortlist(case, instances, rng, tiers=strategy.tiers, turn=strategy.turn)
    free = [verdict.instance for verdict in verdicts if verdict.standing is FREE]
    if not free and not few:
        verdicts = _all(needs, instances, now)
        free = [verdict.instance for verdict in verdicts if verdict.standing is FREE]
    if not free:
        verdicts = list(panicked(verdicts, needs, now))
        free = [verdict.instance for verdict in verdicts if verdict.standing is Standing.PANIC]
    if not free:
        return Pick(None, tuple(verdicts))
    busy = [verdict.instance for verdict in verdicts if verdict.standing is not FREE and verdict.standing in OCCUPIED]
    if len(free) == 1 and not busy:  # no choice, so nothing to rank
        return _chosen(free[0], verdicts)
    ranking = strategy.ranking(case, [*free, *busy])
    chosen, scores = _choose(free, case, ranking, rng)
    waiting = ranking.better(chosen, busy) if busy and chosen.id != wishes.preference else None
    if waiting is not None and waiting.step_s * (ahead + 1) + waited_s < waiting.gain_s:
        return Pick(None, tuple(_waits(verdict, waiting) for verdict in verdicts), waiting)
    return _chosen(chosen, verdicts)._replace(scores=scores)


def _chosen(instance: Instance, verdicts: Iterable[Verdict]) -> Pick:
    return Pick(instance, tuple([_picked(each) if each.instance is instance else each for each in verdicts]))


def _picked(verdict: Verdict) -> Verdict:
    return Verdict(verdict.instance, _PICKED, verdict.a, verdict.b)


def advise(needs: Needs, wishes: Wishes, instances: Collection[Instance], now: float, rng: Random) -> Pick:
    """As `pick`, but a busy instance will do when no slot is free: for callers who hold no slot."""
    found = pick(needs, wishes, instances, now, rng)
    if found.instance is not None:
        return found
    if found.waiting is not None:
        return found._replace(instance=found.waiting.instance)
    busy = [verdict.instance for verdict in found.verdicts if verdict.standing in OCCUPIED]
    if not busy:
        return found
    case = Case(needs, wishes, now)
    return found._replace(instance=_choose(busy, case, strategy_named(wishes.strategy).ranking(case, busy), rng)[0])


_PICKED = Standing.PICKED
_HOPEFUL = OCCUPIED | {FREE, Standing.PAUSED, Standing.LIMITED, Standing.PROBING}


def _all(needs: Needs, instances: Collection[Instance], now: float) -> list[Verdict]:
    verdicts = [judge(needs, instance, now) for instance in instances]
    if not any(verdict.standing is FREE or verdict.standing in _HOPEFUL for verdict in verdicts):
        verdicts = [_regardless_of_health(verdict, needs, now) for verdict in verdicts]
    return verdicts


def _regardless_of_health(verdict: Verdict, needs: Needs, now: float) -> Verdict:
    if verdict.standing not in (Standing.UNHEALTHY, Standing.UNKNOWN):
        return verdict
    return judge(needs, verdict.instance, now, regard_health=False)


def _choose(free: Sequence[Instance], case: Case, ranking: Ranking, rng: Random) -> tuple[Instance, Scores]:
    if len(free) == 1:
        return free[0], ()
    scores = [ranking.score(instance) for instance in free]
    orders = list(zip([preference(instance, case) for instance in free], scores, strict=True)) if prefers(case.wishes) else scores
    best = min(orders)
    ties = [instance for instance, order in zip(free, orders, strict=True) if order == best]
    chosen = ties[0] if len(ties) == 1 else rng.choice(ties)
    return chosen, tuple([(instance.settings.id, score) for instance, score in zip(free, scores, strict=True)])


def _waits(verdict: Verdict, waiting: Waiting) -> Verdict:
    if verdict.standing is not FREE:
        return verdict
    who = f"warm {waiting.instance.id}" if waiting.why == "cold" else waiting.instance.id
    return Verdict(verdict.instance, Standing.WAITS, waiting.why, who)
