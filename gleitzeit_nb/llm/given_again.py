"""Answers for which no instance is asked: they come from the cache or a recording, with a receipt that says so."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING

from gleitzeit_nb.core.kept_failures import KeptFailure
from gleitzeit_nb.core.receipts import Gpu, Outcome, Receipt, Timings
from gleitzeit_nb.core.remembering import KeptReply
from gleitzeit_nb.core.requests import Chunk, LLMRequest, Reply, Route, Source, Usage
from gleitzeit_nb.llm.receipts import exchange
from gleitzeit_nb.llm.recording import Recording

if TYPE_CHECKING:
    from typing_extensions import Self

    from gleitzeit_nb.llm.parts import Parts

_NOWHERE = Route(0.0, (), (), "")


@dataclass(eq=False)
class GivenAgain:
    """A request for which perhaps nobody has to be asked. What ends it within the `with` leaves its one receipt.

    `source`: where the answer is looked for; "instance": not known yet.
    """

    parts: Parts
    request: LLMRequest
    source: Source = "instance"
    began_at: float = field(init=False)
    receipt: Receipt | None = None

    def __post_init__(self) -> None:
        self.began_at = self.parts.clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        if exc is not None and self.receipt is None:
            self._end("failed" if isinstance(exc, Exception) else "cancelled", type(exc).__name__)

    def chunks(self, kept: KeptReply) -> Iterator[Chunk]:
        """The answer in one piece, then the reply."""
        if kept.text or kept.thinking:
            yield Chunk(text=kept.text, thinking=kept.thinking)
        receipt = self._end("ok", "", kept)
        said = {name: value for name, value in vars(kept).items() if name != "digest"}
        yield Chunk(reply=Reply(**said, route=_NOWHERE, elapsed_s=receipt.timings.total_s, receipt=receipt, source=self.source))

    def _end(self, outcome: Outcome, error: str, kept: KeptReply | None = None) -> Receipt:
        request = self.request
        self.receipt = Receipt(
            request_id=request.id,
            at=time.time(),
            kind=request.kind,
            label=request.label,
            session=request.session or "",
            outcome=outcome,
            error=error,
            model=kept.model if kept is not None else request.model,
            digest=kept.digest if kept is not None else "",
            instance="",
            strategy="",
            cold=None,
            candidates=(),
            tries=(),
            timings=Timings(0.0, self.parts.clock() - self.began_at),
            usage=Usage(),
            gpu=Gpu(),
            done_reason=kept.done_reason if kept is not None else "",
            alias=kept.alias if kept is not None else request.alias,
            source=self.source,
        )
        self.parts.receipts.keep(self.receipt, self.parts.settings.receipts, lambda: exchange(request, kept))
        return self.receipt


async def replayed(parts: Parts, recording: Recording, request: LLMRequest) -> AsyncGenerator[Chunk, None]:
    """What became of it when it was recorded: its answer, or its error. Raises ReplayMissError."""
    with GivenAgain(parts, request, "recording") as given:
        kept = recording.find(request)
        if isinstance(kept, KeptFailure):
            if kept.partial:
                yield Chunk(text=kept.partial)
            raise kept.error()
        for chunk in given.chunks(kept):
            yield chunk
