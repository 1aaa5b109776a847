"""The guide's task interface: a method's name and a dictionary in, a dictionary out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from gleitzeit_nb.config import DEFAULT_OLLAMA_URL
from gleitzeit_nb.core.requests import LLMRequest, Reply
from gleitzeit_nb.llm.named_files import Folder
from gleitzeit_nb.llm.params import kind_of, request_of
from gleitzeit_nb.llm.pool import OllamaPoolManager

if TYPE_CHECKING:
    from typing_extensions import Self


class OllamaPoolProvider:
    """`execute` over a pool: one that is given, or one of its own, made from the guide's dictionaries and ended by `close`."""

    def __init__(
        self,
        provider_id: str = "ollama_pool",
        instances: Sequence[Mapping[str, Any]] | None = None,
        load_balancing: Mapping[str, Any] | None = None,
        health_check_interval: float | None = None,
        circuit_breaker_config: Mapping[str, Any] | None = None,
        *,
        pool: OllamaPoolManager | None = None,
    ) -> None:
        if pool is not None and instances is not None:
            raise TypeError("give either a pool or instances, not both")
        self.provider_id = provider_id
        self._owns = pool is None
        self.pool = pool or OllamaPoolManager(instances, load_balancing, health_check_interval, circuit_breaker_config)
        self._asked = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.provider_id!r} on {self.pool!r}>"

    async def __aenter__(self) -> Self:
        await self.initialize()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def initialize(self) -> None:
        await self.pool.initialize()

    async def close(self) -> None:
        """End the pool, if it is this provider's own."""
        if self._owns:
            await self.pool.close()

    async def execute(self, method: str, params: Mapping[str, Any], *, files_from: Folder | None = None) -> dict[str, Any]:
        """Ask. `params`: `model`, what the method takes, the guide's routing keys, and Ollama's common options by name.

        Pictures and schemas that `params` names as files must lie beneath the folder `files_from`; without it, none is read.

        Raises ValueError for an unknown method, TypeError for an unknown parameter, and the pool's errors.
        """
        kind = kind_of(method)
        self._asked += 1
        request_id = f"{self.provider_id}-{self._asked}"
        request = request_of(request_id, kind, params, f"{request_id} {kind}", files_from=files_from)
        return _answer_of(request, await self.pool.complete_request(request))


class OllamaProvider(OllamaPoolProvider):
    """One server, by its address: a pool of one, so that moving to several changes a constructor and nothing else."""

    def __init__(self, provider_id: str = "ollama", ollama_url: str = DEFAULT_OLLAMA_URL) -> None:
        super().__init__(provider_id, [{"id": "ollama", "url": ollama_url}])


def _answer_of(request: LLMRequest, reply: Reply) -> dict[str, Any]:
    usage = reply.usage
    answer: dict[str, Any] = {
        "response": reply.text,
        "model": reply.model,
        "instance": reply.instance,
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_duration": usage.total_s,
            "tokens_per_s": usage.tokens_per_s,
        },
        "done_reason": reply.done_reason,
        "elapsed": reply.elapsed_s,
        "retries": reply.route.retries,
    }
    if request.kind == "chat":
        answer["message"] = {"role": "assistant", "content": reply.text}
    if request.kind == "embed":
        answer["embeddings"] = [list(vector) for vector in reply.embeddings]
    if reply.thinking:
        answer["thinking"] = reply.thinking
    if reply.tool_calls:
        answer["tool_calls"] = [dict(call) for call in reply.tool_calls]
    if request.schema is not None:
        answer["parsed"] = reply.parsed
    if reply.logprobs:
        answer["logprobs"] = [dict(each) for each in reply.logprobs]
    if reply.notices:
        answer["notices"] = list(reply.notices)
    return answer
