"""A real IPython kernel, driven as a front end drives it, with the time of every message; and a fake Ollama beside it."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tests.support.fake_ollama import FakeOllama

START_S = 90.0
CELL_S = 120.0
TRAFFIC = """
import asyncio
import time
from gleitzeit_nb.runtime import get_runtime
runtime = get_runtime()
async def traffic(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await runtime.engine.pool.chat("llama3.2", "one two three four five six seven")
"""


@dataclass
class Run:
    """One executed cell: its messages with their times of arrival, oldest first."""

    messages: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    reply: dict[str, Any] = field(default_factory=dict)
    interrupted_at: float = 0.0
    idle_at: float = 0.0

    def of(self, *kinds: str) -> list[dict[str, Any]]:
        return [message["content"] for _, message in self.messages if message["msg_type"] in kinds]

    @property
    def markdown(self) -> list[str]:
        """Every form in which the answer was shown."""
        shown = self.of("display_data", "update_display_data")
        return [content["data"]["text/markdown"] for content in shown if "text/markdown" in content["data"]]

    def stream(self, name: str) -> str:
        return "".join(content["text"] for content in self.of("stream") if content["name"] == name)

    @property
    def value(self) -> str:
        return "".join(content["data"]["text/plain"] for content in self.of("execute_result"))

    @property
    def error(self) -> dict[str, Any]:
        errors = self.of("error")
        assert len(errors) <= 1, errors
        return errors[0] if errors else {}


class Kernel:
    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager = manager
        self.client = client
        self.seen: list[tuple[float, dict[str, Any]]] = []  # every message, whichever cell it belongs to

    def run(self, code: str, *, interrupt_when: Callable[[Run], bool] | None = None) -> Run:
        """Execute and wait for the end. Interrupts once, as soon as `interrupt_when` says so."""
        run = Run()
        name = self.client.execute(code)
        deadline = time.monotonic() + CELL_S
        while not run.idle_at:
            assert time.monotonic() < deadline, f"the cell did not end: {code!r}\n{run.messages}"
            message = self._next()
            if message is not None and message["parent_header"].get("msg_id") == name:
                now = time.monotonic()
                run.messages.append((now, message))
                if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                    run.idle_at = now
            if interrupt_when is not None and not run.interrupted_at and interrupt_when(run):
                run.interrupted_at = time.monotonic()
                self.manager.interrupt_kernel()
        while not run.reply:
            reply = self.client.get_shell_msg(timeout=CELL_S)
            if reply["parent_header"].get("msg_id") == name:
                run.reply = reply["content"]
        return run

    def _next(self) -> dict[str, Any] | None:
        try:
            message: dict[str, Any] = self.client.get_iopub_msg(timeout=0.02)
        except queue.Empty:
            return None
        self.seen.append((time.monotonic(), message))
        return message

    def listen_until(self, condition: Callable[[], bool], *, limit_s: float = 30.0) -> bool:
        """Take messages while no cell runs."""
        deadline = time.monotonic() + limit_s
        while not condition() and time.monotonic() < deadline:
            self._next()
        return condition()

    def shown(self, display_id: str) -> dict[str, Any]:
        """What the place of that id shows now: its data."""
        contents = [message["content"] for _, message in self.seen if "display_data" in message["msg_type"]]
        return dict([each["data"] for each in contents if each["transient"].get("display_id") == display_id][-1])


@contextmanager
def running_kernel(root: Path, environment: Mapping[str, str]) -> Iterator[Kernel]:
    """A kernel with `environment` on top of this process's, and the extension loaded."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(root), env={**os.environ, **environment})
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=START_S)
        kernel = Kernel(manager, client)
        assert kernel.run("%load_ext gleitzeit_nb").reply["status"] == "ok"
        yield kernel
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
        manager.context.destroy(linger=0)


@contextmanager
def serving(server: FakeOllama) -> Iterator[FakeOllama]:
    """`server` on a loop of its own, for tests that block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="fake-ollama", daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.listen(), loop).result(10)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.die(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def instances(*servers: FakeOllama) -> dict[str, str]:
    """The environment that tells a kernel of them."""
    return {"GLEITZEIT_OLLAMA_INSTANCES": ",".join(f"{each.id}:{each.url}" for each in servers)}


def wire_bytes(message: Mapping[str, Any]) -> int:
    """About what a message takes on its way to the front end."""
    parts = (message["header"], message["parent_header"], message["metadata"], message["content"])
    return sum(len(json.dumps(part, ensure_ascii=False, default=str).encode()) for part in parts)
