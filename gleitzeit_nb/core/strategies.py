"""Which of the instances that can answer should."""

from __future__ import annotations

from dataclasses import dataclass

STRATEGIES = ("least_loaded", "round_robin")


@dataclass(frozen=True)
class BalancingSettings:
    """Pool-wide routing. `retry_attempts`: further tries on *other* instances before the first token, when `failover`."""

    strategy: str = "least_loaded"
    failover: bool = True
    retry_attempts: int = 3
    health_check_interval_s: float = 30.0


@dataclass(frozen=True)
class TimeoutSettings:
    """Per-phase limits of one try (s), under the request's one deadline."""

    connect_s: float = 2.0
    first_token_warm_s: float = 30.0
    first_token_cold_s: float = 300.0
    between_tokens_s: float = 30.0
