"""What a request asks of an instance: what it must have, and what it would rather have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gleitzeit_nb.core.abilities import wanted_by
from gleitzeit_nb.core.models import canonical
from gleitzeit_nb.core.requests import LLMRequest, Message
from gleitzeit_nb.core.runner_options import context_of

BEGINNING = 256  # characters of a text by which a conversation is told from others
CHARS_PER_TOKEN = 4.0  # of ordinary English text; only used to compare instances with each other


@dataclass(frozen=True)
class Needs:
    """What an instance must have: nothing here is a matter of taste. Equal needs wait in one line. `model` is canonical; "": any."""

    model: str
    tags: frozenset[str] = frozenset()
    instance: str | None = None
    require_gpu: bool = False
    private: bool = False
    capabilities: frozenset[str] = frozenset()
    min_context: int | None = None
    may_reload: bool = False  # the model may be loaded anew for it
    excluded: frozenset[str] = frozenset()  # have failed this request already
    patient: bool = False  # it has tried everybody and comes back: it waits for an ejection to end

    @property
    def ask_abilities(self) -> bool:
        """Whether it takes more than what every model for text, or for embeddings, can do."""
        return self.min_context is not None or bool(self.capabilities - {"completion", "embedding"})

    @classmethod
    def of(cls, request: LLMRequest, model: str, excluded: Iterable[str] = (), *, patient: bool = False) -> Needs:
        """What `request` needs when it asks for `model`."""
        return cls(
            model=canonical(model),
            tags=frozenset(request.tags),
            instance=request.instance,
            require_gpu=request.require_gpu,
            private=request.private,
            capabilities=wanted_by(request),
            min_context=request.min_context,
            may_reload=request.force_ctx,
            excluded=frozenset(excluded),
            patient=patient,
        )


@dataclass(frozen=True)
class Wishes:
    """What a request would rather have. It chooses among instances and never excludes one, so it is the waiter's, not the line's.

    `conversation` is the same number for requests that begin alike, `shared_tokens` what an instance that has answered the
    last of them need not read again.
    """

    strategy: str = "auto"
    preference: str | None = None
    max_latency_s: float | None = None
    context: int | None = None  # in tokens; rather where the model is loaded with as much
    tokens: int | None = None  # the most that it wants; None: as many as usual, 0: none (an embedding)
    conversation: int | None = None
    shared_tokens: float = 0.0
    images: bool = False
    embeds: bool = False

    @classmethod
    def of(cls, request: LLMRequest, strategy: str) -> Wishes:
        embeds = request.kind == "embed"
        conversation, shared_chars = (None, 0) if embeds else _conversation(request)
        return cls(
            strategy=strategy,
            preference=request.instance_preference,
            max_latency_s=None if request.max_latency_ms is None else request.max_latency_ms / 1000,
            context=max(filter(None, (request.min_context, context_of(request.options))), default=None),
            tokens=0 if embeds else _limit(request.options.get("num_predict")),
            conversation=conversation,
            shared_tokens=shared_chars / CHARS_PER_TOKEN,
            images=bool(request.images) or any(message.get("images") for message in request.messages),
            embeds=embeds,
        )


def _limit(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _conversation(request: LLMRequest) -> tuple[int, int]:
    """(what tells its conversation from others, how many characters of it were sent before if this is not its first turn)."""
    if request.kind == "generate":
        texts = [request.system or "", request.prompt or ""]
        return hash((request.session, *(text[:BEGINNING] for text in texts))), min(sum(map(len, texts)), BEGINNING)
    texts = [request.system or "", *map(_text, request.messages)]
    roles = [message.get("role") for message in request.messages]
    first = roles.index("user") if "user" in roles else len(roles) - 1
    beginning = tuple(text[:BEGINNING] for text in texts[: first + 2])
    before = texts[:-1] if "assistant" in roles or request.session is not None else []
    return hash((request.session, *beginning)), max(sum(map(len, before)), min(sum(map(len, texts)), BEGINNING))


def _text(message: Message) -> str:
    content = message.get("content")
    return content if isinstance(content, str) else ""
