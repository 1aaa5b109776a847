"""POST /api/embed and its older sister /api/embeddings."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from gleitzeit_nb.embedded.child import ChildFaultError
from gleitzeit_nb.embedded.models import Loaded, ModelTable
from gleitzeit_nb.embedded.options import parse_keep_alive, parse_options
from gleitzeit_nb.embedded.store import ServedModel
from gleitzeit_nb.embedded.wire import Chunk, Fields, RefusalError, nanoseconds, without_zeros

_SPECIAL_TOKENS = 2  # a sentence's begin and end


async def embed(table: ModelTable, body: Mapping[str, Any]) -> Chunk:
    """`{model, embeddings, …}`: unit vectors, one for each input."""
    started = time.monotonic()
    fields = Fields(body, "EmbedRequest")
    name = fields.model()
    options = parse_options(fields.mapping("options"))
    keep_alive_s = parse_keep_alive(fields.raw("keep_alive"))
    truncate = fields.flag("truncate", True)
    dimensions = fields.integer("dimensions")
    inputs = _inputs(fields.raw("input"))
    model = _model(table, name, f"model '{name}' not found")
    async with table.lease(model, options.num_ctx, keep_alive_s) as loaded:
        load_s = time.monotonic() - started
        if not inputs:
            return {"model": name, "embeddings": []}
        try:
            answers = [await _vector(loaded, text, truncate) for text in inputs]  # an embedding model has one slot
        except ChildFaultError as fault:  # 400 for any failure of the runner is Ollama's own choice here
            raise RefusalError(400, f"do embedding request: {fault}") from fault
    timing = {
        "total_duration": nanoseconds(time.monotonic() - started),
        "load_duration": nanoseconds(load_s),
        "prompt_eval_count": sum(tokens for _, tokens in answers),
    }
    return {"model": name, "embeddings": [_cut(vector, dimensions) for vector, _ in answers], **without_zeros(timing)}


async def embeddings(table: ModelTable, body: Mapping[str, Any]) -> Chunk:
    """The old form: one prompt, one vector, as the model made it."""
    fields = Fields(body, "EmbeddingRequest")
    name = fields.model()
    options = parse_options(fields.mapping("options"))
    keep_alive_s = parse_keep_alive(fields.raw("keep_alive"))
    prompt = fields.text("prompt")
    if not name:
        raise RefusalError(400, "model is required")
    model = _model(table, name, f'model "{name}" not found, try pulling it first')
    async with table.lease(model, options.num_ctx, keep_alive_s) as loaded:
        if not prompt:
            return {"embedding": []}
        try:
            vector, _ = await _vector(loaded, prompt, truncate=True)
        except ChildFaultError as fault:
            raise RefusalError(500, f"do embedding request: {fault}") from fault
    return {"embedding": vector}


def _model(table: ModelTable, name: str, otherwise: str) -> ServedModel:
    model = table.store.find(name)
    if model is None:
        raise RefusalError(404, otherwise)
    return model


def _inputs(value: object) -> list[str]:
    if value is None or value == "":
        return []
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise RefusalError(400, "invalid input type")
    return items


async def _vector(loaded: Loaded, text: str, truncate: bool) -> tuple[list[float], int]:
    """The embedding of one text and the number of its tokens. A model without embeddings answers 501 here."""
    async with loaded.slots:
        if loaded.model.header.is_embedding:
            text = await _shortened(loaded, text, truncate)
        answer = await loaded.child.post("/v1/embeddings", {"input": text})
    vector = [float(value) for value in answer["data"][0]["embedding"]]
    if not all(math.isfinite(value) for value in vector):
        raise RefusalError(400, "embedding contains NaN or Inf values")
    return vector, int((answer.get("usage") or {}).get("prompt_tokens", 0))


async def _shortened(loaded: Loaded, text: str, truncate: bool) -> str:
    room = loaded.num_ctx - _SPECIAL_TOKENS
    if len(text.encode()) <= room:
        return text  # a token has at least one byte
    tokens = (await loaded.child.post("/tokenize", {"content": text, "add_special": False}))["tokens"]
    if len(tokens) <= room:
        return text
    if not truncate:
        raise RefusalError(400, "the input length exceeds the context length")
    return str((await loaded.child.post("/detokenize", {"tokens": tokens[:room]}))["content"])


def _cut(vector: Sequence[float], dimensions: int) -> list[float]:
    """The first `dimensions` numbers (all when 0), scaled to length 1."""
    part = list(vector[:dimensions] if 0 < dimensions < len(vector) else vector)
    norm = max(math.sqrt(math.fsum(value * value for value in part)), 1e-12)
    return [value / norm for value in part]
