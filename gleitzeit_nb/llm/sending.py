"""What goes to an instance once it was chosen: the request in Ollama's words, with the options that its loaded model has."""

from __future__ import annotations

import logging
from typing import Any

from gleitzeit_nb.core.leases import Lease
from gleitzeit_nb.core.requests import LLMRequest
from gleitzeit_nb.core.runner_options import plan, warning
from gleitzeit_nb.llm.answers import body_of
from gleitzeit_nb.llm.faults import shortened
from gleitzeit_nb.llm.parts import Parts

logger = logging.getLogger("gleitzeit_nb.pool")


def body_for(parts: Parts, request: LLMRequest, model: str, lease: Lease) -> dict[str, Any]:
    """The JSON to send to the lease's instance. Settles the lease's options, and with them whether the model is loaded anew."""
    loaded = lease.instance.loaded.get(lease.model)
    sent = plan(request.options, loaded, cold=lease.cold, force=request.force_ctx, least_context=request.min_context)
    lease.will_send(sent, parts.clock())
    for text in notices(lease):
        logger.warning("%s: %s", request.id, shortened(text))
    keep_alive_s = request.keep_alive_s if request.keep_alive_s is not None else parts.settings.keep_alive.of(model)
    return body_of(request, model, sent.options, keep_alive_s)


def first_token(parts: Parts, lease: Lease, now: float) -> None:
    """The model answers. What a load has made of it, its instance tells soon."""
    lease.first_token(now)
    if lease.cold:
        parts.journal.model_loaded(lease.instance, lease.model, now - lease.began_at)
        parts.health.look_soon(parts.members.holding(lease.instance))


def notices(lease: Lease) -> tuple[str, ...]:
    """What was asked for and not followed, and what to do."""
    if not lease.sent.kept:
        return ()
    cost_s = lease.instance.load.load_times_s.get(lease.model)
    return tuple(warning(kept, lease.model, lease.instance.id, cost_s) for kept in lease.sent.kept)
