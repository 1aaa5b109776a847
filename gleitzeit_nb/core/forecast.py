"""How many seconds a request would take on an instance, from what is known of both. Only differences between instances matter.

    (first token + each further one) x (1 + busy share) + loading the model + reading the conversation

What was never observed somewhere counts as the best that was observed elsewhere: a new instance is tried, and not shunned.
"""

from __future__ import annotations

import functools
import hashlib
import heapq
from collections.abc import Collection
from typing import NamedTuple

from gleitzeit_nb.core.instances import Instance
from gleitzeit_nb.core.needs import Needs, Wishes
from gleitzeit_nb.core.pins import Pins

FIRST_TOKEN_S = 0.5  # until something was observed, as are the next four
TOKEN_S = 0.02
LOAD_S = 10.0
PROMPT_TOKEN_S = 0.001
TOKENS = 128  # of an answer whose length nobody limits to less
HELD = 0.5  # what an instance that holds a conversation is better by at least, as a share of an answer
CROWDED = 0.1  # what an instance that has as many conversations as slots is worse by for a new one, as a share of an answer
MUCH_SLOWER = 2.0  # by this factor a free instance must be slower than a busy one, waiting included, to be passed by
OVERLOAD, OVERLOAD_BY = 1.5, 2  # so much more to do than the idlest ends the preference for who holds the conversation


class Case(NamedTuple):
    """One request at one moment. `holder`: id of the instance that answered its conversation last."""

    needs: Needs
    wishes: Wishes
    now: float
    holder: str | None = None
    pins: Pins | None = None

    @classmethod
    def of(cls, needs: Needs, wishes: Wishes, now: float, pins: Pins | None = None) -> Case:
        return cls(needs, wishes, now, None if pins is None else pins.holder(wishes.conversation, now), pins)


class Waiting(NamedTuple):
    """A busy instance that is worth waiting for: `gain_s` sooner than any free one, were it free; a slot there costs `step_s`."""

    instance: Instance
    gain_s: float
    step_s: float
    why: str  # what speaks against the free one
    observed: bool = True  # `step_s` is; before the first answer there nobody knows how long a line behind it takes


