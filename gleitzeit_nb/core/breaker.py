"""The circuit breaker's settings and automaton."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BreakerSettings:
    """When an instance is ejected, and how it comes back.

    `failure_threshold`: consecutive faults that open the breaker (a refused connection opens it at once).
    `recovery_timeout_s`: the longest ejection; ejections start at `first_ejection_s` and double.
    `half_open_requests`: probes that must succeed to close it, one at a time.
    """

    failure_threshold: int = 3
    recovery_timeout_s: float = 30.0
    half_open_requests: int = 1
    first_ejection_s: float = 0.5
