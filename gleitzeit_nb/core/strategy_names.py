"""The strategies' names, for callers who would rather have an editor complete them than write a text."""

from __future__ import annotations

from enum import Enum


class LoadBalancingStrategy(str, Enum):
    """Each member is its name as a text, and is taken wherever a name is. `core.strategies.STRATEGIES` says what each does."""

    AUTO = "auto"
    LEAST_LOADED = "least_loaded"
    ROUND_ROBIN = "round_robin"
    WEIGHTED = "weighted"
    LATENCY_BASED = "latency_based"
    MODEL_AFFINITY = "model_affinity"
    PRIORITY = "priority"
    SPECIALIZATION = "specialization"

    __str__ = str.__str__  # "round_robin", not "LoadBalancingStrategy.ROUND_ROBIN": messages and receipts show the name
