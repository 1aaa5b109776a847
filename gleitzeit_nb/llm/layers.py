"""What lies around a journey: the steps of a request that are not about instances."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from gleitzeit_nb.core.requests import Chunk, LLMRequest
from gleitzeit_nb.llm.aliases import without_aliases
from gleitzeit_nb.llm.journey import Journey
from gleitzeit_nb.llm.parts import Parts
from gleitzeit_nb.llm.schema import shaped


def answers(parts: Parts, request: LLMRequest) -> AsyncGenerator[Chunk, None]:
    """The pieces of the answer; the last one carries the reply. Most requests have nothing around their journey."""

    def ask(each: LLMRequest) -> AsyncGenerator[Chunk, None]:
        return Journey(parts, without_aliases(parts, each)).run()

    if request.schema is not None:
        return shaped(request, request.schema, ask, parts.clock)
    return ask(request)
