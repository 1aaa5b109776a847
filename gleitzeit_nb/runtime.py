"""One event loop on one daemon thread per process, and the engine that lives on it.

Magics are synchronous (IPython awaits none), so they hand coroutines to this loop and block. An interrupt of the blocked thread
cancels the coroutine; its clean-up ends on the loop while the thread is free again.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from gleitzeit_nb.config import Config, load
from gleitzeit_nb.engine import Engine
from gleitzeit_nb.errors import EngineClosedError

logger = logging.getLogger("gleitzeit_nb.runtime")

T = TypeVar("T")

TICK_S = 0.2  # an interrupt of an awaited cell is noticed only when the kernel's own loop wakes
CLEAN_UP_S = 0.3  # how long a cancelled call may take to end before its caller is let go


EngineListener = Callable[[Engine | None], None]
"""Told of an engine that has started, and with None when it has stopped; on whichever thread did that, and maybe twice."""


class _Process:
    """What this process holds: at most one runtime, which is the lock's invariant."""

    lock = threading.Lock()
    runtime: Runtime | None = None
    listeners: list[EngineListener] = []  # noqa: RUF012 - one for the process: they outlive the runtime that they were told by

    @classmethod
    def forget(cls) -> None:
        """In a forked child: neither threads nor held locks mean anything there."""
        cls.lock = threading.Lock()
        cls.runtime = None
        cls.listeners = []


os.register_at_fork(after_in_child=_Process.forget)


def get_runtime() -> Runtime:
    """The process's runtime; made at the first call, and anew after it was closed or the process was forked."""
    with _Process.lock:
        if _Process.runtime is None or _Process.runtime.closed:
            _Process.runtime = Runtime(_Process.listeners)
        return _Process.runtime


def current_runtime() -> Runtime | None:
    """The process's runtime if there is one; makes nothing."""
    runtime = _Process.runtime
    return None if runtime is None or runtime.closed else runtime


def on_engine(listener: EngineListener) -> Callable[[], None]:
    """Tell `listener` of this process's engine: now if one runs, else when one starts, and when it stops. Makes nothing.

    Returns the way to end it.
    """
    _Process.listeners.append(listener)
    runtime = current_runtime()
    engine = runtime.current_engine if runtime is not None else None
    if engine is not None:
        listener(engine)
    return partial(_forget_listener, _Process.listeners, listener)


