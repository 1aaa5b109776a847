"""How long one try may take in each of its phases."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TimeoutSettings:
    """Per-phase limits of one try (s), under the request's one deadline."""

    connect_s: float = 2.0
    first_token_warm_s: float = 30.0
    first_token_cold_s: float = 300.0
    between_tokens_s: float = 30.0
