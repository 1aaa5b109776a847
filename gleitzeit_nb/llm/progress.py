"""Where a request stands, for people who wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gleitzeit_nb.core.models import display
from gleitzeit_nb.llm.tries import Try
from gleitzeit_nb.snapshot import RunView

if TYPE_CHECKING:
    from gleitzeit_nb.llm.journey import Journey


def describe(journey: Journey) -> str:
    """In one line: "queued 3rd", "loading llama3.2 on gpu-1, 8 s"."""
    if journey.dismissed:
        return "being cancelled"
    where = _describe(journey)
    return f"{where} (asked again: {journey.cut.instance} broke off)" if journey.cut is not None else where


def _describe(journey: Journey) -> str:
    if journey.current is not None:
        return _describe_try(journey, journey.current)
    if journey.turn is not None and journey.turn.outside:
        return "waiting for room in the queue"
    waiter = journey.turn.waiter if journey.turn is not None else None
    if waiter is None:
        return "looking for an instance"
    if waiter.stranded_at is not None:
        return "waiting for an instance to come back"
    return f"queued {ordinal(journey.parts.dispatcher.queue.position(waiter))}"


def _describe_try(journey: Journey, attempt: Try) -> str:
    lease = attempt.lease
    where = lease.instance.id
    if attempt.spoke:
        return f"answering on {where}, {journey.tokens} tokens"
    waited = f"{journey.parts.clock() - lease.began_at:.0f} s"
    if lease.cold:
        return f"loading {display(journey.model)} on {where}, {waited}"
    return f"waiting for the first token from {where}, {waited}"


def run_view(journey: Journey) -> RunView:
    """For the dashboard."""
    lease, now = journey.current.lease if journey.current is not None else None, journey.parts.clock()
    return RunView(
        id=journey.request.id,
        kind="llm",
        label=journey.request.label or f"{journey.request.kind} {display(journey.model)}",
        where=lease.instance.id if lease is not None else "",
        state=describe(journey),
        elapsed_s=now - journey.started_at,
        tokens=journey.tokens,
        model=display(journey.model),
        tokens_per_s=lease.tokens_per_s(now) if lease is not None else None,
        cancellable=not journey.dismissed,
        rates=lease.history.rates(now) if lease is not None and lease.history is not None else (),
    )


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th, 21st."""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"
