"""Servers that exist only in arithmetic, under the pool's real decisions: the queue, the pick, the leases, on a clock that jumps.

What comes out is the same in every run, so a picture of it can be committed and a share can be counted.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from gleitzeit_nb.core.admission import AdmissionQueue, AdmissionSettings, Assignment
from gleitzeit_nb.core.instances import Instance, InstanceSettings, InstanceState
from gleitzeit_nb.core.leases import Lease, Outcome
from gleitzeit_nb.core.models import LoadedModel
from gleitzeit_nb.core.needs import Needs, Wishes


@dataclass(frozen=True)
class Ask:
    """One request. `prompt_tokens`: what an instance that does not hold the conversation has to read."""

    at: float
    model: str = "llama3.2:latest"
    tokens: int = 50
    conversation: int | None = None
    prompt_tokens: int = 0
    images: bool = False


@dataclass
class Server:
    """`memory`: how many models it holds at once. It remembers as many conversations as it has slots, the last ones."""

    settings: InstanceSettings
    first_s: float = 0.2
    token_s: float = 0.02
    load_s: float = 5.0
    prompt_token_s: float = 0.002
    memory: int = 1
    loads: int = 0
    loaded: list[str] = field(default_factory=list)
    conversations: list[int] = field(default_factory=list)

    def begin(self, ask: Ask) -> tuple[float, float, bool]:
        """Seconds to the first token and to the last, and whether the conversation had to be read."""
        first_s, reads = self.first_s, ask.conversation not in self.conversations
        if ask.model not in self.loaded:
            self.loads += 1
            first_s += self.load_s
            self.loaded = [*self.loaded, ask.model][-self.memory :]
            self.conversations.clear()
            reads = True
        if ask.conversation is not None:
            kept = [each for each in self.conversations if each != ask.conversation]
            self.conversations = [*kept, ask.conversation][-(self.settings.max_concurrent or 1) :]
            first_s += ask.prompt_tokens * self.prompt_token_s if reads else 0.0
        return first_s, first_s + ask.tokens * self.token_s, reads


@dataclass(frozen=True)
class Done:
    """What became of a request."""

    ask: Ask
    instance: str
    began_at: float
    ended_at: float
    reread: bool
    load_s: float  # of its time, how long the model was loaded for it

    @property
    def elapsed_s(self) -> float:
        return self.ended_at - self.ask.at


class Simulation:
    """`run` serves all requests by one strategy."""

    def __init__(self, servers: Sequence[Server], strategy: str, seed: int = 1) -> None:
        self.servers = {server.settings.id: server for server in servers}
        self.instances = tuple(_instance(server) for server in servers)
        self.strategy = strategy
        self.queue = AdmissionQueue(AdmissionSettings(max_queue=100_000))
        self.done: list[Done] = []
        self.waiting: list[tuple[float, int]] = []  # (when, how many wait), after each step
        self._rng = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._serials = itertools.count()

    def run(self, asks: Iterable[Ask]) -> list[Done]:
        """In order of their ends."""
        for ask in asks:
            self._at(ask.at, lambda now, ask=ask: self._arrive(ask, now))  # type: ignore[misc]
        while self._events:
            now, _, event = heapq.heappop(self._events)
            event(now)
            self.waiting.append((now, len(self.queue)))
        return self.done

    def _at(self, when: float, event: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when, next(self._serials), event))

    def _arrive(self, ask: Ask, now: float) -> None:
        shared = float(ask.prompt_tokens)
        wishes = Wishes(self.strategy, tokens=ask.tokens, conversation=ask.conversation, shared_tokens=shared, images=ask.images)
        waiter = self.queue.enter(Needs(ask.model), self.queue.key(0, now), ask, wishes)
        self._obey(self.queue.arrived(waiter, self.instances, now, self._rng), now)

    def _obey(self, result: Assignment, now: float) -> None:
        for grant in result.granted:
            self._serve(grant.waiter.ticket, grant.lease, now)
        if result.wake_at is not None:
            self._at(max(now, result.wake_at) + 0.001, self._wake)

    def _wake(self, now: float) -> None:
        self._obey(self.queue.assign(self.instances, now, self._rng), now)

    def _serve(self, ask: Ask, lease: Lease, now: float) -> None:
        server = self.servers[lease.instance.id]
        load_s = 0.0 if ask.model in server.loaded else server.load_s
        first_s, whole_s, reads = server.begin(ask)
        self._at(now + first_s, lambda then: self._first(server, lease, ask, reads, then))
        self._at(now + whole_s, lambda then: self._end(ask, lease, now, reads, load_s, then))

    def _first(self, server: Server, lease: Lease, ask: Ask, reads: bool, now: float) -> None:
        lease.first_token(now)
        if reads and ask.prompt_tokens:
            lease.prompt_read(ask.prompt_tokens, ask.prompt_tokens * server.prompt_token_s, now)
        lease.instance.loaded = {name: LoadedModel(name, seen_at=now) for name in server.loaded}  # as a probe would find it

    def _end(self, ask: Ask, lease: Lease, began_at: float, reads: bool, load_s: float, now: float) -> None:
        lease.tokens = ask.tokens
        lease.end(Outcome.SUCCESS, now, self._rng)
        self.done.append(Done(ask, lease.instance.id, began_at, now, reads, load_s))
        self._obey(self.queue.freed(lease.instance, self.instances, now, self._rng), now)


def _instance(server: Server) -> Instance:
    made = Instance(server.settings)
    made.state = InstanceState.HEALTHY
    made.loaded = {name: LoadedModel(name, seen_at=0.0) for name in server.loaded}
    return made


def arrivals(rng: random.Random, per_s: float, count: int, **fields: object) -> list[Ask]:
    """`count` requests that come at random, so many a second on the average."""
    now, asks = 0.0, []
    for _ in range(count):
        now += rng.expovariate(per_s)
        asks.append(Ask(at=now, **fields))  # type: ignore[arg-type]
    return asks
