"""What is there and what is loaded: tags, show, ps, the pull of a model that is there already, and its end."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from gleitzeit_nb.embedded import weights
from gleitzeit_nb.embedded.gguf import read_header
from gleitzeit_nb.embedded.models import Loaded, ModelTable
from gleitzeit_nb.embedded.store import ServedModel
from gleitzeit_nb.embedded.wire import Chunk, Fields, RefusalError, timestamp

_NEVER_S = 253_000_000_000.0  # the year 9987: far enough for "never", and within RFC 3339


def tags(table: ModelTable) -> Chunk:
    return {
        "models": [
            {
                "name": model.name,
                "model": model.name,
                "modified_at": timestamp(model.modified_s),
                "size": model.size_bytes,
                "digest": model.digest,
                "details": model.details(),
                "capabilities": model.capabilities,
            }
            for model in table.store.available()
        ]
    }


def running(table: ModelTable) -> Chunk:
    return {"models": [_running_entry(table, entry) for entry in table.running()]}


def _running_entry(table: ModelTable, entry: Loaded) -> Chunk:
    remaining_s = table.expires_in_s(entry)
    model = entry.model
    return {
        "name": model.name,
        "model": model.name,
        "size": entry.child.memory_bytes() or model.size_bytes,
        "digest": model.digest,
        "details": model.details(),
        "expires_at": timestamp(_NEVER_S if math.isinf(remaining_s) else time.time() + remaining_s),
        "size_vram": 0,
        "context_length": entry.num_ctx,
    }


def show(table: ModelTable, body: Mapping[str, Any]) -> Chunk:
    fields = Fields(body, "ShowRequest")
    name = fields.model()
    if not name:
        raise RefusalError(400, "model is required")
    model = table.store.find(name)
    if model is None:
        raise RefusalError(404, f"model '{name}' not found")
    verbose = fields.flag("verbose", False)
    header = read_header(model.path, arrays=True) if verbose else model.header
    info = {key: value for key, value in header.values.items() if key != "tokenizer.chat_template"}
    answer: Chunk = {
        "modelfile": f"# {model.name}\nFROM {model.path.name}\n",
        "template": model.header.chat_template,
        "details": model.details(),
        "model_info": {**info, "general.parameter_count": model.header.parameters},
        "capabilities": model.capabilities,
        "modified_at": timestamp(model.modified_s),
    }
    known = weights.KNOWN_MODELS.get(model.name)
    if known is not None:
        answer["license"] = known.license
    return answer


async def pull(table: ModelTable, body: Mapping[str, Any]) -> AsyncGenerator[Chunk, None]:
    """The statuses of a finished pull. Nothing is downloaded on a request's behalf: `gleitzeit-nb embedded fetch` does that."""
    name = Fields(body, "PullRequest").model()
    if not name:
        raise RefusalError(400, "invalid model name")
    return _pull_lines(table.store.find(name))


async def _pull_lines(model: ServedModel | None) -> AsyncGenerator[Chunk, None]:
    yield {"status": "pulling manifest"}
    if model is None:
        raise RefusalError(500, "pull model manifest: file does not exist")
    layer = {"digest": f"sha256:{model.digest}", "total": model.size_bytes, "completed": model.size_bytes}
    yield {"status": f"pulling {model.digest[:12]}", **layer}
    yield {"status": "verifying sha256 digest"}
    yield {"status": "writing manifest"}
    yield {"status": "success"}


def delete(table: ModelTable, body: Mapping[str, Any]) -> None:
    """Offer the model no more, and unload it as soon as nobody uses it."""
    name = Fields(body, "DeleteRequest").model()
    model = table.store.find(name)
    if model is None:
        raise RefusalError(404, f"model '{name}' not found")
    table.expire(model)
    try:
        table.store.remove(model)
    except OSError as error:
        raise RefusalError(500, f"the weights of {name} cannot be removed: {error}") from error
