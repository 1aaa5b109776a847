"""The errors that a request can end with: what happened, who was tried, what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from gleitzeit_nb.core.abilities import wanted_by
from gleitzeit_nb.core.admission import Hopeless
from gleitzeit_nb.core.candidates import Standing, Verdict
from gleitzeit_nb.core.faults import Cause
from gleitzeit_nb.core.leases import Lease
from gleitzeit_nb.core.models import display, nearest
from gleitzeit_nb.core.requests import Attempt, LLMRequest
from gleitzeit_nb.core.retry import ALWAYS, EXPIRES_S, SHARE, RetryBudget
from gleitzeit_nb.errors import (
    AllInstancesFailedError,
    DeadlineExceededError,
    ModelNotFoundError,
    NoInstanceError,
    PoolError,
    RequestCancelledError,
    RequestRejectedError,
    RetryBudgetError,
    StreamInterruptedError,
)
from gleitzeit_nb.llm.faults import InstanceFault, shortened

Rows = list[tuple[str, str]]


def nobody(request: LLMRequest, model: str, attempts: Sequence[Attempt], hopeless: Hopeless, aliases: Sequence[str] = ()) -> PoolError:
    """No instance is left to wait for."""
    verdicts = hopeless.verdicts
    name = _name(model)
    if not verdicts:
        return NoInstanceError("the pool has no instance. Add one to the configuration, or start Ollama and reload")
    if _is_model_nowhere(attempts, verdicts):
        return ModelNotFoundError(
            f"no instance has the model {name}{_fallback_of(request, model)}{_hint(model, verdicts, aliases)}",
            [verdict.row for verdict in verdicts],
        )
    if attempts:
        return all_failed(model, attempts, verdicts)
    if request.instance is not None and all(verdict.standing is Standing.OTHER for verdict in verdicts):
        known = ", ".join(verdict.instance.id for verdict in verdicts)
        return NoInstanceError(f"the pool has no instance {shortened(request.instance, 80)!r}; there are: {known}")
    what = "every instance that could answer is ejected for now; try again, or look why they fail"
    what = what if hopeless.ejected else f"{_wanted(request)}{_tag_hint(request.tags, verdicts)}"
    answer = f"answer with {name}" if model else "answer"
    return NoInstanceError(f"no instance can {answer}: {what}", [verdict.row for verdict in verdicts])


def instead(given_up: Sequence[str], model: str) -> tuple[str, ...]:
    """That a fallback answered, and for which models."""
    return (f"{_name(model)} answered as the fallback: nobody could with {', '.join(map(_name, given_up))}",) if given_up else ()


def no_default_model(names: Iterable[str]) -> NoInstanceError:
    """No model was named, and none suggests itself."""
    known = sorted({display(name) for name in names})
    if not known:
        return NoInstanceError("no model was named, and no instance is known to have one: name it (-m MODEL), and check that Ollama runs")
    listed = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
    return NoInstanceError(f"no model was named and none is loaded: choose one with -m MODEL, or set default_model. There are: {listed}")


def all_failed(model: str, attempts: Sequence[Attempt], verdicts: Sequence[Verdict]) -> PoolError:
    """Everybody who could answer was tried, or as many as may be."""
    if all(attempt.outcome == Cause.UNAUTHORISED.value for attempt in attempts):
        last = attempts[-1]
        return RequestRejectedError(
            f"{last.instance} {last.detail}. Check its api_key in the configuration", instance=last.instance, status=401
        )
    if all(attempt.outcome == Cause.INCAPABLE.value for attempt in attempts):
        last = attempts[-1]
        text = f"{last.instance} {last.detail}. Ask a model that can: `ollama show {_name(model)}` lists what this one does"
        return RequestRejectedError(text, instance=last.instance, status=400)
    lacking = any(verdict.standing is Standing.NO_MODEL for verdict in verdicts)
    return AllInstancesFailedError(
        f"nobody answered with {_name(model)}{_hint(model, verdicts) if lacking else ''}. What was tried:", _rows(attempts, verdicts)
    )


def _rows(attempts: Sequence[Attempt], verdicts: Sequence[Verdict]) -> Rows:
    """Who was tried, and why the others were not."""
    asked = {attempt.instance for attempt in attempts}
    return tried(attempts) + [(each.instance.id, f"not asked: {each.text}") for each in verdicts if each.instance.id not in asked]


def budget_spent(model: str, attempts: Sequence[Attempt], verdicts: Sequence[Verdict], budget: RetryBudget) -> RetryBudgetError:
    """Another try would have been due."""
    return RetryBudgetError(
        f"nobody answered with {_name(model)} yet, and the pool's retry budget is used up ({budget.retries} retries in the last "
        f"{EXPIRES_S:.0f} s; {SHARE:.0%} of {budget.requests} requests and {ALWAYS} are allowed). Too many tries fail: mend what the table "
        "names, or ask again later. What was tried:",
        _rows(attempts, verdicts),
    )


def rejected(instance_id: str, fault: InstanceFault) -> RequestRejectedError:
    return RequestRejectedError(
        f"{instance_id} {fault}. Another instance would refuse it too: change the request", instance=instance_id, status=fault.status or 400
    )


def interrupted(instance_id: str, what: str, partial: str) -> StreamInterruptedError:
    """The caller has seen a part of the answer."""
    message = f"the answer from {instance_id} broke off: {what}. The part that came is kept; ask again, or let --restart-on-cut do that"
    return StreamInterruptedError(message, partial=partial, instance=instance_id)


def cancelled(by: str, stood: str, *, partial: str = "", instance: str = "") -> RequestCancelledError:
    """`by`: from where, such as "from the side panel". `stood`: where the request stood, in a line."""
    kept = "The part that came is kept; ask again when you want all of it" if partial else "Ask again when you want its answer"
    return RequestCancelledError(f"the request was cancelled {by} ({stood}). {kept}", partial=partial, instance=instance)


def out_of_time(deadline_s: float, queue_s: float, attempts: Sequence[Attempt]) -> DeadlineExceededError:
    """The deadline ran out before anything was seen of an answer."""
    spent = _spent(queue_s, attempts)
    return DeadlineExceededError(
        f"no answer within the deadline of {deadline_s:g} s: {spent}. Allow more, or add an instance", tried(attempts)
    )


def deadline_detail(lease: Lease, spoke: bool) -> str:
    """What was being waited for when the deadline ran out."""
    if spoke:
        return "the deadline ran out in the middle of the answer"
    return f"the deadline ran out {f'while it loaded {_name(lease.model)}' if lease.cold else 'before the first token'}"


def _spent(queue_s: float, attempts: Sequence[Attempt]) -> str:
    """Where the time of a request went."""
    load_s = sum(attempt.load_s for attempt in attempts)
    asked_s = sum(attempt.elapsed_s for attempt in attempts) - load_s
    parts = [f"{queue_s:.1f} s in the queue"]
    parts += [f"{load_s:.1f} s loading the model"] if load_s else []
    parts += [f"{asked_s:.1f} s in {len(attempts)} {'try' if len(attempts) == 1 else 'tries'}"] if asked_s > 0.05 else []
    return ", ".join(parts)


def waited_too_long(queue_timeout_s: float, attempts: Sequence[Attempt]) -> DeadlineExceededError:
    message = f"no instance was free within queue_timeout ({queue_timeout_s:g} s). Ask again later, allow more, or add an instance"
    return DeadlineExceededError(message, tried(attempts))


def tried(attempts: Iterable[Attempt]) -> Rows:
    return [(attempt.instance, f"{attempt.detail} (after {attempt.elapsed_s:.1f} s)") for attempt in attempts]


def _is_model_nowhere(attempts: Sequence[Attempt], verdicts: Sequence[Verdict]) -> bool:
    missing = {attempt.instance for attempt in attempts if attempt.outcome == Cause.MODEL_MISSING.value}
    if len(missing) != len({attempt.instance for attempt in attempts}):
        return False
    reasons = {verdict.standing for verdict in verdicts if verdict.instance.id not in missing}
    return reasons <= {Standing.NO_MODEL, Standing.OTHER} and (bool(missing) or Standing.NO_MODEL in reasons)


def _hint(model: str, verdicts: Iterable[Verdict], aliases: Iterable[str] = ()) -> str:
    known = list(map(display, aliases))
    known += [name for verdict in verdicts for name in verdict.instance.models or verdict.instance.settings.models]
    near = nearest(model, known)
    if near:
        return f" (did you mean {' or '.join(near)}?)"
    there = ", ".join(sorted(set(map(display, known)))[:5]) or "none"
    return f" (fetch it: gleitzeit-nb pull {_name(model)}, or %llm pull; or name one that is there: {there})"


def _tag_hint(tags: Iterable[str], verdicts: Iterable[Verdict]) -> str:
    """For tags that no instance has: which are near."""
    known = sorted({tag for verdict in verdicts for tag in verdict.instance.settings.tags})
    unknown = [tag for tag in tags if tag not in known]
    near = list(dict.fromkeys(each for tag in unknown for each in difflib.get_close_matches(tag, known, n=2)))
    if not unknown or not known:
        return ""
    there = f"did you mean {' or '.join(near)}?" if near else f"there are the tags {', '.join(known[:8])}"
    return f" (no instance has the tag {shortened(unknown[0], 40)!r}; {there})"


def _wanted(request: LLMRequest) -> str:
    wishes = [f"tags {', '.join(request.tags)}"] if request.tags else []
    wishes += ["a GPU"] if request.require_gpu else []
    wishes += ["an instance on this machine"] if request.private else []
    wishes += [f"a context of {request.min_context}"] if request.min_context else []
    wishes += sorted(wanted_by(request) - {"completion", "embedding"})
    wishes += [f"the instance {shortened(request.instance, 80)!r}"] if request.instance else []
    return f"asked for {' and '.join(wishes)}" if wishes else "this is why each was passed over"


def _fallback_of(request: LLMRequest, model: str) -> str:
    """What is told of a model that stands in for another."""
    return f", a fallback of {_name(request.model)}" if model != request.model and model in request.fallback_models else ""


def _name(model: str) -> str:
    return shortened(display(model), 80)
