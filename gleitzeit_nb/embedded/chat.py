"""POST /api/chat."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from gleitzeit_nb.embedded.child import Child
from gleitzeit_nb.embedded.models import Loaded, ModelTable
from gleitzeit_nb.embedded.options import Options, parse_format, parse_keep_alive, parse_options, parse_think
from gleitzeit_nb.embedded.store import ServedModel
from gleitzeit_nb.embedded.upstream import Ending, Piece, chat_pieces, ollama_logprobs, ollama_tool_calls
from gleitzeit_nb.embedded.wire import Chunk, Fields, RefusalError, now

MAX_TOP_LOGPROBS = 20
_TEMPLATE_TOKENS = 64  # more than a chat template adds to one message


@dataclass(frozen=True)
class Common:
    """What chat and generate ask for alike. `schema` is None without a format."""

    model: str
    options: Options
    keep_alive_s: float | None
    think: bool | str | None
    schema: Mapping[str, Any] | None
    logprobs: bool
    top_logprobs: int
    truncate: bool
    render_only: bool

    @classmethod
    def read(cls, fields: Fields) -> Common:
        top = fields.integer("top_logprobs")
        if not 0 <= top <= MAX_TOP_LOGPROBS:
            raise RefusalError(400, f"top_logprobs must be between 0 and {MAX_TOP_LOGPROBS}")
        return cls(
            model=fields.model(),
            options=parse_options(fields.mapping("options")),
            keep_alive_s=parse_keep_alive(fields.raw("keep_alive")),
            think=parse_think(fields.raw("think")),
            schema=parse_format(fields.raw("format")),
            logprobs=fields.flag("logprobs", False),
            top_logprobs=top,
            truncate=fields.flag("truncate", True),
            render_only=fields.flag("_debug_render_only", False),
        )

    def check_thinking(self, model: ServedModel) -> None:
        if self.think and "thinking" not in model.capabilities:
            raise RefusalError(400, f'"{self.model}" does not support thinking')

    def chat_body(self, loaded: Loaded, messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """A request to `/v1/chat/completions`."""
        body: dict[str, Any] = {**self.options.for_child(loaded.num_ctx), "messages": list(messages)}
        if self.schema is not None:
            if self.schema:
                body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": self.schema}}
            else:
                body["response_format"] = {"type": "json_object"}
        if self.logprobs:
            body |= {"logprobs": True, "top_logprobs": max(self.top_logprobs, 1)}
        if self.think is not None:
            body["chat_template_kwargs"] = {"enable_thinking": bool(self.think)}
            if isinstance(self.think, str):
                body["chat_template_kwargs"]["reasoning_effort"] = self.think
        return body


async def chat(table: ModelTable, body: Mapping[str, Any]) -> Chunk | AsyncGenerator[Chunk, None]:
    """One object for a load or unload, else the stream of chunks."""
    started = time.monotonic()
    fields = Fields(body, "ChatRequest")
    common = Common.read(fields)
    messages = fields.objects("messages")
    tools = fields.objects("tools")
    if not common.model:
        raise RefusalError(400, "model is required")
    model = table.store.find(common.model)
    if model is None:
        raise RefusalError(404, f"model '{common.model}' not found")
    if not messages and common.keep_alive_s == 0:
        table.expire(model)
        return _single(common.model, "unload")
    common.check_thinking(model)
    if "completion" not in model.capabilities:
        raise RefusalError(400, f'"{common.model}" does not support chat')
    if tools and "tools" not in model.capabilities:
        raise RefusalError(400, f"{model.full_name} does not support tools")
    upstream_messages = [openai_message(message) for message in messages]
    if not messages:
        async with table.lease(model, common.options.num_ctx, common.keep_alive_s):
            return _single(common.model, "load")
    return _answer(table, model, common, upstream_messages, tools, started)


def _single(name: str, reason: str) -> Chunk:
    return {"model": name, "created_at": now(), "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": reason}


async def _answer(
    table: ModelTable,
    model: ServedModel,
    common: Common,
    messages: list[dict[str, Any]],
    tools: list[dict[str, Any]],
    started: float,
) -> AsyncGenerator[Chunk, None]:
    async with table.lease(model, common.options.num_ctx, common.keep_alive_s) as loaded:
        load_s = time.monotonic() - started  # the wait for a slot is in none of the parts, as in Ollama
        async with loaded.slots:
            kept = await fit(loaded, messages) if common.truncate else messages
            if common.render_only:
                debug = {"rendered_template": await rendered(loaded.child, kept)}
                yield {"model": common.model, "created_at": now(), "_debug_info": debug}
                return
            body = common.chat_body(loaded, kept)
            if tools:
                body["tools"] = tools
            ending = Ending()
            async with aclosing(chat_pieces(loaded.child, body, ending)) as pieces:
                async for piece in pieces:
                    yield _chunk(common, piece)
        last: Chunk = {"role": "assistant", "content": ""}
        if ending.tool_calls:
            last["tool_calls"] = ollama_tool_calls(ending.tool_calls)
        metrics = ending.metrics(total_s=time.monotonic() - started, load_s=load_s)
        yield {"model": common.model, "created_at": now(), "message": last, "done": True, "done_reason": ending.reason, **metrics}


def _chunk(common: Common, piece: Piece) -> Chunk:
    message: Chunk = {"role": "assistant", "content": piece.text}
    if piece.thinking:
        message["thinking"] = piece.thinking
    chunk: Chunk = {"model": common.model, "created_at": now(), "message": message, "done": False}
    if common.logprobs:
        chunk["logprobs"] = ollama_logprobs(piece.logprobs, common.top_logprobs)
    return chunk


async def rendered(child: Child, messages: Sequence[Mapping[str, Any]]) -> str:
    """The prompt that the model's chat template makes."""
    return str((await child.post("/apply-template", {"messages": list(messages)}))["prompt"])


