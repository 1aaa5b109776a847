"""One request's way through the pool: queue, tries, answer. One deadline over all of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from gleitzeit_nb.core.admission import Grant, Hopeless
from gleitzeit_nb.core.candidates import Verdict, is_model_missing
from gleitzeit_nb.core.faults import TRAITS, Blame, Cause
from gleitzeit_nb.core.instances import Instance
from gleitzeit_nb.core.leases import Lease, Outcome
from gleitzeit_nb.core.models import display
from gleitzeit_nb.core.needs import Needs
from gleitzeit_nb.core.receipts import Receipt
from gleitzeit_nb.core.requests import Attempt, Chunk, LLMRequest, Reply, Route
from gleitzeit_nb.core.settings import PoolSettings
from gleitzeit_nb.core.strategies import strategy_named
from gleitzeit_nb.errors import EngineClosedError, PoolError
from gleitzeit_nb.llm import outcomes
from gleitzeit_nb.llm.answers import PATHS, Answer, body_of
from gleitzeit_nb.llm.defaults import default_model
from gleitzeit_nb.llm.dispatch import Dispatcher, Turn
from gleitzeit_nb.llm.faults import InstanceFault
from gleitzeit_nb.llm.health import HealthMonitor
from gleitzeit_nb.llm.journal import Journal
from gleitzeit_nb.llm.limits import Limit
from gleitzeit_nb.llm.membership import Membership
from gleitzeit_nb.llm.receipts import Receipts
from gleitzeit_nb.snapshot import RunView

FRESH_S = 2.0  # a list of models younger than this is not asked for again before saying that a model is missing
BUSY_PAUSE_S = 0.25  # the first pause after an instance said that it is busy; it doubles with each try
LONGEST_PAUSE_S = 5.0


@dataclass
class Parts:
    """What all journeys of a pool share."""

    settings: PoolSettings
    members: Membership
    dispatcher: Dispatcher
    health: HealthMonitor
    journal: Journal
    receipts: Receipts
    clock: Callable[[], float]
    rng: Random
    active: dict[Journey, None] = field(default_factory=dict)  # in order of arrival
    closed: bool = False


@dataclass(eq=False)
class Try:
    """One instance being asked."""

    lease: Lease
    verdicts: tuple[Verdict, ...]
    answer: Answer
    lines: AsyncIterator[Mapping[str, Any]]
    spoke: bool = False  # a line has come
    patience: Limit = field(default_factory=Limit)  # around the wait for the next line
    lost: bool = False  # a health probe says that waiting is in vain
    noted: bool = False  # it stands among the journey's attempts


@dataclass(eq=False)
class Journey:
    """`run` is the way; everything else can be read while it goes on."""

    parts: Parts
    request: LLMRequest
    models: list[str] = field(init=False)  # still to be asked for, the current one first, as the user spells them
    started_at: float = field(init=False)
    strategy: str = field(init=False)
    turn: Turn | None = None
    current: Try | None = None
    tokens: int = 0
    attempts: list[Attempt] = field(default_factory=list)
    queue_s: float = 0.0
    asked: Try | None = None  # the last one; `current` is None again when it is over
    verdicts: tuple[Verdict, ...] = ()  # of the last pick
    first_token_s: float | None = None
    receipt: Receipt | None = None
    _tries: int = 0  # with the current model
    _excluded: dict[str, Cause] = field(default_factory=dict)  # who has failed this request, and how
    _left: tuple[str, str] | None = None  # (instance, why it was left): a failover that has no target yet
    _listed_anew: bool = False
    _came_back: bool = False

    def __post_init__(self) -> None:
        self.models = [self.request.model, *self.request.fallback_models]
        self.started_at = self.parts.clock()
        self._key = self.parts.dispatcher.queue.key(self.request.priority, self.started_at)
        self.strategy = self.request.strategy or self.parts.settings.balancing.strategy
        strategy_named(self.strategy)

    @property
    def model(self) -> str:
        return self.models[0]

    @property
    def left_s(self) -> float | None:
        """Seconds until the deadline; None without one."""
        deadline_s = self.request.deadline_s
        return None if deadline_s is None else self.started_at + deadline_s - self.parts.clock()

    async def run(self) -> AsyncGenerator[Chunk, None]:
        """The pieces of the answer; the last chunk carries the reply. Raises the errors of the pool."""
        self.parts.active[self] = None
        try:
            if not self.model:
                self.models[0] = await default_model(self.parts.settings, self.parts.members, self.parts.health, self.request)
            while True:
                attempt = self.current = self.asked = self._ask(await self._admitted())
                try:
                    while (line := await self._next_line(attempt)) is not None:
                        chunk = self._take(attempt, line)
                        if chunk is not None:
                            yield chunk
                    attempt.answer.close()
                except InstanceFault as fault:
                    if not attempt.answer.complete:
                        self._failed(attempt, fault)
                        continue
                finally:
                    await self._leave(attempt)
                yield Chunk(reply=self._reply(attempt))
                return
        except BaseException as exc:
            self.parts.receipts.failed(self, exc)
            raise
        finally:
            del self.parts.active[self]

    # -- before an instance is asked -------------------------------------------------------------------------------------------

    async def _admitted(self) -> Grant:
        """Wait for a slot; on no hope, look for models again, then fall back to the next model, then raise."""
        while True:
            outcome = await self._queued()
            self.verdicts = outcome.verdicts
            if isinstance(outcome, Grant):
                return outcome
            self.parts.journal.passed_over(self.request.id, self.model, outcome.verdicts)
            if not self._listed_anew and is_model_missing(outcome.waiter.needs, outcome.verdicts):
                self._listed_anew = True
                await self.parts.health.refresh_models(FRESH_S)
            elif not self._come_back() and not self._fall_back():
                raise outcomes.nobody(self.request, self.model, self.attempts, outcome)

    def _come_back(self) -> bool:
        """Nobody else is left: hope once for those that were only not there, such as a server that restarts."""
        away = [name for name, cause in self._excluded.items() if TRAITS[cause].away or cause is Cause.DISCONNECTED]
        if self._came_back or not away or not self._may_try_again():
            return False
        self._came_back = True
        for name in away:
            del self._excluded[name]
        return True

    def _may_try_again(self) -> bool:
        balancing = self.parts.settings.balancing
        return balancing.failover and self._tries <= balancing.retry_attempts

    def _fall_back(self) -> bool:
        """Go on with the next model, if there is one. Who failed only with the last one may be asked again."""
        if len(self.models) == 1:
            return False
        del self.models[0]
        self._tries = 0
        self._listed_anew = False
        self._excluded = {name: cause for name, cause in self._excluded.items() if TRAITS[cause].blame is Blame.INSTANCE}
        return True

    async def _queued(self) -> Grant | Hopeless:
        self.turn = turn = Turn()
        entered = self.parts.clock()
        limits = [limit for limit in (self.left_s, self.parts.settings.admission.queue_timeout_s) if limit is not None]
        try:
            await self.parts.dispatcher.acquire(
                self._needs(), self._key, turn, timeout_s=min(limits, default=None), returning=bool(self.attempts)
            )
        finally:
            self.turn = None
            self.queue_s += self.parts.clock() - entered
        if turn.outcome is None:
            raise self._waited_too_long()
        return turn.outcome

    def _waited_too_long(self) -> PoolError:
        deadline_s, queue_timeout_s = self.request.deadline_s, self.parts.settings.admission.queue_timeout_s
        if deadline_s is not None and (queue_timeout_s is None or (self.left_s or 0.0) <= 0.0):
            return outcomes.out_of_time(deadline_s, self.queue_s, self.attempts)
        return outcomes.waited_too_long(queue_timeout_s or 0.0, self.attempts)

    def _needs(self) -> Needs:
        return Needs.of(self.request, self.model, self.strategy, self._excluded, patient=self._came_back)

    # -- one try ---------------------------------------------------------------------------------------------------------------

    def _ask(self, grant: Grant) -> Try:
        lease, parts = grant.lease, self.parts
        parts.journal.picked(self.request.id, self.model, lease.instance, grant.verdicts)
        if self._left is not None:
            source, reason = self._left
            self._left = None
            if source != lease.instance.id:
                parts.journal.failover(self.request.id, self.model, source, lease.instance.id, reason)
        try:
            lines = self._lines(lease)
        except BaseException:
            parts.dispatcher.end(lease, Outcome.IGNORED)
            raise
        return Try(lease, grant.verdicts, Answer(is_embedding=self.request.kind == "embed"), lines)

    def _lines(self, lease: Lease) -> AsyncIterator[Mapping[str, Any]]:
        """The lines of the answer; nothing is sent before the first is asked for."""
        timeouts = self.parts.settings.timeouts
        return self.parts.members.holding(lease.instance).transport.stream(
            PATHS[self.request.kind],
            body_of(self.request, self.model),
            connect_s=timeouts.connect_s,
            first_s=timeouts.first_token_cold_s if lease.cold else timeouts.first_token_warm_s,
            between_s=timeouts.between_tokens_s,
        )

    async def _next_line(self, attempt: Try) -> Mapping[str, Any] | None:
        left_s = self.left_s
        if left_s is None and attempt.spoke:
            return await anext(attempt.lines, None)
        attempt.patience = Limit(left_s)
        try:
            async with attempt.patience:
                return await anext(attempt.lines, None)
        except TimeoutError as exc:
            if attempt.lost:
                raise InstanceFault(Cause.FIRST_BYTE_TIMEOUT, "and it does not answer health probes") from exc
            raise self._out_of_time(attempt) from exc

    def lose(self, instance: Instance) -> None:
        """A health probe found that `instance` is gone: don't wait for its first token until the long time for a load is over."""
        attempt = self.current
        if attempt is not None and attempt.lease.instance is instance and not attempt.spoke:
            attempt.lost = True
            attempt.patience.expire()

    def _out_of_time(self, attempt: Try) -> PoolError:
        self._note(attempt, "deadline", "the deadline ran out")
        deadline_s = self.request.deadline_s or 0.0
        if attempt.answer.visible:
            return outcomes.interrupted(attempt.lease.instance.id, f"the deadline of {deadline_s:g} s ran out", attempt.answer.text)
        return outcomes.out_of_time(deadline_s, self.queue_s, self.attempts)

    def _take(self, attempt: Try, line: Mapping[str, Any]) -> Chunk | None:
        now = self.parts.clock()
        if not attempt.spoke:
            attempt.spoke = True
            attempt.lease.first_token(now)
        chunk = attempt.answer.feed(line)
        if chunk is not None:
            if self.first_token_s is None:
                self.first_token_s = now - self.started_at
            self.tokens += 1
            attempt.lease.instance.load.tokens.add(1, now)
        return chunk

    async def _leave(self, attempt: Try) -> None:
        """Close the connection, then give the slot back, whatever happens on the way. The end after a fault was booked before."""
        outcome = Outcome.SUCCESS if attempt.answer.complete else Outcome.IGNORED
        try:
            close = getattr(attempt.lines, "aclose", None)
            if close is not None:
                await close()
        finally:
            self.current = None
            self.parts.dispatcher.end(attempt.lease, outcome)

    def _failed(self, attempt: Try, fault: InstanceFault) -> None:
        """Book the fault. Raises the error that ends the request, unless another try is due."""
        lease, cause, blame = attempt.lease, fault.cause, fault.traits.blame
        if self.parts.closed:
            raise EngineClosedError("the pool was closed while the request was being answered") from fault
        self._note(attempt, cause.value, str(fault))
        self._draw_consequences(lease, fault)
        self.parts.dispatcher.end(lease, Outcome.IGNORED if blame is Blame.NOBODY else Outcome.DROPPED, cause)
        self._tries += 1
        error = self._final_error(attempt, fault)
        if error is not None:
            raise error from fault

    def _draw_consequences(self, lease: Lease, fault: InstanceFault) -> None:
        """What the fault says of the instance has to be known before its slot goes to the next."""
        instance = lease.instance
        self._left = (instance.id, str(fault))
        if fault.cause is Cause.BUSY:
            instance.paused_until = self.parts.clock() + self._pause_s(fault)
            return
        self._excluded[instance.id] = fault.cause
        if fault.cause is Cause.MODEL_MISSING:
            instance.forget_model(lease.model)
            self.parts.health.expire_models(self.parts.members.holding(instance))

    def _final_error(self, attempt: Try, fault: InstanceFault) -> PoolError | None:
        instance_id = attempt.lease.instance.id
        if attempt.answer.visible:
            return outcomes.interrupted(instance_id, f"it {fault}", attempt.answer.text)
        if not fault.traits.retryable:
            return outcomes.rejected(instance_id, fault)
        if self._may_try_again() or self._fall_back():
            return None
        return outcomes.all_failed(self.model, self.attempts, attempt.verdicts)

    def _pause_s(self, fault: InstanceFault) -> float:
        """What the instance asked for, else a growing pause with full jitter (but never none)."""
        if fault.retry_after_s is not None:
            return min(fault.retry_after_s, LONGEST_PAUSE_S)
        ceiling = min(BUSY_PAUSE_S * 2.0**self._tries, LONGEST_PAUSE_S)
        return self.parts.rng.uniform(BUSY_PAUSE_S / 2, ceiling)

    def _note(self, attempt: Try, outcome: str, detail: str) -> None:
        lease, attempt.noted = attempt.lease, True
        self.attempts.append(Attempt(lease.instance.id, outcome, detail, self.parts.clock() - lease.began_at))
        if outcome != "ok":
            self.parts.journal.failed_try(self.request.id, lease.instance, detail)

    def note_end(self, outcome: str) -> None:
        """The request is over: a try that went on until then ended with it."""
        if self.asked is not None and not self.asked.noted:
            self._note(self.asked, outcome, "the request ended")

    # -- what comes of it --------------------------------------------------------------------------------------------------------

    def _reply(self, attempt: Try) -> Reply:
        self._note(attempt, "ok", "")
        answer = attempt.answer
        return Reply(
            text=answer.text,
            model=self.model,
            instance=attempt.lease.instance.id,
            usage=answer.usage,
            route=Route(self.queue_s, tuple(self.attempts), tuple(verdict.row for verdict in attempt.verdicts), self.strategy),
            elapsed_s=self.parts.clock() - self.started_at,
            done_reason=answer.done_reason,
            thinking=answer.thinking,
            tool_calls=tuple(answer.tool_calls),
            embeddings=answer.embeddings,
            receipt=self.parts.receipts.answered(self),
            logprobs=tuple(answer.logprobs),
        )

    def describe(self) -> str:
        """Where it stands, in one line."""
        now = self.parts.clock()
        if self.current is not None:
            return self._describe_try(self.current, now)
        waiter = self.turn.waiter if self.turn is not None else None
        if waiter is None:
            return "looking for an instance"
        if waiter.stranded_at is not None:
            return "waiting for an instance to come back"
        return f"queued {ordinal(self.parts.dispatcher.queue.position(waiter))}"

    def _describe_try(self, attempt: Try, now: float) -> str:
        lease = attempt.lease
        where = lease.instance.id
        if attempt.spoke:
            return f"answering on {where}, {self.tokens} tokens"
        waited = f"{now - lease.began_at:.0f} s"
        if lease.cold:
            return f"loading {display(self.model)} on {where}, {waited}"
        return f"waiting for the first token from {where}, {waited}"

    def view(self) -> RunView:
        """For the dashboard."""
        return RunView(
            id=self.request.id,
            kind="llm",
            label=self.request.label or f"{self.request.kind} {display(self.model)}",
            where=self.current.lease.instance.id if self.current is not None else "",
            state=self.describe(),
            elapsed_s=self.parts.clock() - self.started_at,
            tokens=self.tokens,
        )


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th, 21st."""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"
