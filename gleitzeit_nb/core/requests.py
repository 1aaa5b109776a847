"""What is asked of the pool, and what comes back: plain values, made once from the public keyword faces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

Role = Literal["system", "user", "assistant", "tool"]
Message = Mapping[str, Any]  # {"role", "content", "images"?, "tool_calls"?, …} as in Ollama's chat API


class RequestOptions(TypedDict, total=False):
    """The keywords that every call of the pool takes beside model and messages."""

    tags: Sequence[str]
    instance_tags: Sequence[str]  # synonym of `tags`
    strategy: str
    load_balancing_strategy: str  # synonym of `strategy`
    instance: str | None  # hard: this instance or nobody
    instance_preference: str | None  # a preference, never a filter
    fallback_model: str | Sequence[str] | None
    require_gpu: bool
    max_latency: float | None  # ms; a preference, never a filter
    deadline: float | None  # s, over queue and all tries
    priority: int
    session: str | None
    format: str | Mapping[str, Any] | None  # "json" or a JSON Schema
    options: Mapping[str, Any] | None  # Ollama's model options
    keep_alive: str | float | None
    think: bool | str | None
    tools: Sequence[Mapping[str, Any]] | None
    images: Sequence[str] | None  # base64; added to the last user message


@dataclass(frozen=True)
class LLMRequest:
    """What is wanted. `id` names the request in events, progress and the dashboard."""

    id: str
    kind: Literal["chat", "generate", "embed"]
    model: str
    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    system: str | None = None
    inputs: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    strategy: str | None = None
    instance: str | None = None
    instance_preference: str | None = None
    fallback_models: tuple[str, ...] = ()
    require_gpu: bool = False
    max_latency_ms: float | None = None
    deadline_s: float | None = None
    priority: int = 0
    session: str | None = None
    format: str | Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    keep_alive: str | float | None = None
    think: bool | str | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    label: str = ""  # what the dashboard calls it, such as "[12] %%llm"


@dataclass(frozen=True)
class Usage:
    """Ollama's counts and durations of one answer; durations in s. None: the server did not say."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_s: float | None = None
    load_s: float | None = None
    prompt_s: float | None = None
    completion_s: float | None = None

    @property
    def tokens_per_s(self) -> float | None:
        if not self.completion_tokens or not self.completion_s:
            return None
        return self.completion_tokens / self.completion_s


@dataclass(frozen=True)
class Attempt:
    """One try of one request: who was asked, how it ended ("ok", or the cause of the failure), and after how long."""

    instance: str
    outcome: str
    detail: str
    elapsed_s: float


@dataclass(frozen=True)
class Route:
    """Who answered and why: wait in the queue, every try, every candidate's verdict at the last pick."""

    queue_s: float
    attempts: tuple[Attempt, ...]
    candidates: tuple[tuple[str, str], ...]  # (instance id, "picked: …" or why not)
    strategy: str

    @property
    def retries(self) -> int:
        return max(0, len(self.attempts) - 1)


@dataclass(frozen=True)
class Reply:
    """One whole answer. The text is untrusted. `elapsed_s` counts from the request's arrival at the pool."""

    text: str
    model: str
    instance: str
    usage: Usage
    route: Route
    elapsed_s: float
    done_reason: str = "stop"
    thinking: str = ""
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    embeddings: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class Chunk:
    """A piece of an answer as it arrives. The last one has no text and carries `reply`."""

    text: str = ""
    thinking: str = ""
    reply: Reply | None = None
