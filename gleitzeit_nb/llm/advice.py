"""Routing for those who speak to the instances themselves: who should be asked, and how it went. Nothing here holds a slot."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from gleitzeit_nb.core import explanation
from gleitzeit_nb.core.breaker import Result
from gleitzeit_nb.core.candidates import Standing, Verdict
from gleitzeit_nb.core.explanation import Explanation
from gleitzeit_nb.core.faults import TRAITS, Blame, Cause
from gleitzeit_nb.core.health import after_request
from gleitzeit_nb.core.instances import InstanceState
from gleitzeit_nb.core.models import canonical
from gleitzeit_nb.core.needs import Needs, Wishes
from gleitzeit_nb.core.requests import LLMRequest
from gleitzeit_nb.core.strategies import advise, strategy_named
from gleitzeit_nb.errors import NoInstanceError
from gleitzeit_nb.llm.defaults import choose
from gleitzeit_nb.llm.faults import InstanceFault, cause_of_exception, fault_of_status, shortened
from gleitzeit_nb.llm.parts import Parts


def explain(parts: Parts, request: LLMRequest) -> Explanation:
    """Every instance and its verdict, as a pick would judge it now."""
    strategy = request.strategy or parts.settings.balancing.strategy
    strategy_named(strategy)
    model = request.model or parts.settings.default_model or choose(list(parts.members.instances)) or ""
    needs, wishes = Needs.of(request, model), Wishes.of(request, strategy)
    return explanation.explain(needs, wishes, parts.members.instances, parts.clock(), Random(0), parts.dispatcher.queue.pins)


def url_for(parts: Parts, model: str | None, strategy: str | None, tags: Sequence[str], *, require_healthy: bool) -> str:
    """URL of who should answer; of a busy one when nobody is free. Raises NoInstanceError."""
    instances = parts.members.instances
    strategy = strategy or parts.settings.balancing.strategy
    strategy_named(strategy)
    if require_healthy:
        instances = tuple(each for each in instances if each.state is not InstanceState.UNHEALTHY)
    needs = Needs(model=canonical(model or ""), tags=frozenset(tags))
    found = advise(needs, Wishes(strategy), instances, parts.clock(), parts.rng)
    if found.instance is None:
        unhealthy = [Verdict(each, Standing.UNHEALTHY, each.reason) for each in parts.members.instances if each not in instances]
        rows = [verdict.row for verdict in (*found.verdicts, *unhealthy)]
        raise NoInstanceError(f"no instance can be advised for {shortened(model, 80) if model else 'any model'}", rows)
    parts.dispatcher.queue.turns.take(found.instance)
    return found.instance.settings.url


def record(parts: Parts, url: str, response_time_s: float | None, cause: Cause | None) -> None:
    """Book what became of a request that the pool did not make. `cause` None: it was answered."""
    instance, now = parts.members.at(url).instance, parts.clock()
    if cause is None:
        instance.load.succeeded(response_time_s, now)
        result, reason = Result.SUCCESS, ""
    else:
        traits = TRAITS[cause]
        reason = traits.text
        result = Result.IGNORED if traits.blame is Blame.NOBODY else Result.FATAL if traits.fatal else Result.FAULT
        if result is not Result.IGNORED:
            instance.load.dropped()
    move = instance.breaker.end(False, result, reason, now, parts.rng, unreachable=cause is not None and TRAITS[cause].away)
    if move is not None:
        parts.journal.breaker_moved(instance, [move])
    parts.journal.state_changed(instance, *after_request(instance, cause))
    parts.dispatcher.pump()


def cause_of(exception: BaseException | None) -> Cause:
    """The pool's word for a caller's exception; without one, or with an unknown one, the server failed.

    An exception with a `response` (httpx's HTTPStatusError, requests' HTTPError) is judged by the status in it.
    """
    if isinstance(exception, InstanceFault):
        return exception.cause
    status = getattr(getattr(exception, "response", None), "status_code", None)
    if isinstance(status, int) and status >= 400:
        return fault_of_status(status, "", path="").cause
    known = None if exception is None else cause_of_exception(exception, answering=False)
    return known or Cause.SERVER_ERROR