class Forecast:
    """Of one case, for some candidates."""

    def __init__(self, case: Case, candidates: Collection[Instance]) -> None:
        self.case = case
        self._tokens = TOKENS if case.wishes.tokens is None else min(case.wishes.tokens, TOKENS)
        answers = {instance: self._observed_s(instance) for instance in candidates}
        known = [answer for answer in answers.values() if answer is not None]
        typical = min(known, default=FIRST_TOKEN_S + TOKEN_S * self._tokens)
        self._answers = {instance: typical if answer is None else answer for instance, answer in answers.items()}
        self._longest_load_s: float | None = None  # of all; None: not asked for yet
        self._cold: dict[Instance, float] = {}
        self._holder = self._holding(candidates)

    def seconds(self, instance: Instance) -> float:
        return self.answering_s(instance) + self.cold_s(instance) + self._reread_s(instance)

    def answering_s(self, instance: Instance) -> float:
        """Of it, what the answer itself takes, beside what the instance does already."""
        return self._answers[instance] * (1 + instance.load.in_flight / instance.slots)

    def parts(self, instance: Instance) -> tuple[tuple[str, float], ...]:
        """What the seconds are made of."""
        answer_s = self._answers[instance]
        return (
            ("answer", answer_s),
            ("busy", answer_s * instance.load.in_flight / instance.slots),
            ("load", self.cold_s(instance)),
            ("conversation", self._reread_s(instance)),
        )

    def cold_s(self, instance: Instance) -> float:
        """To load the model, and what it costs others that another model is likely to be unloaded for it; 0 when it is loaded."""
        found = self._cold.get(instance)
        if found is None:
            model, now = self.case.needs.model, self.case.now
            warm = not model or instance.is_warm(model, now)
            found = self._cold[instance] = 0.0 if warm else _loading_s(instance, model, now, self._load_s(instance))
        return found

    def better(self, free: Instance, busy: Collection[Instance]) -> Waiting | None:
        """Is it worth waiting for one of `busy`, though `free` is free? Loads under way count as done: a second would take as long."""
        free_s, free_is_cold = self.seconds(free), self.cold_s(free) > 0
        best: Waiting | None = None
        for instance in busy:
            cold = self.cold_s(instance) > 0 and self.case.needs.model not in instance.load.loading
            holds = self._holder is instance
            if cold and not holds:
                continue
            limit = instance.settings.max_concurrent or 1
            reread_s = 0.0 if self._holder is None else self._reread_s(instance)  # how crowded it is is no reason against waiting
            gain_s = free_s - self._answers[instance] * (2 - 1 / limit) - reread_s
            why = "cold" if free_is_cold else "does not know the conversation" if holds else "slow"
            if why == "slow":
                gain_s = free_s / MUCH_SLOWER - (free_s - gain_s)
            whole_s = self._whole_s(instance)
            # Before the first answer there nobody knows how long one takes: waiting is tried, for as long as half of what it may gain.
            step_s = min(self._answers[instance] / limit, gain_s / 2) if whole_s is None else whole_s / limit
            if gain_s > step_s and (best is None or gain_s - step_s > best.gain_s - best.step_s):
                best = Waiting(instance, gain_s, step_s, why, observed=whole_s is not None)
        return best

    # -- parts ----------------------------------------------------------------------------------------------------------------

    def _observed_s(self, instance: Instance) -> float | None:
        pace = instance.load.paces.get(self.case.needs.model)
        if pace is None:
            return None
        first_s, token_s = pace.first_token.believed(self.case.now), pace.token.believed(self.case.now)
        if first_s is None and token_s is None:
            return None
        return (FIRST_TOKEN_S if first_s is None else first_s) + (0.0 if token_s is None else token_s) * self._tokens

    def _whole_s(self, instance: Instance) -> float | None:
        pace = instance.load.paces.get(self.case.needs.model)
        return pace.whole.believed(self.case.now) if pace is not None else None

    def _load_s(self, instance: Instance) -> float:
        model = self.case.needs.model
        own_s = instance.load.load_times_s.get(model)
        if own_s is not None:
            return own_s
        if self._longest_load_s is None:
            known_s = [each_s for each in self._answers if (each_s := each.load.load_times_s.get(model)) is not None]
            self._longest_load_s = max(known_s, default=LOAD_S)
        return self._longest_load_s

    def _holding(self, candidates: Collection[Instance]) -> Instance | None:
        """Who holds the conversation, unless it has too much to do."""
        if self.case.holder is None:
            return None
        holder = next((instance for instance in candidates if instance.settings.id == self.case.holder), None)
        if holder is None or self.cold_s(holder) > 0:
            return None
        idlest = min(instance.load.in_flight for instance in candidates)
        return None if holder.load.in_flight > max(idlest + OVERLOAD_BY, OVERLOAD * idlest) else holder

    def _crowd_s(self, instance: Instance) -> float:
        """A new conversation had better go where it makes a server forget none: it remembers about one for each slot."""
        pins = self.case.pins
        if pins is None or self.case.wishes.conversation is None:
            return 0.0
        return CROWDED * self._answers[instance] * min(1.0, pins.of(instance.settings.id) / instance.slots)

    def _reread_s(self, instance: Instance) -> float:
        holder = self._holder
        if holder is None:
            return self._crowd_s(instance)
        if holder is instance:
            return 0.0
        pace = holder.load.paces.get(self.case.needs.model)
        observed = pace.prompt_token.value if pace is not None else None
        reading_s = self.case.wishes.shared_tokens * (PROMPT_TOKEN_S if observed is None else observed)
        return max(reading_s, HELD * self._answers[holder])


def loading_s(instance: Instance, model: str, now: float) -> float:
    """Until `model` is loaded there, and what that costs others; 0 when it is."""
    if not model or instance.is_warm(model, now):
        return 0.0
    return _loading_s(instance, model, now, instance.load.load_times_s.get(model, LOAD_S))


def _loading_s(instance: Instance, model: str, now: float, load_s: float) -> float:
    """`load_s`: how long a load takes."""
    since = instance.load.loading.get(model)
    if since is not None:
        return max(0.0, load_s - (now - since))
    return load_s + _eviction_s(instance, model, now)


def _eviction_s(instance: Instance, model: str, now: float) -> float:
    """What it takes to load again, later, what is there now."""
    load = instance.load
    longest_s = 0.0
    for name in (*instance.loaded, *load.loading):
        if name != model and (name in load.loading or instance.is_warm(name, now)):
            longest_s = max(longest_s, load.load_times_s.get(name, LOAD_S))
    return longest_s


@functools.lru_cache(maxsize=8192)
def rendezvous(url: str, model: str) -> float:
    """Where a model that is loaded nowhere should go: everybody who computes it agrees on the lowest. Between 0 and 1.

    Highest-random-weight hashing (Thaler and Ravishankar, 1998).
    """
    digest = hashlib.blake2b(f"{url}\n{model}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


@functools.lru_cache(maxsize=256)
def homes(urls: tuple[str, ...], model: str) -> tuple[int, ...]:
    """Which two of the addresses come first by `rendezvous`."""
    return tuple(heapq.nsmallest(2, range(len(urls)), key=lambda index: rendezvous(urls[index], model)))
