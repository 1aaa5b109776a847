"""The panic rule: when most are ejected, the breakers may be what is wrong, so each of them is passed by once."""

from __future__ import annotations

from collections.abc import Sequence

from gleitzeit_nb.core.candidates import Hope, Standing, Verdict, judge
from gleitzeit_nb.core.needs import Needs

SHUT = frozenset({Standing.EJECTED, Standing.PROBING})


def panicked(verdicts: Sequence[Verdict], needs: Needs, now: float) -> Sequence[Verdict]:
    """The verdicts when nobody is free: those of the ejected ones change when more than half of all that could serve are shut.

    One try each: a breaker that was passed by in vain is not passed by again before its next ejection has run its time.
    """
    shut = sum(verdict.standing in SHUT for verdict in verdicts)
    could_serve = sum(verdict.standing.hope is not Hope.NEVER for verdict in verdicts)
    if needs.patient or 2 * shut <= could_serve:
        return verdicts
    return [_all_the_same(verdict, needs, now) for verdict in verdicts]


def _all_the_same(verdict: Verdict, needs: Needs, now: float) -> Verdict:
    instance = verdict.instance
    if verdict.standing is not Standing.EJECTED or not instance.may_panic(needs.model, now):
        return verdict
    otherwise = judge(needs, instance, now, regard_health=False, regard_breakers=False)
    return otherwise._replace(standing=Standing.PANIC) if otherwise.standing is Standing.FREE else verdict
