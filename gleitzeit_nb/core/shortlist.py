"""Whom of many instances to look at, so that a pick costs little more than one of few and chooses nearly as well."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from random import Random
from typing import Any

from gleitzeit_nb.core.candidates import FREE, Verdict, judge
from gleitzeit_nb.core.forecast import Case, homes
from gleitzeit_nb.core.instances import Instance
from gleitzeit_nb.core.needs import Wishes

DRAWS = 8  # tries to find two that can take it

Tiers = Callable[[Case, Sequence[Instance]], Sequence[Any]]
"""For each instance the tier in which it is: of a later one nobody is asked while somebody of an earlier one can take it."""

Turn = Callable[[Instance], float]
"""When its turn is; the lowest goes first."""


def shortlist(case: Case, instances: Collection[Instance], rng: Random, *, tiers: Tiers | None, turn: Turn | None) -> list[Verdict]:
    """Verdicts on enough of them to choose by. When none of them can take it, somebody else may."""
    everybody = list(instances)
    if turn is not None:
        return _in_turn(case, everybody, turn, rng)
    verdicts: list[Verdict] = []
    for members in _by_tier(case, everybody, tiers):
        found = _drawn(case, members, rng) if len(members) > DRAWS else _judged(case, members)
        if len(found) < len(members) < len(everybody) and not _somebody_is_free(found):
            found = _judged(case, members)
        verdicts += found
        if _somebody_is_free(found):
            break
    return verdicts


def preference(instance: Instance, case: Case) -> tuple[bool, int, bool]:
    """What the request would rather have, before any strategy speaks: False and the lowest sort first."""
    needs, wishes, latency = case.needs, case.wishes, instance.load.latency.value
    slow = wishes.max_latency_s is not None and latency is not None and latency > wishes.max_latency_s
    fit = 0 if wishes.context is None else instance.context_fit(needs.model, wishes.context, case.now, may_reload=needs.may_reload)
    return wishes.preference is not None and instance.settings.id != wishes.preference, int(fit), slow


def prefers(wishes: Wishes) -> bool:
    """Is there anything that `preference` goes by?"""
    return wishes.preference is not None or wishes.max_latency_s is not None or wishes.context is not None


def _by_tier(case: Case, everybody: Sequence[Instance], tiers: Tiers | None) -> Iterator[Sequence[Instance]]:
    """In tiers of what the request would rather have, and in those by the strategy's."""
    ranks = tiers(case, everybody) if tiers is not None else None
    if prefers(case.wishes):
        own = [preference(each, case) for each in everybody]
        ranks = own if ranks is None else list(zip(own, ranks, strict=True))
    different = sorted(set(ranks)) if ranks is not None else ()
    if ranks is None or len(different) == 1:
        yield everybody
        return
    for rank in different:
        yield [each for each, own_rank in zip(everybody, ranks, strict=True) if own_rank == rank]


def _drawn(case: Case, members: Sequence[Instance], rng: Random) -> list[Verdict]:
    """Two of the free ones that have the model loaded and two of all, by chance; who holds the conversation; the model's first homes.

    To take the better of two drawn ones is nearly as good as to take the best of all (Mitzenmacher, 2001).
    """
    needs, now, model = case.needs, case.now, case.needs.model
    warm = [each for each in members if model in each.loaded or model in each.load.loading] if model else []
    judged: dict[Instance, Verdict] = {}
    for sort in (warm, members):
        found = 0
        for _ in range(DRAWS if sort else 0):
            instance = sort[int(rng.random() * len(sort))]
            if instance not in judged:
                judged[instance] = verdict = judge(needs, instance, now)
                found += verdict.standing is FREE
                if found == 2:
                    break
    others = [each for each in members if each.settings.id == case.holder] if case.holder is not None else []
    if model and not warm:
        others += [members[index] for index in homes(tuple([each.settings.url for each in members]), model)]
    return [*judged.values(), *(judge(needs, each, now) for each in dict.fromkeys(others) if each not in judged)]


def _judged(case: Case, members: Sequence[Instance]) -> list[Verdict]:
    return [judge(case.needs, each, case.now) for each in members]


def _somebody_is_free(verdicts: Sequence[Verdict]) -> bool:
    return any(verdict.standing is FREE for verdict in verdicts)


def _in_turn(case: Case, everybody: Sequence[Instance], turn: Turn, rng: Random) -> list[Verdict]:
    """One after the other from whose turn it is, until one can take it."""
    turns: list[Any] = list(map(turn, everybody))
    if prefers(case.wishes):
        turns = [(preference(each, case), own) for each, own in zip(everybody, turns, strict=True)]
    verdicts: list[Verdict] = []
    for instance in _from_the_lowest(everybody, turns, rng):
        verdicts.append(judge(case.needs, instance, case.now))
        if verdicts[-1].standing is FREE:
            break
    return verdicts


def _from_the_lowest(everybody: Sequence[Instance], turns: Sequence[Any], rng: Random) -> Iterator[Instance]:
    """Equals by chance. Nothing is sorted for those who need no more than the first."""
    lowest = min(turns)
    first = [each for each, own in zip(everybody, turns, strict=True) if own == lowest]
    while first:
        drawn = int(rng.random() * len(first))
        first[drawn], first[-1] = first[-1], first[drawn]
        yield first.pop()
    for *_, number in sorted([(own, rng.random(), number) for number, own in enumerate(turns) if own != lowest]):
        yield everybody[number]
