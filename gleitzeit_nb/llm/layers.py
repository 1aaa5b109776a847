"""What lies around a journey: the steps of a request that are not about instances.

shaped (a schema: read, repair once) → recorded or replayed → by its models' own names → cached → the journey
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from gleitzeit_nb.core.requests import Chunk, LLMRequest
from gleitzeit_nb.llm.aliases import without_aliases
from gleitzeit_nb.llm.defaults import default_model
from gleitzeit_nb.llm.given_again import GivenAgain, replayed
from gleitzeit_nb.llm.journey import Journey
from gleitzeit_nb.llm.memory import keeping, kept_answer
from gleitzeit_nb.llm.parts import Parts
from gleitzeit_nb.llm.schema import shaped


def answers(parts: Parts, request: LLMRequest, *, in_pieces: bool = True) -> AsyncGenerator[Chunk, None]:
    """The pieces of the answer, unless nobody wants them; the last one carries the reply. Most have nothing around their journey."""

    def ask(each: LLMRequest) -> AsyncGenerator[Chunk, None]:
        return _remembered(parts, each, in_pieces)

    if request.schema is not None:
        return shaped(request, request.schema, ask, parts.clock)
    return ask(request)


def _remembered(parts: Parts, request: LLMRequest, in_pieces: bool) -> AsyncGenerator[Chunk, None]:
    """A recording knows requests as they were asked: what an alias stands for may change."""
    memory = parts.memory
    if memory.recording is not None:
        return replayed(parts, memory.recording, request)
    chunks = (_cached if memory.keeps(request) else _uncached)(parts, request, in_pieces)
    return chunks if memory.recorder is None else memory.recorder.recorded(request, chunks)


def _uncached(parts: Parts, request: LLMRequest, in_pieces: bool) -> AsyncGenerator[Chunk, None]:
    return Journey(parts, without_aliases(parts, request), in_pieces).run()


async def _cached(parts: Parts, request: LLMRequest, in_pieces: bool) -> AsyncGenerator[Chunk, None]:
    cache, instances = parts.memory.cache, parts.members.instances
    request = without_aliases(parts, request)
    with GivenAgain(parts, request) as given:
        if not request.model:
            request = replace(request, model=await default_model(parts.settings, parts.members, parts.health, request))
        kept = await kept_answer(cache, request, instances)
        if kept is not None:
            given.source = "cache"
            for chunk in given.chunks(kept):
                yield chunk
            return
    async with aclosing(keeping(cache, request, instances, Journey(parts, request, in_pieces).run())) as chunks:
        async for chunk in chunks:
            yield chunk
