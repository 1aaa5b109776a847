"""What a fake Ollama does with models: load and reload them, tell of them, pull and delete them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.http_connection import Connection, Request

RUNNER = ("num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict")
DEFAULT_CONTEXT = 4096
ALL = ["completion", "tools", "insert", "vision", "thinking"]
SIZE_BYTES = 2_000_000


@dataclass
class Shelf:
    """The models of one server: on disk, in memory, and in the registry that it pulls from.

    `digests`, `capabilities` and `trained` (the training context) are looked up by a model's full name.
    """

    models: list[str]
    on_gpu: bool = False
    digests: dict[str, str] = field(default_factory=dict)
    capabilities: dict[str, list[str]] = field(default_factory=dict)
    trained: dict[str, int] = field(default_factory=dict)
    registry: list[str] = field(default_factory=list)
    pull_steps: int = 4
    pull_step_s: float = 0.0
    loaded: dict[str, Any] = field(default_factory=dict)  # name -> the runner options that count; a test may put anything for the defaults
    loads: int = 0
    memory_models: int = 100  # how many are held at once; the one that was loaded first makes room
    pulling: int = 0
    unload_s: float = 0.0  # for so long it is listed as loaded still, as by a real server
    silent: bool = False  # an old or strange server: `/api/show` is not there

    def named(self, wanted: str, among: Iterable[str] | None = None) -> str | None:
        wanted = wanted.lower() if ":" in wanted else f"{wanted.lower()}:latest"
        return next((name for name in among or self.models if name.lower() in (wanted, wanted.removesuffix(":latest"))), None)

    def runner(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The options that a runner is made with for this request, as Ollama compares them."""
        options = body.get("options") or {}
        return {"num_ctx": DEFAULT_CONTEXT, **{name: options[name] for name in RUNNER if name in options}}

    async def load(self, name: str, body: Mapping[str, Any], connection: Connection, load_s: float) -> None:
        wanted = self.runner(body)
        if name in self.loaded and self._held(name) == wanted:
            return
        await connection.pause(load_s)
        self.loads += 1
        while name not in self.loaded and len(self.loaded) >= self.memory_models:
            del self.loaded[next(iter(self.loaded))]
        self.loaded[name] = wanted

    def unload(self, name: str) -> None:
        if self.unload_s:
            asyncio.get_running_loop().call_later(self.unload_s, self.loaded.pop, name, None)
        else:
            self.loaded.pop(name, None)

    def _held(self, name: str) -> dict[str, Any]:
        held = self.loaded[name]
        return held if isinstance(held, dict) else {"num_ctx": DEFAULT_CONTEXT}

    # -- what it tells -----------------------------------------------------------------------------------------------------------

    def entry(self, name: str) -> dict[str, Any]:
        details = {"family": "llama", "parameter_size": "3.2B", "quantization_level": "Q4_K_M"}
        digest = self.digests.get(name) or hashlib.sha256(name.encode()).hexdigest()
        return {"name": name, "model": name, "size": SIZE_BYTES, "digest": digest, "details": details}

    def memory(self, name: str) -> dict[str, Any]:
        vram = {"size_vram": SIZE_BYTES} if self.on_gpu else {}
        return {**self.entry(name), "expires_at": "2100-01-01T00:00:00Z", "context_length": self._held(name)["num_ctx"], **vram}

    async def manage(self, request: Request, connection: Connection) -> bool:
        """False: the path is none of these."""
        name = str(request.body.get("model") or request.body.get("name") or "")
        if request.path == "/api/show" and not self.silent:
            await self._show(name, connection)
        elif request.path == "/api/pull":
            self.pulling += 1
            try:
                await self._pull(name, connection)
            finally:
                self.pulling -= 1
        elif (request.path, request.method) == ("/api/delete", "DELETE"):
            await self._delete(name, connection)
        else:
            return False
        return True

    async def _show(self, wanted: str, connection: Connection) -> None:
        name = self.named(wanted)
        if name is None:
            await connection.send_json(404, {"error": f"model '{wanted}' not found"})
            return
        info = {"general.architecture": "llama", "llama.context_length": self.trained.get(name, 131072)}
        capabilities = self.capabilities.get(name, ALL)
        await connection.send_json(200, {"details": self.entry(name)["details"], "model_info": info, "capabilities": capabilities})

    async def _pull(self, wanted: str, connection: Connection) -> None:
        name = self.named(wanted, [*self.models, *self.registry])
        await connection.start(200, "application/x-ndjson")
        await connection.line({"status": "pulling manifest"})
        if name is None:
            await connection.line({"error": "pull model manifest: file does not exist"})
            await connection.finish()
            return
        digest = self.entry(name)["digest"]
        for step in range(1, self.pull_steps + 1):
            await connection.pause(self.pull_step_s)
            done = {"digest": f"sha256:{digest}", "total": SIZE_BYTES, "completed": SIZE_BYTES * step // self.pull_steps}
            await connection.line({"status": f"pulling {digest[:12]}", **done})
        for status in ("verifying sha256 digest", "writing manifest", "success"):
            await connection.line({"status": status})
        if name not in self.models:
            self.models.append(name)
        await connection.finish()

    async def _delete(self, wanted: str, connection: Connection) -> None:
        name = self.named(wanted)
        if name is None:
            await connection.send_json(404, {"error": f"model '{wanted}' not found"})
            return
        self.models.remove(name)
        await connection.send(200, b"", "text/plain")
