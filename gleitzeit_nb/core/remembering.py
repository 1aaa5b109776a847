"""Answers that are kept: how much, and from when on two requests are the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gleitzeit_nb.core.models import canonical
from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.core.requests import LLMRequest, Reply, Usage

EXCERPT_CHARS = 80


@dataclass(frozen=True)
class CacheSettings:
    """The answers on disk. `enabled`: also for requests that do not say."""

    enabled: bool = False
    max_bytes: int = 256 << 20


def fingerprint(request: LLMRequest, model: str, digest: str = "") -> str:
    """The same for two requests that ask the same model the same. Who should answer, and how soon, is no part of it.

    Raises TypeError or ValueError for what is no JSON, and could not be sent either.
    """
    said = {
        "kind": request.kind,
        "model": canonical(model),
        "digest": digest,
        "messages": request.messages,
        "prompt": request.prompt,
        "system": request.system,
        "inputs": request.inputs,
        "images": request.images,
        "suffix": request.suffix,
        "raw": request.raw,
        "format": request.format,
        "options": request.options,
        "think": request.think,
        "tools": request.tools,
        "logprobs": request.logprobs,
    }
    return _hashed(said)


def demands(request: LLMRequest) -> str:
    """The same for two requests that may be answered by the same instances, within the same time: what else decides about a failure."""
    names = ("tags", "instance", "fallback_models", "require_gpu", "min_context", "private", "deadline_s")
    return _hashed({name: getattr(request, name) for name in names})[:16]


def _hashed(said: Mapping[str, Any]) -> str:
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


def has_tool_results(request: LLMRequest) -> bool:
    """Whether a function has run for it: what that said may be otherwise tomorrow."""
    return any(message.get("role") == "tool" for message in request.messages)


def only_loads(request: LLMRequest) -> bool:
    """Whether it asks nothing: Ollama loads the model for it, and no more."""
    return not (request.messages or request.prompt or request.inputs)


def excerpt(request: LLMRequest) -> str:
    """The beginning of what is asked, for people."""
    said = [message.get("content") for message in request.messages if message.get("role") == "user"]
    text = next((each for each in (*reversed(said), request.prompt, *request.inputs) if isinstance(each, str)), "")
    return one_line(text, EXCERPT_CHARS)


# -- replies as plain JSON ----------------------------------------------------------------------------------------------------


_TEXTS = ("text", "model", "instance", "done_reason", "thinking", "alias", "digest")


def plain_reply(reply: Reply) -> dict[str, Any]:
    """What is kept of a reply: what was said, by whom, and the server's counts. Not how the pool came to it."""
    usage = {name: value for name, value in vars(reply.usage).items() if value is not None}
    lists = {"tool_calls": reply.tool_calls, "embeddings": reply.embeddings, "logprobs": reply.logprobs}
    texts = {"thinking": reply.thinking, "alias": reply.alias, "digest": reply.receipt.digest if reply.receipt is not None else ""}
    kept = {name: value for name, value in (texts | lists).items() if value}
    return {"text": reply.text, "model": reply.model, "instance": reply.instance, "done_reason": reply.done_reason, "usage": usage, **kept}


@dataclass(frozen=True)
class KeptReply:
    """What `plain_reply` wrote, read again. `digest`: of the model that answered; "" where that is not known."""

    text: str
    model: str
    instance: str
    done_reason: str
    usage: Usage
    thinking: str = ""
    alias: str = ""
    digest: str = ""
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    embeddings: tuple[tuple[float, ...], ...] = ()
    logprobs: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def read(cls, plain: object) -> KeptReply:
        """Raises ValueError for what `plain_reply` cannot have written."""
        if not isinstance(plain, Mapping):
            raise ValueError("no reply in it")
        texts = {name: plain.get(name, "") for name in _TEXTS}
        usage = plain.get("usage", {})
        if not all(isinstance(each, str) for each in texts.values()) or not _is_usage(usage):
            raise ValueError("a reply of the wrong form")
        calls, logprobs = (_mappings(plain.get(name, [])) for name in ("tool_calls", "logprobs"))
        vectors = _vectors(plain.get("embeddings", []))
        return cls(**texts, usage=Usage(**usage), tool_calls=calls, logprobs=logprobs, embeddings=vectors)


def _is_usage(value: object) -> bool:
    known = Usage.__dataclass_fields__
    return isinstance(value, Mapping) and all(name in known and isinstance(each, (int, float)) for name, each in value.items())


def _vectors(value: object) -> tuple[tuple[float, ...], ...]:
    if not isinstance(value, list) or not all(isinstance(row, list) and all(type(each) in (int, float) for each in row) for row in value):
        raise ValueError("vectors of the wrong form")
    try:
        return tuple(tuple(map(float, row)) for row in value)
    except OverflowError:
        raise ValueError("vectors of numbers that are too large") from None


def _mappings(value: object) -> tuple[Mapping[str, Any], ...]:
    if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
        raise ValueError("lists of the wrong form")
    return tuple(value)
