"""POST /api/generate: through the chat template as one user message, or raw."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from gleitzeit_nb.embedded.chat import Common, openai_message, rendered
from gleitzeit_nb.embedded.child import Child
from gleitzeit_nb.embedded.models import Loaded, ModelTable
from gleitzeit_nb.embedded.store import ServedModel
from gleitzeit_nb.embedded.upstream import Ending, Piece, chat_pieces, completion_pieces, ollama_logprobs, ollama_tool_calls
from gleitzeit_nb.embedded.wire import Chunk, Fields, RefusalError, now


@dataclass(frozen=True)
class Generate:
    """One request. `context` are the token ids that an earlier answer ended with; None when not given."""

    common: Common
    prompt: str
    system: str
    suffix: str
    raw: bool
    context: tuple[int, ...] | None
    images: tuple[Any, ...]

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Generate:
        fields = Fields(body, "GenerateRequest")
        common = Common.read(fields)
        context = fields.items("context")
        if not all(isinstance(token, int) and not isinstance(token, bool) for token in context):
            raise RefusalError(400, "json: cannot unmarshal an element into Go struct field GenerateRequest.context of type int")
        request = cls(
            common=common,
            prompt=fields.text("prompt"),
            system=fields.text("system"),
            suffix=fields.text("suffix"),
            raw=fields.flag("raw", False),
            context=tuple(context) or None,
            images=tuple(fields.items("images")),
        )
        if fields.text("template"):
            raise RefusalError(400, "the embedded instance does not support the template field: use raw with a rendered prompt")
        if request.raw and (request.system or request.context):
            raise RefusalError(400, "raw mode does not support template, system, or context")
        return request

    def messages(self) -> list[dict[str, Any]]:
        user: dict[str, Any] = {"role": "user", "content": self.prompt, "images": list(self.images)}
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [openai_message(message) for message in (*system, user)]


async def generate(table: ModelTable, body: Mapping[str, Any]) -> Chunk | AsyncGenerator[Chunk, None]:
    """One object for a load or unload, else the stream of chunks."""
    started = time.monotonic()
    request = Generate.read(body)
    common = request.common
    model = table.store.find(common.model)
    if model is None:
        raise RefusalError(404, f"model '{common.model}' not found")
    if not request.prompt and common.keep_alive_s == 0:
        table.expire(model)
        return _single(common.model, "unload")
    common.check_thinking(model)
    if "completion" not in model.capabilities:
        raise RefusalError(400, f'"{common.model}" does not support generate')
    if request.suffix:
        raise RefusalError(400, f"{model.full_name} does not support insert")
    if not request.prompt:
        async with table.lease(model, common.options.num_ctx, common.keep_alive_s):
            return _single(common.model, "load")
    return _answer(table, model, request, started)


def _single(name: str, reason: str) -> Chunk:
    return {"model": name, "created_at": now(), "response": "", "done": True, "done_reason": reason}


async def _answer(table: ModelTable, model: ServedModel, request: Generate, started: float) -> AsyncGenerator[Chunk, None]:
    common = request.common
    async with table.lease(model, common.options.num_ctx, common.keep_alive_s) as loaded:
        load_s = time.monotonic() - started
        said: list[str] = []
        ending = Ending()
        async with loaded.slots:
            prompt = await _prompt(request, loaded)
            if common.render_only:
                yield {"model": common.model, "created_at": now(), "_debug_info": {"rendered_template": prompt}}
                return
            async with aclosing(_pieces(request, loaded, prompt, ending)) as pieces:
                async for piece in pieces:
                    said.append(piece.text)
                    yield _chunk(common, piece)
        last: Chunk = {"model": common.model, "created_at": now(), "response": "", "done": True, "done_reason": ending.reason}
        if ending.tool_calls:
            last["tool_calls"] = ollama_tool_calls(ending.tool_calls)
        if not request.raw:
            last["context"] = await _tokens(loaded.child, prompt + "".join(said))
        yield {**last, **ending.metrics(total_s=time.monotonic() - started, load_s=load_s)}


async def _prompt(request: Generate, loaded: Loaded) -> str:
    if request.raw:
        return request.prompt
    text = await rendered(loaded.child, request.messages())
    if request.context:
        before = await loaded.child.post("/detokenize", {"tokens": list(request.context)})
        return str(before["content"]) + text
    return text


def _pieces(request: Generate, loaded: Loaded, prompt: str, ending: Ending) -> AsyncGenerator[Piece, None]:
    """Through the chat route where it can: it separates thinking and refuses a bad schema. A given text goes to `/completion`."""
    common = request.common
    if not request.raw and not request.context:
        return chat_pieces(loaded.child, common.chat_body(loaded, request.messages()), ending)
    body: dict[str, Any] = {**common.options.for_child(loaded.num_ctx), "prompt": prompt}
    if common.schema is not None:
        body["json_schema"] = dict(common.schema)
    if common.logprobs:
        body["n_probs"] = max(common.top_logprobs, 1)
    return completion_pieces(loaded.child, body, ending)


async def _tokens(child: Child, text: str) -> list[int]:
    return list((await child.post("/tokenize", {"content": text, "parse_special": True}))["tokens"])


def _chunk(common: Common, piece: Piece) -> Chunk:
    chunk: Chunk = {"model": common.model, "created_at": now(), "response": piece.text, "done": False}
    if piece.thinking:
        chunk["thinking"] = piece.thinking
    if common.logprobs:
        chunk["logprobs"] = ollama_logprobs(piece.logprobs, common.top_logprobs)
    return chunk
