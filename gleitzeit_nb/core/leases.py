"""A slot on an instance, from the moment it is reserved until its one end."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from random import Random

from gleitzeit_nb.core.breaker import Breaker, Move, Result
from gleitzeit_nb.core.faults import TRAITS, Blame, Cause, Traits
from gleitzeit_nb.core.instances import Instance
from gleitzeit_nb.core.requests import Usage
from gleitzeit_nb.core.runner_options import Plan, after_answer
from gleitzeit_nb.core.series import TokenHistory
from gleitzeit_nb.core.sharing import GiveBack, look_again_at

NOTHING_SENT = Plan()
OVERLOADED = frozenset({Cause.BUSY, Cause.FIRST_BYTE_TIMEOUT, Cause.STALLED})


class Outcome(Enum):
    """`IGNORED`: nobody's fault, such as a cancel. `DROPPED`: the instance failed; the cause says how."""

    SUCCESS = "success"
    IGNORED = "ignored"
    DROPPED = "dropped"


@dataclass(eq=False)
class Lease:
    """Made by `reserve`; holds one slot until `end`. Ending it again does nothing: an end may be reached on several ways out."""

    instance: Instance
    model: str  # canonical
    began_at: float
    cold: bool  # the model was not known to be loaded, or is loaded anew for this request
    sent: Plan = NOTHING_SENT  # the options of the request
    moves: list[Move] = field(default_factory=list)  # of the breakers, not yet announced
    ended: bool = False
    tokens: int = 0  # that have come
    history: TokenHistory | None = None  # of them; None before the first
    knows_prompt: bool = False  # the instance has read the beginning of the conversation before
    usage: Usage | None = None  # what the server says that it took
    _charged: float = 0.0  # tokens, to the instance's rate limit
    _first_at: float | None = None  # when the first line came
    _give_back: GiveBack | None = None  # of a slot that other pools know of
    _probe: bool = False
    _model_breaker: Breaker | None = None
    _model_probe: bool = False

    def __repr__(self) -> str:
        return f"<Lease {self.instance.id} {self.model} {'ended' if self.ended else 'held'}>"

    def first_token(self, now: float) -> None:
        """The model answers, so it is loaded."""
        load, known = self.instance.load, self.instance.loaded.get(self.model)
        load.loading.pop(self.model, None)
        self._first_at = now
        self.instance.loaded[self.model] = after_answer(known, self.model, self.sent, now, fresh=self.cold)
        if self.cold:
            load.loaded(self.model, now - self.began_at)
        else:
            load.first_tokens.observe(self.model, now - self.began_at)
            load.pace(self.model).first_token.observe(now - self.began_at, now)

    def will_send(self, sent: Plan, now: float) -> None:
        """The options are settled. What is loaded anew for them counts as cold."""
        self.sent = sent
        if sent.reloads and not self.cold:
            self.cold = True
            self.instance.load.loading.setdefault(self.model, now)

    def more_tokens(self, count: int, now: float) -> None:
        """So many have come."""
        self.tokens += count
        self.instance.load.tokens.add(count, now)
        if self.history is None:
            self.history = TokenHistory()
        self.history.add(count, now)

    def tokens_per_s(self, now: float) -> float | None:
        """Since the first; None before the second."""
        if self._first_at is None or self.tokens < 2 or now <= self._first_at:
            return None
        return (self.tokens - 1) / (now - self._first_at)

    def prompt_read(self, tokens: int, elapsed_s: float, now: float) -> None:
        """What the server says of reading the prompt. It counts tokens that it still knew as if it had read them."""
        if tokens > 0 and not self.knows_prompt:
            self.instance.load.pace(self.model).prompt_token.observe(elapsed_s / tokens, now)

    def end(self, outcome: Outcome, now: float, rng: Random, cause: Cause | None = None) -> bool:
        """Give the slot back and book how it went. False: it had ended before."""
        if self.ended:
            return False
        self.ended = True
        load = self.instance.load
        self._tell_limits(outcome, cause, now)
        load.end(self.model, now)
        if self._give_back is not None:
            self._give_back()
            share = self.instance.share
            self.instance.elsewhere_until = now + (share.stand_back_s(now) if share is not None else 0.0)
        if outcome is Outcome.SUCCESS:
            load.succeeded(now - self.began_at, now)
            self._keep_pace(now)
            self.instance.pause.answered()
        traits = TRAITS[cause] if cause is not None else None
        if traits is not None and traits.blame is not Blame.NOBODY:
            load.dropped()
        self._tell_breakers(outcome, traits, now, rng)
        return True

    def _tell_limits(self, outcome: Outcome, cause: Cause | None, now: float) -> None:
        rate, adaptive, usage = self.instance.rate, self.instance.adaptive, self.usage
        if rate is not None:
            rate.settle(self._charged, self.tokens if usage is None else usage.tokens or self.tokens, now)
        if adaptive is None:
            return
        if cause in OVERLOADED:
            adaptive.hindered(self.began_at, now)
        elif outcome is Outcome.SUCCESS and not self.cold:
            waited_s = usage.waited_s if usage is not None else None
            adaptive.answered(self.began_at, now, waited_s, in_flight=self.instance.load.in_flight)

    def _keep_pace(self, now: float) -> None:
        pace = self.instance.load.pace(self.model)
        begin = self._first_at if self.cold else self.began_at  # how long the load took says nothing of the next answer
        pace.whole.observe(now - (self.began_at if begin is None else begin), now)
        if self._first_at is not None and self.tokens > 1:
            pace.token.observe((now - self._first_at) / (self.tokens - 1), now)

    def _tell_breakers(self, outcome: Outcome, traits: Traits | None, now: float, rng: Random) -> None:
        whole, of_model = results(outcome, traits)
        reason = traits.text if traits else outcome.value
        unreachable = traits is not None and traits.away
        breaker = self._model_breaker
        if of_model is Result.FAULT and breaker is None:
            breaker = self.instance.breaker_for(self.model)
        moves = [self.instance.breaker.end(self._probe, whole, reason, now, rng, unreachable=unreachable)]
        if breaker is not None:
            move = breaker.end(self._model_probe, of_model, reason, now, rng)
            moves.append(move)
        self.moves += [move for move in moves if move is not None]


