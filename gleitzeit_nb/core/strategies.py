"""Which of the instances that can answer should: filter, then score, then choose.

`STRATEGIES` is the one table of the strategies, `pick` chooses among the candidates that can take a request (`candidates.judge`).
Nothing is changed here: whoever takes the pick reserves it in the same synchronous step (`leases.reserve`).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import NamedTuple, Protocol

from gleitzeit_nb.core.candidates import OCCUPIED, Standing, Verdict, judge
from gleitzeit_nb.core.forecast import Case, Forecast, Waiting, homes, rendezvous
from gleitzeit_nb.core.instances import Instance
from gleitzeit_nb.core.needs import Needs, Wishes
from gleitzeit_nb.core.panic import panicked
from gleitzeit_nb.core.pins import Pins
from gleitzeit_nb.core.specialities import mismatch, size_of, wanted
from gleitzeit_nb.core.turns import middle
from gleitzeit_nb.errors import ConfigError

MANY = 32  # above so many instances, two drawn ones of each sort are compared instead of all
DRAWS = 8  # tries to find those two

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
    """`ranking`: of a case, given everybody who may be compared. `draws`: of many instances, some may stand for all.

    `waits`: a request may let a free instance be, for the sake of a busy one.
    """

    ranking: Callable[[Case, Collection[Instance]], Ranking]
    doc: str
    draws: bool = False
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
        forecast = self._forecast
        return forecast.seconds(instance), _home(instance, forecast)

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


def _weighted(case: Case, candidates: Collection[Instance]) -> Ranking:
    return Plain(lambda each: (middle(each),), ("next share",))


def _latency_based(case: Case, candidates: Collection[Instance]) -> Ranking:
    forecast = Forecast(case, candidates)
    return Plain(lambda each: (sum(seconds for _, seconds in forecast.parts(each)[:2]),), ("answer (s)",))


def _priority(case: Case, candidates: Collection[Instance]) -> Ranking:
    return Plain(lambda each: (float(each.settings.priority), _busy_share(each)), ("priority", "busy share"))


def _specialization(case: Case, candidates: Collection[Instance]) -> Ranking:
    about = wanted(case.needs, case.wishes, size_of(case.needs.model, candidates))
    return Plain(lambda each: (float(mismatch(each, about)), _busy_share(each)), ("mismatch", "busy share"))


STRATEGIES: Mapping[str, Strategy] = MappingProxyType(
    {
        "auto": Strategy(
            Soonest,
            "the soonest whole answer: speed, load, whether the model is loaded and the conversation known; waits for a better busy one",
            draws=True,
            waits=True,
        ),
        "least_loaded": Strategy(
            _least_loaded, "the smallest share of busy slots; among equals one with the model loaded, then by chance", draws=True
        ),
        "round_robin": Strategy(_round_robin, "in turn: whoever was picked longest ago"),
        "weighted": Strategy(_weighted, "in turn, in proportion to each instance's `weight`, evenly spread"),
        "latency_based": Strategy(
            _latency_based, "the fastest of late: time to the first token and per token of this model, times its load", draws=True
        ),
        "model_affinity": Strategy(
            Warmest,
            "where the model is loaded; waits for it rather than load it elsewhere, until waiting costs more",
            draws=True,
            waits=True,
        ),
        "priority": Strategy(_priority, "the lowest `priority` number; the next one only when nobody of the first can take it"),
        "specialization": Strategy(
            _specialization, "whose `specialization` fits: vision for images, large or high-memory for models from 18 GB, embedding, code"
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
    verdicts = [] if exact or len(instances) <= MANY else _some(case, strategy, instances, rng)
    if not any(verdict.standing is Standing.FREE for verdict in verdicts):
        verdicts = _all(needs, instances, now)
    free = [verdict.instance for verdict in verdicts if verdict.standing is Standing.FREE]
    if not free:
        verdicts = list(panicked(verdicts, needs, now))
        free = [verdict.instance for verdict in verdicts if verdict.standing is Standing.PANIC]
    if not free:
        return Pick(None, tuple(verdicts))
    busy = [verdict.instance for verdict in verdicts if verdict.standing in OCCUPIED]
    if len(free) == 1 and not busy:  # no choice, so nothing to rank
        return _chosen(free[0], verdicts)
    ranking = strategy.ranking(case, [*free, *busy])
    chosen, scores = _choose(free, case, ranking, rng)
    waiting = ranking.better(chosen, busy) if busy and chosen.id != wishes.preference else None
    if waiting is not None and waiting.step_s * (ahead + 1) + waited_s < waiting.gain_s:
        return Pick(None, tuple(_waits(verdict, waiting) for verdict in verdicts), waiting)
    return _chosen(chosen, verdicts)._replace(scores=scores)


def _chosen(instance: Instance, verdicts: Iterable[Verdict]) -> Pick:
    return Pick(instance, tuple(_picked(verdict) if verdict.instance is instance else verdict for verdict in verdicts))


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


_HOPEFUL = OCCUPIED | {Standing.FREE, Standing.PAUSED, Standing.LIMITED, Standing.PROBING}


def _all(needs: Needs, instances: Collection[Instance], now: float) -> list[Verdict]:
    verdicts = [judge(needs, instance, now) for instance in instances]
    if not any(verdict.standing in _HOPEFUL for verdict in verdicts):
        verdicts = [_regardless_of_health(verdict, needs, now) for verdict in verdicts]
    return verdicts


def _some(case: Case, strategy: Strategy, instances: Collection[Instance], rng: Random) -> list[Verdict]:
    """Enough of many instances to choose as if all had been looked at, or nearly so."""
    if strategy.draws:
        return _drawn(case, instances, rng)
    score = strategy.ranking(case, ()).score
    ranked = [((_preference(each, case), score(each)), rng.random(), number, each) for number, each in enumerate(instances)]
    verdicts: list[Verdict] = []
    for *_, instance in sorted(ranked):
        verdicts.append(judge(case.needs, instance, case.now))
        if verdicts[-1].standing is Standing.FREE:
            break
    return verdicts


def _drawn(case: Case, instances: Collection[Instance], rng: Random) -> list[Verdict]:
    """Two of the free ones that have the model loaded and two of all, by chance; whoever is preferred; the model's first homes.

    To take the better of two drawn ones is nearly as good as to take the best of all (Mitzenmacher, 2001).
    """
    needs, wishes, now, holder, _ = case
    everybody, model = list(instances), needs.model
    warm = [each for each in everybody if model in each.loaded or model in each.load.loading] if model else []
    judged: dict[Instance, Verdict] = {}
    for sort in (warm, everybody):
        found = 0
        for _ in range(DRAWS if sort else 0):
            instance = sort[int(rng.random() * len(sort))]
            if instance not in judged:
                judged[instance] = verdict = judge(needs, instance, now)
                found += verdict.standing is Standing.FREE
                if found == 2:
                    break
    named = {name for name in (holder, wishes.preference) if name is not None}
    others = [each for each in everybody if each.settings.id in named] if named else []
    if model and not warm:
        others += [everybody[index] for index in homes(tuple([each.settings.url for each in everybody]), model)]
    return [*judged.values(), *(judge(needs, each, now) for each in dict.fromkeys(others) if each not in judged)]


def _regardless_of_health(verdict: Verdict, needs: Needs, now: float) -> Verdict:
    if verdict.standing not in (Standing.UNHEALTHY, Standing.UNKNOWN):
        return verdict
    return judge(needs, verdict.instance, now, regard_health=False)


def _choose(free: Sequence[Instance], case: Case, ranking: Ranking, rng: Random) -> tuple[Instance, Scores]:
    if len(free) == 1:
        return free[0], ()
    scored = [(_preference(instance, case), ranking.score(instance)) for instance in free]
    best = min(scored)
    ties = [instance for instance, each in zip(free, scored, strict=True) if each == best]
    chosen = ties[0] if len(ties) == 1 else rng.choice(ties)
    return chosen, tuple((instance.id, score) for instance, (_, score) in zip(free, scored, strict=True))


def _preference(instance: Instance, case: Case) -> tuple[bool, int, bool]:
    """What the request would rather have, before any strategy speaks: False and the lowest sort first."""
    needs, wishes, latency = case.needs, case.wishes, instance.load.latency.value
    slow = wishes.max_latency_s is not None and latency is not None and latency > wishes.max_latency_s
    fit = 0 if wishes.context is None else instance.context_fit(needs.model, wishes.context, case.now, may_reload=needs.may_reload)
    return wishes.preference is not None and instance.id != wishes.preference, int(fit), slow


def _picked(verdict: Verdict) -> Verdict:
    return verdict._replace(standing=Standing.PICKED)


def _waits(verdict: Verdict, waiting: Waiting) -> Verdict:
    if verdict.standing is not Standing.FREE:
        return verdict
    who = f"warm {waiting.instance.id}" if waiting.why == "cold" else waiting.instance.id
    return Verdict(verdict.instance, Standing.WAITS, waiting.why, who)
