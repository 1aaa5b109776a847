"""One instance being asked: from the grant of a slot until the connection is closed and the slot given back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gleitzeit_nb.core.admission import Grant
from gleitzeit_nb.core.candidates import Verdict
from gleitzeit_nb.core.faults import Cause
from gleitzeit_nb.core.instances import Instance
from gleitzeit_nb.core.leases import Lease, Outcome
from gleitzeit_nb.core.requests import Chunk, LLMRequest
from gleitzeit_nb.core.timeouts import Prompt, first_token_limit_s
from gleitzeit_nb.llm.answers import PATHS, Answer
from gleitzeit_nb.llm.faults import InstanceFault
from gleitzeit_nb.llm.limits import Limits
from gleitzeit_nb.llm.parts import Parts
from gleitzeit_nb.llm.sending import body_for, first_token


@dataclass(eq=False)
class Try:
    """Made by `ask`; ended by `leave`, whatever happens between."""

    parts: Parts
    lease: Lease
    verdicts: tuple[Verdict, ...]
    answer: Answer
    lines: AsyncIterator[Sequence[Mapping[str, Any]]]
    first_line_s: float | None = None  # when the first line came
    patience: Limits = field(default_factory=Limits)  # around the wait for the next lines
    lost: bool = False  # a health probe says that waiting is in vain
    noted: bool = False  # it stands among the journey's attempts

    @property
    def spoke(self) -> bool:
        """A line has come."""
        return self.first_line_s is not None

    async def next_lines(self, left_s: float | None) -> Sequence[Mapping[str, Any]] | None:
        """None: there are no more. Raises InstanceFault, or TimeoutError when `left_s` (until the deadline) is over.

        `patience` is around every wait, so that it can be ended from elsewhere.
        """
        try:
            with self.patience.of(left_s):
                return await anext(self.lines, None)
        except TimeoutError as exc:
            if self.lost:
                raise InstanceFault(Cause.FIRST_BYTE_TIMEOUT, "and it does not answer health probes") from exc
            raise

    def lose(self, instance: Instance) -> None:
        """A health probe found that `instance` is gone: don't wait for its first token until the long time for a load is over."""
        if self.lease.instance is instance and not self.spoke:
            self.lost = True
            self.patience.expire()

    def take(self, lines: Sequence[Mapping[str, Any]]) -> list[Chunk]:
        """What is to be shown of them."""
        now = self.parts.clock()
        if not self.spoke:
            self.first_line_s = now - self.lease.began_at
            first_token(self.parts, self.lease, now)
        pieces = self.answer.feed(lines)
        self.lease.more_tokens(len(pieces), now)
        return pieces

    async def leave(self) -> None:
        """Close the connection, then give the slot back, whatever happens on the way. The end after a fault was booked before."""
        self.patience.close()
        self.lease.usage = self.answer.usage if self.answer.complete else None
        answered = self.answer.complete and self.answer.done_reason != "load"  # how long a load took says nothing of answers
        outcome = Outcome.SUCCESS if answered else Outcome.IGNORED
        try:
            close = getattr(self.lines, "aclose", None)
            if close is not None:
                await close()
        finally:
            self.parts.dispatcher.end(self.lease, outcome)


def ask(parts: Parts, request: LLMRequest, model: str, grant: Grant) -> Try:
    """Use the slot that was granted. Nothing is sent before the first line is waited for."""
    try:
        lines = _lines(parts, request, model, grant.lease)
    except BaseException:
        parts.dispatcher.end(grant.lease, Outcome.IGNORED)
        raise
    return Try(parts, grant.lease, grant.verdicts, Answer(is_embedding=request.kind == "embed"), lines)


def _lines(parts: Parts, request: LLMRequest, model: str, lease: Lease) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
    timeouts = parts.settings.timeouts
    body = body_for(parts, request, model, lease)
    return parts.members.holding(lease.instance).transport.stream(
        PATHS[request.kind],
        body,
        connect_s=timeouts.connect_s,
        first_s=first_token_limit_s(timeouts, lease.instance, lease.model, lease.cold, prompt_of(request), parts.clock()),
        between_s=timeouts.between_tokens_s,
    )


def prompt_of(request: LLMRequest) -> Prompt:
    """What has to be read before the first token: some four characters make a token, and a picture is worth a thousand."""
    contents = [message.get("content") for message in request.messages]
    texts = [text for text in (*contents, request.prompt, request.system, *request.inputs) if isinstance(text, str)]
    images = len(request.images) + sum([len(message["images"] or ()) for message in request.messages if "images" in message])
    return Prompt(tokens=sum(map(len, texts)) / 4 + 1000 * images, held_back=bool(request.tools))
