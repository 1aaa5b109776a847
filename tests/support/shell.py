"""A real IPython shell with the magics loaded, on a real runtime whose engine is a fake: scripted answers, scripted runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from gleitzeit_nb.config import Config
from gleitzeit_nb.core.displays import Display
from gleitzeit_nb.core.execution import ExecutionResult, Timings
from gleitzeit_nb.core.explanation import Explained, Explanation
from gleitzeit_nb.core.receipts import Receipt
from gleitzeit_nb.core.requests import Attempt, Chunk, LLMRequest, Reply, Route, Usage
from gleitzeit_nb.errors import ModeDisabledError
from gleitzeit_nb.jobs import Jobs
from gleitzeit_nb.jupyter import extension
from gleitzeit_nb.jupyter.front import Front
from gleitzeit_nb.runtime import Runtime
from gleitzeit_nb.snapshot import RunView, Snapshot

Step = str | float | Chunk | BaseException  # a piece of text, a pause (s), a chunk as it is, or how it ends


def reply_of(text: str, *, instance: str = "north", model: str = "smollm2:135m", retries: Sequence[tuple[str, str]] = ()) -> Reply:
    attempts = (*(Attempt(name, outcome, "", 0.1) for name, outcome in retries), Attempt(instance, "ok", "", 0.5))
    usage = Usage(prompt_tokens=10, completion_tokens=12, completion_s=0.4)
    return Reply(text, model, instance, usage, Route(0.0, attempts, (), "least_loaded"), elapsed_s=1.25)


@dataclass
class FakePool:
    """Answers every request by the script; `requests` and `ended` tell what happened to them."""

    script: Sequence[Step] = ("Hello, ", "world.")
    thinking: Sequence[str] = ()
    reply: Callable[[str], Reply] = reply_of
    waits: str = ""
    requests: list[LLMRequest] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    draining: list[tuple[str, str]] = field(default_factory=list)
    kept: Sequence[Receipt] = ()
    context: int | None = None

    def explain_request(self, request: LLMRequest) -> Explanation:
        self.requests.append(request)
        return Explanation(request.model, request.strategy or "auto", (Explained("gpu-1", "picked", "picked: 0/2 in flight", True, 1.5),))

    async def stream_request(self, request: LLMRequest) -> AsyncIterator[Chunk]:
        self.requests.append(request)
        text = ""
        try:
            for piece in self.thinking:
                yield Chunk(thinking=piece)
            for step in self.script:
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, float):
                    await asyncio.sleep(step)
                elif isinstance(step, Chunk):
                    yield step
                else:
                    text += step
                    yield Chunk(step)
            yield Chunk(reply=self.reply(text))
            self.ended.append("answered")
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise

    async def complete_request(self, request: LLMRequest) -> Reply:
        replies = [chunk.reply async for chunk in self.stream_request(request) if chunk.reply is not None]
        return replies[-1]

    def receipts(self, count: int | None = None, *, failed: bool = False) -> tuple[Receipt, ...]:
        return tuple(each for each in self.kept if not failed or each.outcome != "ok")[:count]

    def describe(self, request_id: str) -> str:
        return self.waits

    def run_views(self) -> tuple[RunView, ...]:
        """While a request is answered, `north` answers it."""
        return tuple(
            RunView(each.id, "request", each.label, "north", "running", 0.0, 0, model="smollm2:135m")
            for each in self.requests[len(self.ended) :]
        )

    def context_of(self, model: str, instance_id: str = "") -> int | None:
        return self.context

    async def drain(self, instance: str) -> None:
        self.draining.append(("drain", instance))

    async def resume(self, instance: str) -> None:
        self.draining.append(("resume", instance))


@dataclass
class FakeSandbox:
    """Runs nothing: emits `output` and gives `result`."""

    output: Sequence[tuple[str, str] | Display | float | BaseException] = ()
    result: ExecutionResult = ExecutionResult("ok", "docker-sandbox", timings=Timings(run_s=0.012), isolation="a container")
    runs: list[dict[str, Any]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    waits: str = ""
    sessions: list[str] = field(default_factory=list)
    asked: list[tuple[str, object]] = field(default_factory=list)

    def describe(self, request_id: str) -> str:
        return self.waits

    def require_mode(self, mode: str) -> None:
        if mode == "local":
            raise ModeDisabledError("The mode 'local' is switched off.")

    async def warm(self, mode: str | None = None) -> str:
        self.asked.append(("warm", mode))
        return mode or "docker-sandbox"

    async def cleanup_idle_containers(self, idle_s: float | None = None) -> int:
        self.asked.append(("cleanup", idle_s))
        return 2

    async def reset_session(self, name: str) -> bool:
        self.asked.append(("reset", name))
        return name in self.sessions

    async def execute(
        self, code: str, mode: str | None = None, *, on_output: Any = None, on_display: Any = None, on_progress: Any = None, **options: Any
    ) -> ExecutionResult:
        self.runs.append({"code": code, "mode": mode, **options})
        try:
            for step in self.output:
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, float):
                    await asyncio.sleep(step)
                elif isinstance(step, Display):
                    on_display(step)
                else:
                    on_output(*step)
        except asyncio.CancelledError:
            self.ended.append("killed")
            raise
        self.ended.append(self.result.status)
        return self.result


class FakeKernel:
    """What a front end was sent beside the running cell: `updates` of displays, from whichever thread."""

    iopub_socket = object()

    def __init__(self) -> None:
        self.session = self
        self.updates: list[dict[str, Any]] = []

    def get_parent(self) -> dict[str, Any]:
        return {"header": {"msg_id": "the cell"}}

    def send(self, socket: object, kind: str, content: dict[str, Any], *, parent: dict[str, Any], ident: bytes) -> None:
        assert (socket, kind, parent) == (self.iopub_socket, "update_display_data", self.get_parent())
        self.updates.append(content)


class FakeEngine:
    """Pool, sandbox and a snapshot that a test replaces; watchers are told on the runtime's loop."""

    def __init__(self, runtime: FakeRuntime, snapshot: Snapshot) -> None:
        self.pool = FakePool()
        self.sandbox = FakeSandbox()
        self.config = Config()
        self.jobs = Jobs()
        self.findings: list[Any] = []
        self._runtime = runtime
        self._snapshot = snapshot
        self._watchers: list[Callable[[Snapshot], None]] = []

    def snapshot(self) -> Snapshot:
        return self._snapshot

    def watch(self, watcher: Callable[[Snapshot], None]) -> Callable[[], None]:
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher) if watcher in self._watchers else None

    @property
    def watched(self) -> int:
        return len(self._watchers)

    def show(self, snapshot: Snapshot) -> None:
        """Something changed."""
        self._snapshot = snapshot
        self._runtime.call(self._tell())

    async def _tell(self) -> None:
        for watcher in tuple(self._watchers):
            watcher(self._snapshot)

    async def doctor(self) -> list[Any]:
        return self.findings


