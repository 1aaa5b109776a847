"""What happened, as frozen records, and the way to hear of it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

logger = logging.getLogger("gleitzeit_nb")


@dataclass(frozen=True)
class Event:
    """Base: `at` is wall-clock time (s since the epoch), for people; never used to measure durations."""

    at: float


@dataclass(frozen=True)
class Failover(Event):
    """A request left `source` before its first token; `target` is who was asked next."""

    request_id: str
    model: str
    source: str
    target: str
    reason: str


@dataclass(frozen=True)
class BreakerMoved(Event):
    instance: str
    before: str
    after: str
    reason: str


@dataclass(frozen=True)
class InstanceChanged(Event):
    """`change`: added, removed, draining, resumed, healthy, degraded, unhealthy."""

    instance: str
    change: str
    reason: str = ""


@dataclass(frozen=True)
class ModelLoaded(Event):
    """`waited_s`: from the grant to the first token of the request for which it was loaded; None: a probe found it loaded."""

    instance: str
    model: str
    waited_s: float | None = None


@dataclass(frozen=True)
class ModelUnloaded(Event):
    """A probe found that it is not loaded any more."""

    instance: str
    model: str


@dataclass(frozen=True)
class QueueFull(Event):
    """A request was turned away. Told once, and again when there was room in between."""

    waiting: int


@dataclass(frozen=True)
class DigestsDiffer(Event):
    """The same tag is another model on another instance. `holders`: each digest with the instances that have it."""

    model: str
    holders: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class ContainerMade(Event):
    mode: str
    container: str
    start_s: float


@dataclass(frozen=True)
class ContainerLost(Event):
    """`reason`: timeout, oom, cancelled, protocol, died, idle, used up, size, stopped, closed."""

    mode: str
    container: str
    reason: str


@dataclass(frozen=True)
class VerificationFailed(Event):
    """A guest was not isolated as promised, or answered as no guest should; nothing was run in it."""

    mode: str
    container: str
    reason: str


@dataclass(frozen=True)
class SessionEnded(Event):
    """Its variables are gone. `reason`: one line for people."""

    session: str
    mode: str
    reason: str


@dataclass(frozen=True)
class RunEnded(Event):
    """`network_refused`: how many connections of the code were turned away; `network_bytes`: what the others moved, both ways."""

    mode: str
    request_id: str
    status: str
    network_refused: int = 0
    network_bytes: int = 0
    exit_code: int | None = None  # negative for a signal


@dataclass(frozen=True)
class NetworkDecision(Event):
    """Code in a sandbox wanted a connection. `outcome`: allowed, refused, failed, or ended, which an allowed one does with its bytes.

    `host` is the code's own choice of text. The first of a run are told; all are counted in its result.
    """

    mode: str
    request_id: str
    host: str
    port: int
    outcome: str
    reason: str = ""
    bytes_sent: int = 0
    bytes_received: int = 0


Subscriber = Callable[[Event], None]


@dataclass
class EventBus:
    """Synchronous fan-out on the engine's loop, with a bounded log of the last events."""

    kept: int = 1000
    log: deque[Event] = field(init=False)
    _subscribers: list[Subscriber] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.log = deque(maxlen=self.kept)

    def __repr__(self) -> str:
        return f"<EventBus {len(self.log)} events, {len(self._subscribers)} subscribers>"

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call `subscriber` with every event from now on. Returns the function that ends it."""
        self._subscribers.append(subscriber)

        def unsubscribe() -> None:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

        return unsubscribe

    def emit(self, event: Event) -> None:
        """Log the event and tell everybody. A subscriber that raises is reported and the others still hear."""
        self.log.append(event)
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(event)
            except Exception:
                logger.exception("a subscriber failed on %s", type(event).__name__)
