"""What a pool remembers of answers: the cache on disk, a recording that is being written, or one that answers for everybody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path

from gleitzeit_nb.core.instances import Instance
from gleitzeit_nb.core.models import canonical
from gleitzeit_nb.core.remembering import KeptReply, fingerprint, has_tool_results
from gleitzeit_nb.core.requests import Chunk, LLMRequest, Reply
from gleitzeit_nb.core.settings import PoolSettings
from gleitzeit_nb.llm.cache import AnswerCache
from gleitzeit_nb.llm.recording import Recorder, Recording


@dataclass
class Memory:
    cache: AnswerCache
    always: bool = False  # also for requests that do not say
    recorder: Recorder | None = None
    recording: Recording | None = None

    @classmethod
    def of(cls, settings: PoolSettings) -> Memory:
        """Raises ConfigError for a recording that cannot be written or read."""
        return cls(
            AnswerCache(settings.cache.max_bytes),
            settings.cache.enabled,
            Recorder(Path(settings.record)) if settings.record else None,
            Recording(Path(settings.replay)) if settings.replay else None,
        )

    def keeps(self, request: LLMRequest) -> bool:
        """Whether its answer may come from the cache and go there. Never what a function has had a part in."""
        wanted = self.always if request.cache is None else request.cache
        return wanted and not has_tool_results(request)


async def kept_answer(cache: AnswerCache, request: LLMRequest, instances: tuple[Instance, ...]) -> KeptReply | None:
    """What the model, as it is now, has answered to this before. `request` names models, not aliases."""
    for digest, key in _keys(request, instances):
        kept = await asyncio.to_thread(cache.get, key)
        if kept is not None:
            return replace(kept, alias=request.alias, digest=digest)
    return None


async def keeping(
    cache: AnswerCache, request: LLMRequest, instances: tuple[Instance, ...], chunks: AsyncGenerator[Chunk, None]
) -> AsyncGenerator[Chunk, None]:
    """The same answer, which is put into the cache on its way."""
    async with aclosing(chunks):
        async for chunk in chunks:
            if chunk.reply is not None and chunk.reply.done_reason not in ("load", "unload"):
                await asyncio.to_thread(cache.put, _own_key(request, instances, chunk.reply), chunk.reply)
            yield chunk


def _keys(request: LLMRequest, instances: tuple[Instance, ...]) -> list[tuple[str, str]]:
    """(digest, key): one for each digest that the model has somewhere; of several models, those of the first that somebody has."""
    chain = (request.model, *request.fallback_models)
    model = next((each for each in chain if any(instance.has_model(canonical(each)) for instance in instances)), request.model)
    digests = {digest for instance in instances if (digest := _digest(instance, model))}
    return [(digest, fingerprint(request, model, digest)) for digest in sorted(digests) or [""]]


def _own_key(request: LLMRequest, instances: tuple[Instance, ...], reply: Reply) -> str:
    """By the model that answered, as it is on the instance that did."""
    digest = next((_digest(each, reply.model) for each in instances if each.id == reply.instance), "")
    return fingerprint(request, reply.model, digest)


def _digest(instance: Instance, model: str) -> str:
    return instance.digest_of(canonical(model))