class Runtime:
    """A loop on a thread, and at most one engine on it."""

    def __init__(self, listeners: list[EngineListener] | None = None) -> None:
        self._listeners = listeners if listeners is not None else []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="gleitzeit-engine", daemon=True)
        self._engine: Engine | None = None
        self._engine_lock = threading.RLock()  # invariant: at most one engine is made or replaced at a time
        self._layers: dict[str, Any] = {}
        self._leaving = False
        self._thread.start()
        atexit.register(self._leave)

    def __repr__(self) -> str:
        state = "closed" if self.closed else ("running" if self.running else "idle")
        return f"<Runtime {state}, engine {self._engine!r}>"

    @property
    def closed(self) -> bool:
        return self._loop.is_closed() or not self._thread.is_alive()

    @property
    def running(self) -> bool:
        """Whether there is an engine."""
        return self._engine is not None

    @property
    def current_engine(self) -> Engine | None:
        """The engine if there is one. Starts none and waits for nobody, so the loop itself may ask."""
        return self._engine

    @property
    def is_here(self) -> bool:
        """Is this the loop's own thread, which must never block?"""
        return threading.current_thread() is self._thread

    # -- bridging ---------------------------------------------------------------------------------------------------------

    def call(self, coro: Coroutine[Any, Any, T]) -> T:
        """Run `coro` on the loop and block for its result. An interrupt cancels it and is raised again."""
        if self.is_here:
            coro.close()
            raise RuntimeError("Runtime.call would block its own loop: await the coroutine instead")
        future = asyncio.run_coroutine_threadsafe(coro, self._loop)
        try:
            return outcome(future)
        except KeyboardInterrupt:
            _cancel(future)
            raise

    def submit(self, coro: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Start `coro` on the loop and wait for nothing: for handlers that must not block. Raises EngineClosedError."""
        if self.closed:
            coro.close()
            raise EngineClosedError("the runtime is closed: the next cell that asks the pool starts a new one")
        return asyncio.run_coroutine_threadsafe(coro, self._loop)

    async def acall(self, coro: Coroutine[Any, Any, T]) -> T:
        """Run `coro` on the loop and await its result from any other loop, which is kept ticking meanwhile."""
        if asyncio.get_running_loop() is self._loop:
            return await coro
        future = asyncio.run_coroutine_threadsafe(coro, self._loop)
        wrapped = asyncio.wrap_future(future)
        try:
            while not wrapped.done():
                await asyncio.wait({wrapped}, timeout=TICK_S)
        except asyncio.CancelledError:
            future.cancel()
            raise
        return wrapped.result()

    def iterate(self, source: AsyncIterator[T], *, tick_s: float = 0.05) -> Generator[list[T], None, None]:
        """What `source` yields, in batches: all that arrived since the last one, or [] after `tick_s` without anything.

        Blocks the calling thread. Closing the iterator, or an interrupt, cancels and closes the source.
        """
        return _Bridge(self._loop, source).batches(tick_s)

    # -- the engine -------------------------------------------------------------------------------------------------------

    @property
    def engine(self) -> Engine:
        """The engine; configured and started at the first use, which blocks."""
        with self._engine_lock:
            if self._engine is None:
                engine = Engine(self.config())
                self.call(engine.start())
                self._engine = engine
                self._tell(engine)
            return self._engine

    def on_engine(self, listener: EngineListener) -> Callable[[], None]:
        """As the module's `on_engine`, of this runtime alone."""
        self._listeners.append(listener)
        engine = self.current_engine
        if engine is not None:
            listener(engine)
        return partial(_forget_listener, self._listeners, listener)

    def _tell(self, engine: Engine | None) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(engine)
            except Exception:
                logger.exception("a listener failed on %r", engine)

    def config(self) -> Config:
        """The configuration as its layers say now."""
        return load(**self._layers)

    def configure(
        self,
        ollama_config: Mapping[str, Any] | None = None,
        python_config: Mapping[str, Any] | None = None,
        *,
        use_file: Path | None = None,
    ) -> None:
        """Replace the layers that are given and keep the others; a running engine takes over what changed.

        Raises ConfigError, and then keeps the layers as they were.
        """
        given = {"ollama_config": ollama_config, "python_config": python_config, "use_file": use_file}
        layers = {**self._layers, **{name: value for name, value in given.items() if value is not None}}
        config = load(**layers)
        with self._engine_lock:
            if self._engine is not None:
                self.call(self._engine.apply(config))
            self._layers = layers

    def reload(self) -> str:
        """Read files and environment again; a running engine takes over what changed. Returns what ended by it, "" for nothing."""
        config = self.config()
        with self._engine_lock:
            if self._engine is not None:
                return self.call(self._engine.apply(config, again=True))
        return ""

    def close(self) -> None:
        """Stop the engine, then the loop. The next `get_runtime()` makes a new one."""
        with self._engine_lock:
            engine, self._engine = self._engine, None
            try:
                if engine is not None:
                    self.call(engine.stop())
                    self._tell(None)
            finally:
                self._stop_loop()
                atexit.unregister(self._leave)

    # -- the thread -------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            with contextlib.suppress(RuntimeError):  # at interpreter exit executors are gone before this thread is
                self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            if not self._leaving:  # asyncio reports, on standard error, each child that ends when its loop is closed
                self._loop.close()

    def _leave(self) -> None:
        """The exit handler: sockets close here, and what depends on them (guests, children) ends by that."""
        self._leaving = True
        self._stop_loop()

    def _stop_loop(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=1.0)


class _Bridge(Generic[T]):
    """Carries an asynchronous iterator of the loop to a blocking thread."""

    _END = object()

    def __init__(self, loop: asyncio.AbstractEventLoop, source: AsyncIterator[T]) -> None:
        self._loop = loop
        self._source = source
        self._items: queue.SimpleQueue[Any] = queue.SimpleQueue()

    async def _pump(self) -> None:
        try:
            async for item in self._source:
                self._items.put(item)
        finally:
            close = getattr(self._source, "aclose", None)
            if close is not None:
                await close()
            self._items.put(self._END)

    def batches(self, tick_s: float) -> Generator[list[T], None, None]:
        future = asyncio.run_coroutine_threadsafe(self._pump(), self._loop)
        try:
            ended = False
            while not ended:
                batch = self._take(tick_s)
                if batch and batch[-1] is self._END:
                    ended = True
                    batch.pop()
                if batch or not ended:
                    yield batch
            future.result()
        finally:
            if not future.done():
                _cancel(future)

    def _take(self, tick_s: float) -> list[Any]:
        try:
            batch = [self._items.get(timeout=tick_s)]
        except queue.Empty:
            return []
        while True:
            try:
                batch.append(self._items.get_nowait())
            except queue.Empty:
                return batch


def _forget_listener(listeners: list[EngineListener], listener: EngineListener) -> None:
    if listener in listeners:
        listeners.remove(listener)


def outcome(future: concurrent.futures.Future[T], timeout: float | None = None) -> T:
    """Block for a future's result, and be interrupted soon wherever the system delivers the signal: a lock that another thread's signal
    does not wake is looked at again after a tick. Raises concurrent.futures.TimeoutError."""
    ends_at = None if timeout is None else time.monotonic() + timeout
    while True:
        left_s = TICK_S if ends_at is None else min(TICK_S, ends_at - time.monotonic())
        done, _ = concurrent.futures.wait([future], timeout=max(0.0, left_s))
        if done or left_s <= 0:
            return future.result(0)


def _cancel(future: concurrent.futures.Future[Any]) -> None:
    """Cancel, and give the clean-up a moment so that what the user sees next is settled."""
    future.cancel()
    concurrent.futures.wait([future], timeout=CLEAN_UP_S)
