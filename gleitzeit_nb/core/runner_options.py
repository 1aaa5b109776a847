"""Options that belong to a loaded model, and what to send so that it is not loaded anew.

Ollama compares these options of each request with those that the model was loaded with, and loads it again when one differs
(`needsReload` in its server/sched.go). Left out is not the same as unchanged: only what `/api/ps` says of the context, sent
explicitly, is safe always. So the pool repeats what the model was loaded with, and keeps to it unless it is told not to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gleitzeit_nb.core.models import LoadedModel, display

CONTEXT = "num_ctx"
SEEN_AGAIN_S = 1.0  # what was proved a moment ago need not be written anew for each answer
RUNNER_OPTIONS = frozenset({CONTEXT, "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict"})


@dataclass(frozen=True)
class Kept:
    """An option that was asked for and not sent, because it would have had the model loaded anew. `held` None: not known."""

    name: str
    asked: Any
    held: Any


@dataclass(frozen=True)
class Plan:
    """`options`: all that is sent. `reloads`: the model will be loaded anew for it, as the caller wished."""

    options: Mapping[str, Any] = field(default_factory=dict)
    kept: tuple[Kept, ...] = ()
    reloads: bool = False

    @property
    def runner(self) -> tuple[tuple[str, Any], ...]:
        """Of what is sent, that which a load would be made with, save for the context."""
        return tuple(sorted((name, value) for name, value in self.options.items() if name in RUNNER_OPTIONS and name != CONTEXT))


def plan(
    asked: Mapping[str, Any], loaded: LoadedModel | None, *, cold: bool, force: bool = False, least_context: int | None = None
) -> Plan:
    """What to send for a request with the options `asked`.

    `loaded`: what is known of the model there, however old; `cold`: it must probably be loaded, so that nothing need be kept.
    `least_context`: the smallest context that a load may be made with.
    """
    others = {name: value for name, value in asked.items() if name not in RUNNER_OPTIONS}
    wanted = {name: value for name, value in asked.items() if name in RUNNER_OPTIONS and value is not None}
    if least_context is not None and (context_of(wanted) or 0) < least_context:
        wanted[CONTEXT] = least_context
    held = _held(loaded)
    if cold or loaded is None:
        return Plan({**others, **held, **wanted})
    if force:
        return Plan({**others, **held, **wanted}, reloads=any(held.get(name) != value for name, value in wanted.items()))
    known = loaded.runner is not None
    kept = tuple(Kept(name, value, held.get(name)) for name, value in wanted.items() if not _fits(name, value, held, known))
    refused = {each.name for each in kept}
    return Plan({**others, **{name: value for name, value in wanted.items() if name not in refused}, **held}, kept)


def _held(loaded: LoadedModel | None) -> dict[str, Any]:
    if loaded is None:
        return {}
    held = dict(loaded.runner or ())
    if loaded.context_length is not None:
        held[CONTEXT] = loaded.context_length
    return held


def _fits(name: str, value: Any, held: Mapping[str, Any], known: bool) -> bool:
    """Can the loaded model serve a request for this value? Of what is not known, the context is tried and the rest is not."""
    if name != CONTEXT:
        return name in held and bool(held[name] == value)
    context = context_of({CONTEXT: value})
    return CONTEXT not in held or context is None or context <= held[CONTEXT]


def context_of(options: Mapping[str, Any]) -> int | None:
    """`num_ctx`, if it is a number."""
    value = options.get(CONTEXT)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def after_answer(known: LoadedModel | None, model: str, sent: Plan, now: float, *, fresh: bool) -> LoadedModel:
    """What an answer to `sent` proves of the model. `fresh`: it was loaded for that answer. How long it is kept now, only a look tells."""
    if known is not None and not fresh and now - known.seen_at < SEEN_AGAIN_S and (known.context_length or not context_of(sent.options)):
        return known
    entry = replace(known or LoadedModel(model), seen_at=now, expires_at=None)
    if fresh or known is None:
        return replace(entry, context_length=context_of(sent.options), runner=sent.runner)
    return replace(entry, context_length=known.context_length or context_of(sent.options))


def after_look(listed: LoadedModel, before: LoadedModel | None) -> LoadedModel:
    """`/api/ps` tells of the context only: the other options are still those of the same load, if it is the same one."""
    same = before is not None and before.context_length in (None, listed.context_length)
    return replace(listed, runner=before.runner) if before is not None and same else listed


def warning(kept: Kept, model: str, instance: str, load_s: float | None) -> str:
    """What was not sent, why, and what to do."""
    held = "another value" if kept.held is None else f"{kept.held}"
    cost = "" if load_s is None else f" (some {load_s:.1f} s)"
    instead = f", or ask for min_context={kept.asked}, which goes where it fits" if kept.name == CONTEXT else ""
    return (
        f"{kept.name}={kept.asked} was not sent: {display(model)} is loaded on {instance} with {held}, "
        f"and a change would load it anew for everybody{cost}. Do that with --force-ctx (force_ctx=True){instead}"
    )
