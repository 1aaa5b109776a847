"""What all requests of one pool share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from gleitzeit_nb.core.retry import RetryBudget
from gleitzeit_nb.core.settings import PoolSettings
from gleitzeit_nb.llm.dispatch import Dispatcher
from gleitzeit_nb.llm.health import HealthMonitor
from gleitzeit_nb.llm.journal import Journal
from gleitzeit_nb.llm.membership import Membership
from gleitzeit_nb.llm.memory import Memory
from gleitzeit_nb.llm.receipts import Receipts
from gleitzeit_nb.llm.showings import Showings

if TYPE_CHECKING:
    from gleitzeit_nb.llm.journey import Journey


@dataclass
class Parts:
    """What all journeys of a pool share."""

    settings: PoolSettings
    members: Membership
    dispatcher: Dispatcher
    health: HealthMonitor
    journal: Journal
    showings: Showings
    receipts: Receipts
    clock: Callable[[], float]
    rng: Random
    memory: Memory
    budget: RetryBudget = field(default_factory=RetryBudget)
    active: dict[Journey, None] = field(default_factory=dict)  # in order of arrival
    closed: bool = False
