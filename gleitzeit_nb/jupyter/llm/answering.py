"""One answer of the pool, on its way into a view. Blocks the cell's thread; an interrupt cancels the request."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gleitzeit_nb.core.requests import LLMRequest, Reply
from gleitzeit_nb.errors import GleitzeitError, RequestCancelledError, StreamInterruptedError

if TYPE_CHECKING:
    from gleitzeit_nb.jupyter.display.answer import AnswerView
    from gleitzeit_nb.jupyter.front import Front

WHY: dict[type[GleitzeitError], str] = {StreamInterruptedError: "the answer was cut here", RequestCancelledError: "cancelled"}


@contextlib.contextmanager
def given_up(view: AnswerView, also: str = "") -> Iterator[None]:
    """Whatever ends the cell early leaves in the view what had come, and why there is no more. `also`: what else to say then."""
    more = f"; {also}" if also else ""
    try:
        yield
    except KeyboardInterrupt:
        view.give_up(f"interrupted{more}")
        raise
    except GleitzeitError as error:
        view.give_up(WHY.get(type(error), "failed") + more)
        raise


def answer_into(view: AnswerView, front: Front, request: LLMRequest) -> Reply:
    """Ask, and show the text while it arrives."""
    runtime, pool = front.runtime, front.engine.pool
    reply: Reply | None = None
    thought = 0
    with contextlib.closing(runtime.iterate(pool.stream_request(request))) as batches:
        for batch in batches:
            if any(chunk.restart for chunk in batch):
                begun = max(index for index, chunk in enumerate(batch) if chunk.restart)
                view.restart()
                batch, thought = batch[begun:], 0
            text = "".join(chunk.text for chunk in batch)
            thought += sum(len(chunk.thinking) for chunk in batch)
            reply = next((chunk.reply for chunk in batch if chunk.reply is not None), reply)
            view.add(text)
            if not text:
                view.status(f"thinking, {thought} characters" if thought else pool.describe(request.id))
    if reply is None:
        raise RuntimeError("the pool ended a request without a reply and without an error")
    return reply
