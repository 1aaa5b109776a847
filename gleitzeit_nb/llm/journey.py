"""One request's way through the pool: queue, tries, answer. One deadline over all of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gleitzeit_nb.core.admission import Grant, Hopeless
from gleitzeit_nb.core.candidates import Verdict, is_model_missing
from gleitzeit_nb.core.instances import Instance
from gleitzeit_nb.core.leases import Outcome
from gleitzeit_nb.core.lines import PATIENCE_S
from gleitzeit_nb.core.needs import Needs, Wishes
from gleitzeit_nb.core.receipts import Receipt
from gleitzeit_nb.core.requests import Attempt, Chunk, LLMRequest, Reply, Route
from gleitzeit_nb.core.strategies import Scores, strategy_named
from gleitzeit_nb.errors import EngineClosedError, PoolError, RequestCancelledError, StreamInterruptedError
from gleitzeit_nb.llm import outcomes
from gleitzeit_nb.llm.defaults import default_model
from gleitzeit_nb.llm.dispatch import Turn
from gleitzeit_nb.llm.faults import InstanceFault
from gleitzeit_nb.llm.limits import Limit
from gleitzeit_nb.llm.parts import Parts
from gleitzeit_nb.llm.recovery import Recovery
from gleitzeit_nb.llm.sending import notices
from gleitzeit_nb.llm.tries import Try, ask

FRESH_S = 2.0  # a list of models younger than this is not asked for again before saying that a model is missing


@dataclass(eq=False)
class Journey:
    """`run` is the way; everything else can be read while it goes on."""

    parts: Parts
    request: LLMRequest
    in_pieces: bool = True  # else only the reply is handed on, when it is whole
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
    scores: Scores = ()
    first_token_s: float | None = None
    receipt: Receipt | None = None
    recovery: Recovery = field(init=False)
    dismissed: str = ""  # who has cancelled it
    cut: StreamInterruptedError | None = None  # an answer that had begun broke off, and is asked for again
    _voided: bool = False  # … and the caller knows that what came of it is void
    _patience_s: float = PATIENCE_S  # for instances that are ejected; each wait for them takes some of it
    _waiting: Limit = field(default_factory=Limit, init=False)  # around the wait for a slot; ended only by `dismiss`
    _left: tuple[str, str] | None = None  # (instance, why it was left): a failover that has no target yet
    _listed_anew: bool = False
    _given_up: list[str] = field(default_factory=list, init=False)  # the models before the current one

    def __post_init__(self) -> None:
        self.models = [self.request.model, *self.request.fallback_models]
        self.started_at = self.parts.clock()
        self.recovery = Recovery(self.parts)
        self._key = self.parts.dispatcher.queue.key(self.request.priority, self.started_at)
        self.strategy = self.request.strategy or self.parts.settings.balancing.strategy
        strategy_named(self.strategy)
        self._wishes = Wishes.of(self.request, self.strategy)

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
        self.parts.budget.earn(self.started_at)
        try:
            if not self.model:
                self.models[0] = await default_model(self.parts.settings, self.parts.members, self.parts.health, self.request)
            while True:
                attempt = self.current = self.asked = self._ask(await self._slot())
                try:
                    if self.cut is not None and not self._voided:
                        self._voided, self.tokens = True, 0
                        yield Chunk(restart=True)
                    while (lines := await self._next_lines(attempt)) is not None:
                        for chunk in self._take(attempt, lines):
                            yield chunk
                    attempt.answer.close()
                except InstanceFault as fault:
                    if not attempt.answer.complete:
                        self._failed(attempt, fault)
                        continue
                finally:
                    try:
                        await attempt.leave()
                    finally:
                        self.current = None
                yield Chunk(reply=self._reply(attempt))
                return
        except PoolError as error:
            told = self.cut is None or isinstance(error, StreamInterruptedError | RequestCancelledError)
            final = error if told or self.cut is None else self.cut
            self.parts.receipts.failed(self, final)
            if final is not error:
                raise final from error
            raise
        except BaseException as exc:
            self.parts.receipts.failed(self, exc)
            raise
        finally:
            del self.parts.active[self]

    def dismiss(self, by: str) -> None:
        """End it: whoever waits for it gets a RequestCancelledError. `by`: from where, such as "from the side panel"."""
        self.dismissed = self.dismissed or by
        self._waiting.expire()
        if self.current is not None:
            self.current.patience.expire()

    def _dismissal(self) -> RequestCancelledError:
        attempt = self.current
        if attempt is None:
            return outcomes.cancelled(self.dismissed, "it had no slot yet")
        instance, text = attempt.lease.instance.id, attempt.answer.text
        stood = f"after {self.tokens} tokens from {instance}" if attempt.spoke else f"{instance} had not answered yet"
        return outcomes.cancelled(self.dismissed, stood, partial=text, instance=instance)

    # -- before an instance is asked -------------------------------------------------------------------------------------------

    async def _slot(self) -> Grant:
        try:
            if not self.dismissed:
                with self._waiting:
                    return await self._admitted()
        except TimeoutError:
            if not self.dismissed:
                raise
        raise self._dismissal()

    async def _admitted(self) -> Grant:
        """Wait for a slot; on no hope, look for models again, then fall back to the next model, then raise."""
        while True:
            outcome = await self._queued()
            self.verdicts, self.scores = outcome.verdicts, outcome.scores if isinstance(outcome, Grant) else ()
            if isinstance(outcome, Grant):
                if self.recovery.pay():
                    return outcome
                self.parts.dispatcher.end(outcome.lease, Outcome.IGNORED)
                raise outcomes.budget_spent(self.model, self.attempts, outcome.verdicts, self.parts.budget)
            self.parts.journal.passed_over(self.request.id, self.model, outcome.verdicts)
            if not self._listed_anew and is_model_missing(outcome.waiter.needs, outcome.verdicts):
                self._listed_anew = True
                await self.parts.health.refresh_models(FRESH_S)
            elif not await self._come_back() and not self._fall_back():
                raise outcomes.nobody(self.request, self.model, self.attempts, outcome, tuple(self.parts.settings.aliases))

    async def _come_back(self) -> bool:
        """To an instance that has failed this request already; not in step with others whom it failed."""
        wait_s = self.recovery.come_back()
        if wait_s:
            await asyncio.sleep(wait_s if self.left_s is None else max(0.0, min(wait_s, self.left_s)))
        return wait_s is not None

    def _fall_back(self) -> bool:
        """Go on with the next model, if there is one."""
        if len(self.models) == 1:
            return False
        self._given_up.append(self.models.pop(0))
        self._listed_anew = False
        self.recovery.next_model()
        return True

    async def _queued(self) -> Grant | Hopeless:
        needs = self._needs()
        if needs.ask_abilities:
            await self.parts.showings.learn(needs.model)
        self.turn = turn = Turn(patience_s=self._patience_s)
        entered = self.parts.clock()
        limits = [limit for limit in (self.left_s, self.parts.settings.admission.queue_timeout_s) if limit is not None]
        try:
            dispatcher, timeout_s, returning = self.parts.dispatcher, min(limits, default=None), bool(self.attempts)
            if self.request.stands_back and not returning:
                await dispatcher.acquire_standing_back(needs, self._wishes, self._key, turn, timeout_s=timeout_s)
            else:
                await dispatcher.acquire(needs, self._wishes, self._key, turn, timeout_s=timeout_s, returning=returning)
        finally:
            self.turn, now = None, self.parts.clock()
            self.queue_s += now - entered
            if turn.waiter is not None and turn.waiter.stranded_at is not None:
                self._patience_s = max(0.0, self._patience_s - (now - turn.waiter.stranded_at))
        if turn.outcome is None:
            raise self._waited_too_long()
        return turn.outcome

    def _waited_too_long(self) -> PoolError:
        deadline_s, queue_timeout_s = self.request.deadline_s, self.parts.settings.admission.queue_timeout_s
        if deadline_s is not None and (queue_timeout_s is None or (self.left_s or 0.0) <= 0.0):
            return outcomes.out_of_time(deadline_s, self.queue_s, self.attempts)
        return outcomes.waited_too_long(queue_timeout_s or 0.0, self.attempts)

    def _needs(self) -> Needs:
        return Needs.of(self.request, self.model, self.recovery.excluded, patient=self.recovery.came_back)

    # -- one try ---------------------------------------------------------------------------------------------------------------

    def _ask(self, grant: Grant) -> Try:
        lease, parts = grant.lease, self.parts
        parts.journal.picked(self.request.id, self.model, lease.instance, grant.verdicts)
        if self._left is not None:
            source, reason = self._left
            self._left = None
            if source != lease.instance.id:
                parts.journal.failover(self.request.id, self.model, source, lease.instance.id, reason)
        return ask(parts, self.request, self.model, grant)

    async def _next_lines(self, attempt: Try) -> Sequence[Mapping[str, Any]] | None:
        try:
            if self.dismissed:
                raise self._dismissal()
            return await attempt.next_lines(self.left_s)
        except TimeoutError as exc:
            raise (self._dismissal() if self.dismissed else self._out_of_time(attempt)) from exc

    def lose(self, instance: Instance) -> None:
        """A health probe found that `instance` is gone."""
        if self.current is not None:
            self.current.lose(instance)

    def _take(self, attempt: Try, lines: Sequence[Mapping[str, Any]]) -> Sequence[Chunk]:
        """What of these lines is handed on."""
        pieces = attempt.take(lines)
        if pieces and self.first_token_s is None:
            self.first_token_s = self.parts.clock() - self.started_at
        self.tokens += len(pieces)
        return pieces if self.in_pieces else ()

    def _out_of_time(self, attempt: Try) -> PoolError:
        self._note(attempt, "deadline", outcomes.deadline_detail(attempt.lease, attempt.spoke))
        deadline_s = self.request.deadline_s or 0.0
        if attempt.answer.visible:
            return outcomes.interrupted(attempt.lease.instance.id, f"the deadline of {deadline_s:g} s ran out", attempt.answer.text)
        return outcomes.out_of_time(deadline_s, self.queue_s, self.attempts)

    def _failed(self, attempt: Try, fault: InstanceFault) -> None:
        """Book the fault. Raises the error that ends the request, unless another try is due."""
        lease = attempt.lease
        if self.parts.closed:
            raise EngineClosedError("the pool was closed while the request was being answered") from fault
        self._note(attempt, fault.cause.value, str(fault))
        self._left = (lease.instance.id, str(fault))
        self.recovery.failed(lease, fault)
        error = self._final_error(attempt, fault)
        if error is not None:
            raise error from fault

    def _final_error(self, attempt: Try, fault: InstanceFault) -> PoolError | None:
        instance_id = attempt.lease.instance.id
        if attempt.answer.visible:
            error = outcomes.interrupted(instance_id, f"it {fault}", attempt.answer.text)
            if not self.request.restart_on_cut or not self.recovery.may_restart():
                return error
            self.cut, self._voided = error, False
            return None
        if not fault.traits.retryable:
            return outcomes.rejected(instance_id, fault)
        if not self.recovery.may_try_again() and not self._fall_back():
            return outcomes.all_failed(self.model, self.attempts, attempt.verdicts)
        if self.recovery.is_broke():
            return outcomes.budget_spent(self.model, self.attempts, attempt.verdicts, self.parts.budget)
        return None

    def _note(self, attempt: Try, outcome: str, detail: str) -> None:
        lease, attempt.noted = attempt.lease, True
        self.attempts.append(
            Attempt(lease.instance.id, outcome, detail, self.parts.clock() - lease.began_at, lease.cold, attempt.first_line_s)
        )
        if outcome != "ok":
            self.parts.journal.failed_try(self.request.id, lease.instance, detail)

    def note_end(self, outcome: str) -> None:
        """The request is over: a try that went on until then ended with it."""
        if self.asked is not None and not self.asked.noted:
            self._note(self.asked, outcome, "the request ended")

    # -- what comes of it --------------------------------------------------------------------------------------------------------

    def _reply(self, attempt: Try) -> Reply:
        self._note(attempt, "ok", "")
        answer, usage = attempt.answer, attempt.answer.usage
        attempt.lease.prompt_read(usage.prompt_tokens or 0, usage.prompt_s or 0.0, self.parts.clock())
        receipt = self.parts.receipts.answered(self)
        return Reply(
            text=answer.text,
            model=self.model,
            instance=attempt.lease.instance.id,
            usage=usage,
            route=Route(self.queue_s, receipt.tries, receipt.candidates, self.strategy),
            elapsed_s=self.parts.clock() - self.started_at,
            done_reason=answer.done_reason,
            thinking=answer.thinking,
            tool_calls=tuple(answer.tool_calls),
            embeddings=answer.embeddings,
            receipt=receipt,
            notices=(*outcomes.instead(self._given_up, self.model), *notices(attempt.lease)),
            logprobs=tuple(answer.logprobs),
            alias=self.request.alias,
        )
