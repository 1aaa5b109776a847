"""llama-server's answers in one form: pieces of text, thinking, tool calls and logprobs, and counts at the end."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from gleitzeit_nb.embedded.child import Child
from gleitzeit_nb.embedded.wire import Chunk, nanoseconds, without_zeros


@dataclass(frozen=True)
class Piece:
    """A part of one answer as it arrives."""

    text: str = ""
    thinking: str = ""
    logprobs: tuple[Mapping[str, Any], ...] = ()

    @property
    def empty(self) -> bool:
        return not (self.text or self.thinking or self.logprobs)


@dataclass
class Ending:
    """What is known once the answer is whole."""

    reason: str = "stop"
    timings: Mapping[str, Any] = field(default_factory=dict)
    tool_calls: list[dict[str, Any]] = field(default_factory=list)

    def metrics(self, *, total_s: float, load_s: float) -> Chunk:
        """Ollama's counts and durations (ns). Cached prompt tokens count as evaluated, as in Ollama since June 2026."""
        counts = self.timings
        return without_zeros(
            {
                "total_duration": nanoseconds(total_s),
                "load_duration": nanoseconds(load_s),
                "prompt_eval_count": int(counts.get("prompt_n", 0)) + int(counts.get("cache_n", 0)),
                "prompt_eval_duration": nanoseconds(float(counts.get("prompt_ms", 0)) / 1e3),
                "eval_count": int(counts.get("predicted_n", 0)),
                "eval_duration": nanoseconds(float(counts.get("predicted_ms", 0)) / 1e3),
            }
        )


async def chat_pieces(child: Child, body: Mapping[str, Any], ending: Ending) -> AsyncGenerator[Piece, None]:
    """Pieces of `/v1/chat/completions`; `ending` is filled on the way."""
    async with aclosing(child.stream("/v1/chat/completions", body)) as events:
        async for event in events:
            ending.timings = event.get("timings") or ending.timings
            for choice in event.get("choices") or ():
                delta = choice.get("delta") or {}
                if choice.get("finish_reason"):
                    ending.reason = "length" if choice["finish_reason"] == "length" else "stop"
                _add_tool_calls(ending.tool_calls, delta.get("tool_calls") or ())
                piece = Piece(
                    text=delta.get("content") or "",
                    thinking=delta.get("reasoning_content") or "",
                    logprobs=tuple((choice.get("logprobs") or {}).get("content") or ()),
                )
                if not piece.empty:
                    yield piece


async def completion_pieces(child: Child, body: Mapping[str, Any], ending: Ending) -> AsyncGenerator[Piece, None]:
    """Pieces of `/completion`; `ending` is filled on the way."""
    async with aclosing(child.stream("/completion", body)) as events:
        async for event in events:
            ending.timings = event.get("timings") or ending.timings
            if event.get("stop"):
                ending.reason = "length" if event.get("stop_type") == "limit" else "stop"
            piece = Piece(text=event.get("content") or "", logprobs=tuple(event.get("completion_probabilities") or ()))
            if not piece.empty:
                yield piece


def _add_tool_calls(calls: list[dict[str, Any]], deltas: Any) -> None:
    """Tool calls come in parts, by index: the name once, the arguments as growing text."""
    for delta in deltas:
        index = int(delta.get("index", len(calls)))
        while len(calls) <= index:
            calls.append({"id": "", "name": "", "arguments": ""})
        function = delta.get("function") or {}
        calls[index]["id"] = delta.get("id") or calls[index]["id"]
        calls[index]["name"] += function.get("name") or ""
        calls[index]["arguments"] += function.get("arguments") or ""


def ollama_tool_calls(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ollama's form: arguments as an object. Text that is no JSON object is kept under `arguments`."""
    result = []
    for index, call in enumerate(calls):
        try:
            arguments = json.loads(call["arguments"] or "{}")
        except ValueError:
            arguments = None
        if not isinstance(arguments, dict):
            arguments = {"arguments": call["arguments"]}
        result.append({"id": call["id"], "function": {"index": index, "name": call["name"], "arguments": arguments}})
    return result


def ollama_logprobs(entries: tuple[Mapping[str, Any], ...], top: int) -> list[dict[str, Any]]:
    """Ollama's `logprobs`; the alternatives only as many as were asked for."""
    result = []
    for entry in entries:
        row = _logprob(entry)
        if top:
            row["top_logprobs"] = [_logprob(other) for other in (entry.get("top_logprobs") or ())[:top]]
        result.append(row)
    return result


def _logprob(entry: Mapping[str, Any]) -> dict[str, Any]:
    row = {"token": entry.get("token", ""), "logprob": entry.get("logprob", 0.0)}
    if entry.get("bytes"):
        row["bytes"] = entry["bytes"]
    return row
