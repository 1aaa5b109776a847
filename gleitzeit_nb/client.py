"""The public faces for scripts and notebooks: GleitzeitClient awaits, ask() blocks."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gleitzeit_nb.config import Config, load
from gleitzeit_nb.core.execution import ExecutionResult
from gleitzeit_nb.core.requests import Chunk, Message, Reply, RequestOptions
from gleitzeit_nb.engine import Engine
from gleitzeit_nb.errors import EngineClosedError
from gleitzeit_nb.runtime import current_runtime, get_runtime
from gleitzeit_nb.snapshot import Snapshot

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from gleitzeit_nb.llm.pool import OllamaPoolManager
    from gleitzeit_nb.sandbox.request import RunOptions

T = TypeVar("T")


class GleitzeitClient:
    """One pool and one sandbox behind an asynchronous context manager.

    Without configuration, in a notebook (or after `configure` or `ask` anywhere), it attaches to the engine that the magics use, so
    that both share queue, limits and dashboard. With configuration, or in a script, it owns an engine of its own and ends it.
    """

    def __init__(
        self,
        config: Config | None = None,
        ollama_config: Mapping[str, Any] | None = None,
        python_config: Mapping[str, Any] | None = None,
    ) -> None:
        if config is not None and (ollama_config is not None or python_config is not None):
            raise TypeError("give GleitzeitClient either a config or the two dictionaries, not both")
        own = config is not None or ollama_config is not None or python_config is not None
        self._runtime = get_runtime() if not own and shares_engine() else None
        self._config = None if self._runtime else config or load(ollama_config, python_config)
        self._engine: Engine | None = None

    def __repr__(self) -> str:
        where = "the notebook's engine" if self._runtime else "an engine of its own"
        return f"<GleitzeitClient on {where}{'' if self._engine else ', closed'}>"

    async def __aenter__(self) -> Self:
        if self._runtime is not None:
            runtime = self._runtime
            self._engine = await asyncio.to_thread(lambda: runtime.engine)
        else:
            engine = Engine(self._config or Config())
            await engine.start()
            self._engine = engine
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End an engine of one's own; let go of a shared one. Safe to call twice."""
        engine, self._engine = self._engine, None
        if engine is not None and self._runtime is None:
            await engine.stop()

    # -- models -----------------------------------------------------------------------------------------------------------

    async def chat(self, prompt_or_messages: str | Sequence[Message], model: str | None = None, **request: Unpack[RequestOptions]) -> Reply:
        """The whole answer. `model` None: the configured one, else the only or the first warm one."""
        return await self._on_engine(self.pool.chat(model or "", prompt_or_messages, **request))

    async def stream(
        self, prompt_or_messages: str | Sequence[Message], model: str | None = None, **request: Unpack[RequestOptions]
    ) -> AsyncGenerator[Chunk, None]:
        """The answer as it arrives; the last chunk has no text and carries `reply`. StreamInterrupted when it is cut."""
        pool = self.pool
        source = _carried(self._on_engine, lambda: pool.stream(model or "", prompt_or_messages, **request))
        try:
            async for chunk in source:
                yield chunk
        finally:
            await source.aclose()

    async def embed(self, inputs: str | Sequence[str], model: str | None = None, **request: Unpack[RequestOptions]) -> list[list[float]]:
        """One vector per input."""
        return await self._on_engine(self.pool.embed(model or "", inputs, **request))

    # -- code -------------------------------------------------------------------------------------------------------------

    async def execute_python(self, code: str, execution_mode: str | None = None, **options: Unpack[RunOptions]) -> ExecutionResult:
        """Run untrusted code. A failure of the code is in the result's status; a failure of the sandbox is a SandboxError."""
        return await self._on_engine(self._running().sandbox.execute(code, execution_mode, **options))

    # -- state ------------------------------------------------------------------------------------------------------------

    @property
    def pool(self) -> OllamaPoolManager:
        """The pool itself. It lives on its engine's loop: in a notebook, that is not the loop of the cell."""
        return self._running().pool

    def snapshot(self) -> Snapshot:
        """What every view shows, now."""
        return self._running().snapshot()

    def _running(self) -> Engine:
        if self._engine is None:
            raise EngineClosedError("the client is not open: use it in `async with GleitzeitClient() as client:`")
        return self._engine

    async def _on_engine(self, coro: Coroutine[Any, Any, T]) -> T:
        return await (coro if self._runtime is None else self._runtime.acall(coro))


def shares_engine() -> bool:
    """Whether there is one engine for the whole process: in a notebook or terminal IPython, or where one was asked for before."""
    return hasattr(builtins, "__IPYTHON__") or current_runtime() is not None


def ask(prompt_or_messages: str | Sequence[Message], model: str | None = None, **request: Unpack[RequestOptions]) -> Reply:
    """The whole answer, blocking: for scripts, `df.map` and cells. Uses the process's one engine, which ends with the process."""
    runtime = get_runtime()
    return runtime.call(runtime.engine.pool.chat(model or "", prompt_or_messages, **request))


def configure(
    ollama_config: Mapping[str, Any] | None = None,
    python_config: Mapping[str, Any] | None = None,
    *,
    use_file: Path | str | None = None,
) -> None:
    """Settings for the process's one engine, which magics and `ask` use. What is not given stays; a running engine takes over."""
    get_runtime().configure(ollama_config, python_config, use_file=None if use_file is None else Path(use_file).absolute())


_END = object()


async def _carried(
    on_engine: Callable[[Coroutine[Any, Any, None]], Coroutine[Any, Any, None]], make: Callable[[], AsyncGenerator[T, None]]
) -> AsyncGenerator[T, None]:
    """An iterator of the engine's loop, on the caller's. One task there runs it from beginning to end: its clean-up needs that."""
    caller = asyncio.get_running_loop()
    items: asyncio.Queue[Any] = asyncio.Queue()

    async def pump() -> None:
        source = make()
        try:
            async for item in source:
                caller.call_soon_threadsafe(items.put_nowait, item)
        finally:
            await source.aclose()

    pumping = asyncio.ensure_future(on_engine(pump()))
    pumping.add_done_callback(lambda _: items.put_nowait(_END))
    try:
        while (item := await items.get()) is not _END:
            yield item
        await pumping
    finally:
        pumping.cancel()
        await asyncio.wait({pumping})
