"""What is sent for a request, and what the lines of its answer say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gleitzeit_nb.core.faults import Cause
from gleitzeit_nb.core.keep_alive import on_the_wire
from gleitzeit_nb.core.requests import Chunk, LLMRequest, Usage
from gleitzeit_nb.core.wire_numbers import count
from gleitzeit_nb.llm.faults import InstanceFault

PATHS: Mapping[str, str] = {"chat": "/api/chat", "generate": "/api/generate", "embed": "/api/embed"}
NANO = 1e-9


def body_of(request: LLMRequest, model: str, options: Mapping[str, Any], keep_alive_s: float | None) -> dict[str, Any]:
    """The JSON body for Ollama; what nobody said is left out. Answers are always streamed, whoever wants them whole."""
    body: dict[str, Any] = {"model": model}
    if request.kind == "embed":
        body["input"] = list(request.inputs)
    else:
        body["stream"] = True
        body.update(_chat_part(request) if request.kind == "chat" else _generate_part(request))
        optional = {"format": request.format, "think": request.think}
        body.update({name: value for name, value in optional.items() if value is not None})
        if request.logprobs is not None:
            body["logprobs"] = True
            body.update({"top_logprobs": request.logprobs} if request.logprobs else {})
    if options:
        body["options"] = dict(options)
    if keep_alive_s is not None:
        body["keep_alive"] = on_the_wire(keep_alive_s)
    return body


def _chat_part(request: LLMRequest) -> dict[str, Any]:
    messages = [dict(message) for message in request.messages]
    if request.system is not None:
        messages.insert(0, {"role": "system", "content": request.system})
    return {"messages": messages, "tools": list(request.tools)} if request.tools else {"messages": messages}


def _generate_part(request: LLMRequest) -> dict[str, Any]:
    part: dict[str, Any] = {"prompt": request.prompt or ""}
    if request.system is not None:
        part["system"] = request.system
    if request.suffix is not None:
        part["suffix"] = request.suffix
    if request.raw:
        part["raw"] = True
    if request.images:
        part["images"] = list(request.images)
    return part


@dataclass
class Answer:
    """One answer as it comes in. `feed` takes its lines in order; `close` when there are no more."""

    is_embedding: bool = False
    complete: bool = False
    done_reason: str = ""
    usage: Usage = field(default_factory=Usage)
    tool_calls: list[Mapping[str, Any]] = field(default_factory=list)
    embeddings: tuple[tuple[float, ...], ...] = ()
    logprobs: list[Mapping[str, Any]] = field(default_factory=list)
    _pieces: list[Chunk] = field(default_factory=list)

    @property
    def visible(self) -> bool:
        """Something of it is there to be shown."""
        return bool(self._pieces)

    @property
    def text(self) -> str:
        return "".join([piece.text for piece in self._pieces])

    @property
    def thinking(self) -> str:
        return "".join([piece.thinking for piece in self._pieces])

    def feed(self, lines: Iterable[Mapping[str, Any]]) -> list[Chunk]:
        """Take lines; the pieces of text and thought in them."""
        if self.is_embedding:
            for line in lines:
                self._feed_embeddings(line)
            return []
        pieces = []
        for line in lines:
            message = line.get("message")
            part = message if isinstance(message, dict) else line
            text, thought = part.get("content") or part.get("response"), part.get("thinking")
            if thought or not isinstance(text, str):
                text, thought = (each if isinstance(each, str) else "" for each in (text, thought))
                if text or thought:
                    pieces.append(Chunk(text, thought))
            elif text:
                pieces.append(Chunk(text))
            if "tool_calls" in part:
                self.tool_calls += _mappings(part["tool_calls"])
            if "logprobs" in line:
                self.logprobs += _mappings(line["logprobs"])
            if line.get("done") is True:
                self._finish(line)
        self._pieces += pieces
        return pieces

    def close(self) -> None:
        """No more lines. Raises unless the answer said that it is complete."""
        if not self.complete:
            raise InstanceFault(Cause.UNFINISHED)

    def _feed_embeddings(self, line: Mapping[str, Any]) -> None:
        vectors = line.get("embeddings")
        if not isinstance(vectors, list) or not all(isinstance(vector, list) for vector in vectors):
            raise InstanceFault(Cause.BAD_BODY, "no embeddings in it")
        try:
            self.embeddings = tuple(tuple(map(float, vector)) for vector in vectors)
        except (TypeError, ValueError, OverflowError) as exc:
            raise InstanceFault(Cause.BAD_BODY, "embeddings that are not numbers") from exc
        self._finish(line)

    def _finish(self, line: Mapping[str, Any]) -> None:
        self.complete = True
        reason = line.get("done_reason")
        self.done_reason = reason[:40] if isinstance(reason, str) else "stop"
        self.usage = usage_of(line)


def usage_of(line: Mapping[str, Any]) -> Usage:
    """Counts and durations (ns there, s here) of a last line; what is missing or no number stays unknown."""
    return Usage(
        prompt_tokens=count(line.get("prompt_eval_count")),
        completion_tokens=count(line.get("eval_count")),
        total_s=_seconds(line.get("total_duration")),
        load_s=_seconds(line.get("load_duration")),
        prompt_s=_seconds(line.get("prompt_eval_duration")),
        completion_s=_seconds(line.get("eval_duration")),
    )


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _seconds(value: object) -> float | None:
    nanoseconds = count(value)
    return None if nanoseconds is None else nanoseconds * NANO