def reserve(instance: Instance, model: str, now: float, *, panic: bool = False) -> Lease:
    """Take a slot. The caller has just seen that the instance is free, and that its breakers admit the request or `panic` holds."""
    if not instance.is_free_for(model):
        raise RuntimeError(f"no slot is free for {model}: {instance!r}")
    lease = Lease(instance, model, now, cold=not instance.is_warm(model, now))
    lease._probe, move = instance.breaker.begin(now, panic=panic)
    lease._model_breaker = instance.model_breakers.get(model)
    moves = [move]
    if lease._model_breaker is not None:
        lease._model_probe, of_model = lease._model_breaker.begin(now, panic=panic)
        moves.append(of_model)
    lease.moves = [each for each in moves if each is not None]
    instance.load.begin(model, now)
    lease._charged = instance.rate.begin(now) if instance.rate is not None else 0.0
    if lease.cold:
        instance.load.loading.setdefault(model, now)
    return lease


def try_reserve(instance: Instance, model: str, now: float, rng: Random, *, panic: bool = False) -> Lease | None:
    """As `reserve`. None: other pools have all of the shared slots, and the instance is passed over until it is looked at again."""
    if instance.share is None:
        return reserve(instance, model, now, panic=panic)
    give_back = instance.share.take(model, instance.slots, one_per_model=instance.settings.max_concurrent is None)
    if give_back is not None and not instance.is_free_for(model):  # only now is it known that another pool allows fewer
        give_back()
        give_back = None
    if give_back is None:
        instance.elsewhere_until = look_again_at(now, rng)
        return None
    lease = reserve(instance, model, now, panic=panic)
    lease._give_back = give_back
    return lease


def results(outcome: Outcome, traits: Traits | None) -> tuple[Result, Result]:
    """What the end of a lease tells the instance's breaker, and what it tells the model's."""
    if traits is None:
        result = Result.SUCCESS if outcome is Outcome.SUCCESS else Result.IGNORED
        return result, result
    if traits.blame is Blame.INSTANCE:
        return (Result.FATAL if traits.fatal else Result.FAULT), Result.IGNORED
    whole = Result.SUCCESS if traits.answered else Result.IGNORED
    return whole, (Result.FAULT if traits.blame is Blame.MODEL else Result.IGNORED)
