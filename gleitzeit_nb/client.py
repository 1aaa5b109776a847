"""The public faces for scripts and notebooks: GleitzeitClient awaits, ask() blocks."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gleitzeit_nb.config import Config, load
from gleitzeit_nb.core.execution import ExecutionResult
from gleitzeit_nb.core.requests import Chunk, Message, Reply, RequestOptions
from gleitzeit_nb.engine import Engine, running_loop
from gleitzeit_nb.errors import AlreadyOpenError, EngineClosedError, WrongLoopError
from gleitzeit_nb.runtime import Runtime, current_runtime, get_runtime
from gleitzeit_nb.snapshot import Snapshot

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from gleitzeit_nb.core.upkeep import Place, PullProgress, Warmed
    from gleitzeit_nb.llm.documents import BatchReport
    from gleitzeit_nb.llm.inventory import LoadedListing, ModelListing
    from gleitzeit_nb.llm.mapping import Asks, MapItem
    from gleitzeit_nb.llm.named_files import Folder
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
        self._loop: asyncio.AbstractEventLoop | None = None  # of an engine of our own
        self._was_open = False

    def __repr__(self) -> str:
        where = "the notebook's engine" if self._runtime else "an engine of its own"
        return f"<GleitzeitClient on {where}{'' if self._engine else ', closed'}>"

    async def __aenter__(self) -> Self:
        await self.initialize()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def initialize(self) -> None:
        """Open; `async with` does it. AlreadyOpenError when it is open: one block opens a client, others inside it just use it."""
        if self._loop is not None:
            raise AlreadyOpenError("the client is open: use it as it is, or make another GleitzeitClient for another block")
        self._loop = asyncio.get_running_loop()
        try:
            self._engine = await self._engine_of_its_own() if self._runtime is None else await asyncio.to_thread(_engine_of, self._runtime)
        except BaseException:
            self._loop = None
            raise
        self._was_open = True

    async def _engine_of_its_own(self) -> Engine:
        engine = Engine(self._config or Config())
        await engine.start()
        return engine

    async def close(self) -> None:
        """End an engine of one's own; let go of a shared one. Safe to call twice."""
        if self._engine is None:
            return
        own = self._runtime is None
        if own:
            self._refuse_other_loop()
        engine, self._engine = self._engine, None
        self._loop = None
        if own:
            await engine.stop()

    # -- models -----------------------------------------------------------------------------------------------------------

    async def chat(self, prompt_or_messages: str | Sequence[Message], model: str | None = None, **request: Unpack[RequestOptions]) -> Reply:
        """The whole answer. `model` None: the configured one, else the only or the first warm one."""
        return await self._on_engine(self._pool_here().chat(model or "", prompt_or_messages, **request))

    async def stream(
        self, prompt_or_messages: str | Sequence[Message], model: str | None = None, **request: Unpack[RequestOptions]
    ) -> AsyncGenerator[Chunk, None]:
        """The answer as it arrives; the last chunk has no text and carries `reply`. StreamInterrupted when it is cut."""
        pool = self._pool_here()
        async with aclosing(_carried(self._on_engine, lambda: pool.stream(model or "", prompt_or_messages, **request))) as chunks:
            async for chunk in chunks:
                yield chunk

    async def generate(self, prompt: str, model: str | None = None, system: str | None = None, **request: Unpack[RequestOptions]) -> Reply:
        """As `chat`, without a dialogue: Ollama's /api/generate. `suffix`: fill the gap before it."""
        return await self._on_engine(self._pool_here().generate(model or "", prompt, system, **request))

    async def embed(self, inputs: str | Sequence[str], model: str | None = None, **request: Unpack[RequestOptions]) -> list[list[float]]:
        """One vector per input."""
        return await self._on_engine(self._pool_here().embed(model or "", inputs, **request))

    def map(
        self,
        requests: Asks,
        max_concurrent: int | None = None,
        *,
        model: str | None = None,
        method: str = "llm/chat",
        files_from: Folder | None = None,
        **request: Unpack[RequestOptions],
    ) -> AsyncGenerator[MapItem, None]:
        """The answers to many requests as they come, each with its index, and in bounded memory; see OllamaPoolManager.map.

        `requests` is read on the caller's loop.
        """
        from gleitzeit_nb.llm.mapping import Wish

        pool, wish = self._pool_here(), Wish.of(method, model or "", request, files_from)
        return pool.mapper(wish, max_concurrent, lambda made: self._on_engine(pool.complete_request(made))).items(requests)

    async def batch_process(
        self,
        directory: Path | str,
        pattern: str = "*",
        method: str = "llm/chat",
        prompt: str = "",
        model: str | None = None,
        max_concurrent: int | None = None,
        **request: Unpack[RequestOptions],
    ) -> BatchReport:
        """One question about every file of a folder that matches: `prompt`, an empty line, the file's text (UTF-8).

        Files that cannot be read or answered are results with an `error`. FileNotFoundError when there is nothing to ask about.
        """
        from gleitzeit_nb.llm.documents import Batch

        batch = Batch.of(directory, pattern, method, prompt)
        return await batch.run(lambda asks: self.map(asks, max_concurrent, model=model, method=method, **request))

    async def models(self) -> ModelListing:
        """What each instance has, asked now: `.rows`, and `.unreachable`."""
        return await self._on_engine(self._pool_here().models())

    async def ps(self) -> LoadedListing:
        """What each instance has loaded, asked now."""
        return await self._on_engine(self._pool_here().ps())

    async def warm(self, model: str, **place: Unpack[Place]) -> tuple[Warmed, ...]:
        """Load it before it is needed: on `instance`, on those with `tags`, `everywhere`; else on one."""
        return await self._on_engine(self._pool_here().warm(model, **place))

    async def pull(self, model: str, **place: Unpack[Place]) -> AsyncGenerator[PullProgress, None]:
        """Let instances fetch it, and hear how far they are. Leaving the iterator stops them."""
        pool = self._pool_here()
        async with aclosing(_carried(self._on_engine, lambda: pool.pull(model, **place))) as news:
            async for progress in news:
                yield progress

    async def unload(self, model: str, **place: Unpack[Place]) -> tuple[str, ...]:
        """Unload it, wherever it is loaded or where `place` says. The instances that did."""
        return await self._on_engine(self._pool_here().unload(model, **place))

    async def delete(self, model: str, **place: Unpack[Place]) -> tuple[str, ...]:
        """Delete it from the disks of all that have it, or where `place` says. The instances that did."""
        return await self._on_engine(self._pool_here().delete(model, **place))

    async def drain(self, instance_id: str) -> None:
        """Give an instance nothing new until `resume`; what it does, it ends."""
        await self._on_engine(self._pool_here().drain(instance_id))

    async def resume(self, instance_id: str) -> None:
        await self._on_engine(self._pool_here().resume(instance_id))

    # -- code -------------------------------------------------------------------------------------------------------------

    async def execute_python(self, code: str, execution_mode: str | None = None, **options: Unpack[RunOptions]) -> ExecutionResult:
        """Run untrusted code. A failure of the code is in the result's status; a failure of the sandbox is a SandboxError."""
        engine = self._running()
        self._refuse_other_loop()
        return await self._on_engine(engine.sandbox.execute(code, execution_mode, **options))

    # -- state ------------------------------------------------------------------------------------------------------------

    @property
    def pool(self) -> OllamaPoolManager:
        """The pool itself. It lives on its engine's loop: in a notebook, that is not the loop of the cell."""
        return self._running().pool

    def snapshot(self) -> Snapshot:
        """What every view shows, now."""
        return self._running().snapshot()

    async def status(self) -> dict[str, Any]:
        """The guide's dictionary of the pool: as `OllamaPoolManager.get_pool_status`."""
        return await self._on_engine(self._pool_here().get_pool_status())

    def _running(self) -> Engine:
        if self._engine is None:
            was = "was closed" if self._was_open else "is not open"
            raise EngineClosedError(f"the client {was}: use it in `async with GleitzeitClient() as client:`")
        if self._runtime is not None and self._runtime.closed:
            raise EngineClosedError("the notebook's engine that this client was opened on has ended: open another GleitzeitClient")
        return self._engine

    def _pool_here(self) -> OllamaPoolManager:
        pool = self._running().pool
        self._refuse_other_loop()
        return pool

    def _refuse_other_loop(self) -> None:
        """A shared engine is reached from every loop; one of one's own lives on the loop that opened it."""
        if self._runtime is None and running_loop() is not self._loop:
            raise WrongLoopError(
                "the client was opened on another event loop: open one inside each asyncio.run(…), or use ask(), which works everywhere"
            )

    async def _on_engine(self, coro: Coroutine[Any, Any, T]) -> T:
        return await (coro if self._runtime is None else self._runtime.acall(coro))


def _engine_of(runtime: Runtime) -> Engine:
    return runtime.engine


def shares_engine() -> bool:
    """Whether there is one engine for the whole process: in a notebook or terminal IPython, or where one was asked for before."""
    return hasattr(builtins, "__IPYTHON__") or current_runtime() is not None


def ask(prompt_or_messages: str | Sequence[Message], model: str | None = None, **request: Unpack[RequestOptions]) -> Reply:
    """The whole answer, blocking: for scripts, `df.map` and cells. Uses the process's one engine, which ends with the process."""
    runtime = get_runtime()
    if runtime.is_here:
        raise WrongLoopError("ask() would block the very loop that answers it: await client.chat(…) of an open GleitzeitClient instead")
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