async def token_count(child: Child, text: str) -> int:
    return len((await child.post("/tokenize", {"content": text, "parse_special": True}))["tokens"])


async def fit(loaded: Loaded, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Drop the oldest messages until the prompt fits, keeping system messages and the last one. Too long even so: as it is."""
    droppable = [index for index, message in enumerate(messages[:-1]) if message["role"] != "system"]
    if not droppable or any(not isinstance(message.get("content"), str) for message in messages):
        return messages  # nothing to drop, or images, whose tokens only the server can count

    async def fits(drop: int) -> bool:
        prompt = await rendered(loaded.child, without(drop))
        return await token_count(loaded.child, prompt) < loaded.num_ctx

    def without(drop: int) -> list[dict[str, Any]]:
        gone = set(droppable[:drop])
        return [message for index, message in enumerate(messages) if index not in gone]

    if sum(_TEMPLATE_TOKENS + len(message["content"].encode()) for message in messages) < loaded.num_ctx:
        return messages  # a token has at least one byte
    low, high = 0, len(droppable)
    while low < high:
        middle = (low + high) // 2
        if await fits(middle):
            high = middle
        else:
            low = middle + 1
    return without(low)


def openai_message(message: Mapping[str, Any]) -> dict[str, Any]:
    """One Ollama message in the form of `/v1/chat/completions`."""
    fields = Fields(message, "Message")
    result: dict[str, Any] = {"role": fields.text("role").lower(), "content": fields.text("content")}
    images = fields.items("images")
    if images:
        result["content"] = [{"type": "text", "text": result["content"]}] if result["content"] else []
        result["content"] += [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}} for image in images]
    if thinking := fields.text("thinking"):
        result["reasoning_content"] = thinking
    if name := fields.text("tool_name"):
        result["name"] = name
    if call_id := fields.text("tool_call_id"):
        result["tool_call_id"] = call_id
    if calls := fields.objects("tool_calls"):
        result["tool_calls"] = [_openai_call(call, index) for index, call in enumerate(calls)]
    return result


def _openai_call(call: Mapping[str, Any], index: int) -> dict[str, Any]:
    function = Fields(Fields(call, "ToolCall").mapping("function"), "ToolCallFunction")
    arguments = json.dumps(function.mapping("arguments"), ensure_ascii=False)
    return {
        "id": call.get("id") or f"call_{index}",
        "type": "function",
        "function": {"name": function.text("name"), "arguments": arguments},
    }
