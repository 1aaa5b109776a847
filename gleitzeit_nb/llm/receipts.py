"""Writing a receipt at the end of every request, and keeping the last ones."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from gleitzeit_nb.core.receipts import Gpu, Outcome, Receipt, ReceiptSettings, Timings, candidates_of, gpu_of
from gleitzeit_nb.core.requests import LLMRequest, Usage
from gleitzeit_nb.errors import RequestCancelledError
from gleitzeit_nb.llm.receipt_file import ReceiptFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gleitzeit_nb.llm.journey import Journey

KEPT = 500


class Said(Protocol):
    """What an answer consists of, however it was come by."""

    @property
    def text(self) -> str: ...

    @property
    def thinking(self) -> str: ...

    @property
    def tool_calls(self) -> Sequence[Mapping[str, Any]]: ...


class Receipts:
    """The last receipts of a pool, or of the pools that an engine has had one after the other."""

    def __init__(self, kept: int = KEPT) -> None:
        self._last: deque[Receipt] = deque(maxlen=kept)
        self._file: ReceiptFile | None = None

    def __repr__(self) -> str:
        return f"<Receipts {len(self._last)} kept>"

    def __iter__(self) -> Iterator[Receipt]:
        """The newest first."""
        return iter(tuple(reversed(self._last)))

    def answered(self, journey: Journey) -> Receipt:
        """The request has its answer, whole."""
        return self._ended(journey, "ok", "")

    def failed(self, journey: Journey, exc: BaseException) -> None:
        """The request ended without an answer. What happens after its answer was handed over is not its business any more."""
        if journey.receipt is not None:
            return
        cancelled = isinstance(exc, RequestCancelledError) or not isinstance(exc, Exception)  # asyncio's cancel, a closed iterator, Ctrl-C
        journey.note_end("cancelled" if cancelled else type(exc).__name__)
        self._ended(journey, "cancelled" if cancelled else "failed", type(exc).__name__)

    def _ended(self, journey: Journey, outcome: Outcome, error: str) -> Receipt:
        receipt = journey.receipt = _receipt_of(journey, outcome, error)
        answer = journey.asked.answer if journey.asked is not None else None
        self.keep(receipt, journey.parts.settings.receipts, lambda: exchange(journey.request, answer))
        return receipt

    def keep(self, receipt: Receipt, settings: ReceiptSettings, said: Callable[[], dict[str, Any]]) -> None:
        """In memory, and in the file if there is one. `said`: what was asked and answered, for those who want that as well."""
        self._last.append(receipt)
        if settings.file:
            if self._file is None or self._file.settings != settings:
                self._file = ReceiptFile(settings)
            self._file.write({**receipt.to_dict(), **(said() if settings.prompts else {})})


def exchange(request: LLMRequest, answer: Said | None) -> dict[str, Any]:
    """What was asked and answered. Images are told by their number: they are large, and a file of receipts is no place for them."""
    messages = [{**each, "images": len(each["images"])} if each.get("images") else dict(each) for each in request.messages]
    asked = {"messages": messages, "prompt": request.prompt, "system": request.system, "inputs": list(request.inputs)}
    options = {"options": dict(request.options), "format": request.format, "images": len(request.images)}
    return {
        "request": {name: value for name, value in (asked | options).items() if value},
        "answer": {"text": answer.text, "thinking": answer.thinking, "tool_calls": answer.tool_calls} if answer is not None else None,
    }


def _receipt_of(journey: Journey, outcome: Outcome, error: str) -> Receipt:
    request, asked = journey.request, journey.asked
    lease = asked.lease if asked is not None else None
    return Receipt(
        request_id=request.id,
        at=time.time(),
        kind=request.kind,
        label=request.label,
        session=request.session or "",
        outcome=outcome,
        error=error,
        model=journey.model,
        digest=lease.instance.digest_of(lease.model) if lease is not None else "",
        instance=lease.instance.id if lease is not None else "",
        strategy=journey.strategy,
        cold=lease.cold if lease is not None else None,
        candidates=candidates_of(journey.verdicts, journey.scores),
        tries=tuple(journey.attempts),
        timings=Timings(journey.queue_s, journey.parts.clock() - journey.started_at, journey.first_token_s),
        usage=asked.answer.usage if asked is not None else Usage(),
        gpu=gpu_of(lease.instance, lease.model) if lease is not None else Gpu(),
        done_reason=asked.answer.done_reason if asked is not None else "",
        alias=request.alias,
    )
