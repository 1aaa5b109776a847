"""How long one try may take in each of its phases."""

from __future__ import annotations

from dataclasses import dataclass

from gleitzeit_nb.core.instances import Instance

WARM_S = 5.0  # the least for the first token of a loaded model, and how many times the usual it may take
WARM_TIMES = 4.0
COLD_S = 30.0  # the least when the model must be loaded, and how many times its usual load it may take
COLD_TIMES = 3.0
READ_BYTES_PER_S = 100e6  # how fast a model that was never loaded there is read from a slow disk, at least
UNKNOWN_LOAD_S = 120.0  # a model that was never loaded there and whose size is not known. Leaving earlier would abort the load
SEEN_S = 30.0  # what was seen loaded longer ago may have been unloaded since, and gets the time that a load takes
PROMPT_TOKEN_S = 0.05  # a prompt is read before the first token comes; 20 tokens/s is a slow machine, of which nothing is known yet
LEAST_PROMPT_TOKEN_S = 0.01  # servers count tokens that they still knew as if they had read them: what is observed may be too good
HELD_BACK_S = 60.0  # where tools are offered, a server may hold the answer back until it knows whether it is a call


@dataclass(frozen=True)
class TimeoutSettings:
    """Per-phase limits of one try (s), under the request's one deadline. None: by what was observed (`first_token_limit_s`)."""

    connect_s: float = 2.0
    first_token_warm_s: float | None = None
    first_token_cold_s: float | None = None
    between_tokens_s: float = 30.0


@dataclass(frozen=True)
class Prompt:
    """What of a request decides how long its first token may take. `tokens`: a rough count of what has to be read before it."""

    tokens: float = 0.0
    held_back: bool = False


def first_token_limit_s(settings: TimeoutSettings, instance: Instance, model: str, cold: bool, prompt: Prompt, now: float) -> float:
    """From sending the request to the first line. `model` is canonical. A limit that was configured is that limit.

    Else a multiple of what is usual there, with time for the prompt and for each request that may have to end first.
    """
    usual_s = instance.load.first_tokens.p95_s(model)
    entry = instance.loaded.get(model)
    sure = not cold and usual_s is not None and entry is not None and now - entry.seen_at < SEEN_S
    configured = settings.first_token_cold_s if cold else settings.first_token_warm_s
    if configured is not None:
        return configured
    limit_s = max(WARM_S, WARM_TIMES * (usual_s or 0.0)) if sure else _load_limit_s(instance, model)
    ahead = max(0, instance.load.by_model[model] - 1)
    limit_s += _reading_s(instance, model) * prompt.tokens + ahead * (instance.load.latency_s or 0.0)
    return max(limit_s, HELD_BACK_S) if prompt.held_back else limit_s


def _reading_s(instance: Instance, model: str) -> float:
    """What one token of a prompt may take."""
    pace = instance.load.paces.get(model)
    usual_s = pace.prompt_token.value if pace is not None else None
    return PROMPT_TOKEN_S if usual_s is None else max(LEAST_PROMPT_TOKEN_S, WARM_TIMES * usual_s)


def _load_limit_s(instance: Instance, model: str) -> float:
    took_s, size_bytes = instance.load.load_times_s.get(model), instance.sizes_bytes.get(model)
    if took_s is not None:
        return max(COLD_S, COLD_TIMES * took_s)
    return UNKNOWN_LOAD_S if size_bytes is None else COLD_S + size_bytes / READ_BYTES_PER_S