class FakeRuntime(Runtime):
    """The real loop and the real bridges, with a fake engine on them."""

    def __init__(self, snapshot: Snapshot, *, started: bool = True) -> None:
        super().__init__()
        self.fake = FakeEngine(self, snapshot)
        self.started = started
        self.configured: list[dict[str, Any]] = []
        self.reloads = 0

    @property
    def engine(self) -> Any:
        self.started = True
        return self.fake

    @property
    def current_engine(self) -> Any:
        return self.fake if self.started else None

    @property
    def running(self) -> bool:
        return self.started

    def config(self) -> Config:
        return self.fake.config

    def configure(self, ollama_config: Any = None, python_config: Any = None, *, use_file: Path | None = None) -> None:
        self.configured.append({"use_file": use_file})

    def reload(self) -> None:
        self.reloads += 1


class Cell:
    """What one cell did: outputs in order, text of both streams, its value, its error and the lines that were shown for it."""

    def __init__(self, captured: Any, result: Any, lines: list[str], shown: dict[str, Any]) -> None:
        self.stdout: str = captured.stdout
        self.stderr: str = captured.stderr
        self.displays: list[dict[str, Any]] = captured._outputs
        self.value: Any = result.result
        self.error: BaseException | None = result.error_in_exec or result.error_before_exec
        self.error_lines = lines
        self.shown_value = shown  # the value's mimebundle


class Shell:
    """A shell whose cells a test runs. `in_kernel` lets the magics believe that a front end listens."""

    def __init__(self, runtime: FakeRuntime, *, in_kernel: bool) -> None:
        self.runtime = runtime
        InteractiveShell.clear_instance()
        self.ip = InteractiveShell.instance()
        if in_kernel:
            self.ip.kernel = FakeKernel()
        self.front: Front = extension.load(self.ip, lambda: runtime)

    @property
    def engine(self) -> FakeEngine:
        return self.runtime.fake

    def run(self, source: str) -> Cell:
        shown: list[str] = []
        self.ip._showtraceback = lambda _type, _value, lines: shown.extend(lines)
        with capture_output() as captured:
            result = self.ip.run_cell(source, store_history=True)
        data, _metadata = self.ip.display_formatter.format(result.result) if result.result is not None else ({}, {})
        return Cell(captured, result, [line for lines in shown for line in lines.split("\n")], data)


@contextmanager
def open_shell(snapshot: Snapshot, *, in_kernel: bool = True) -> Iterator[Shell]:
    runtime = FakeRuntime(snapshot)
    shell = Shell(runtime, in_kernel=in_kernel)
    try:
        yield shell
    finally:
        extension.unload(shell.ip)
        shell.ip.history_manager.end_session()
        InteractiveShell.clear_instance()
        runtime.close()
