"""The few seams that cross package borders. Each has a few methods, a real implementation and an honest fake."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

from gleitzeit_nb.core.displays import Display
from gleitzeit_nb.core.execution import ExecutionRequest, ExecutionResult
from gleitzeit_nb.core.instances import InstanceSettings

OutputSink = Callable[[Literal["stdout", "stderr"], str], None]
"""Told of output as it arrives, on the engine's loop; must not block."""
DisplaySink = Callable[[Display], None]
"""Told of what a run shows, in the order in which it was shown and printed; must not block."""


class Transport(Protocol):
    """How the pool speaks to one instance. Errors are mapped to `llm.ollama.InstanceFault` inside."""

    async def get(self, path: str, *, timeout_s: float) -> Mapping[str, Any]:
        """GET `path`; the decoded JSON object of a 200."""
        ...

    async def post(self, path: str, body: Mapping[str, Any], *, timeout_s: float) -> Mapping[str, Any]:
        """POST `body`; the decoded JSON object of a 200."""
        ...

    async def delete(self, path: str, body: Mapping[str, Any], *, timeout_s: float) -> None:
        """DELETE with `body`; a 200 says nothing more."""
        ...

    def stream(
        self, path: str, body: Mapping[str, Any], *, connect_s: float, first_s: float, between_s: float
    ) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        """POST `body`; the decoded JSON objects of its NDJSON lines, as many at a time as have come; never none of them.

        Closing the iterator closes the connection.
        """
        ...

    async def aclose(self) -> None: ...


class TransportFactory(Protocol):
    def __call__(self, instance: InstanceSettings) -> Transport: ...


class Executor(Protocol):
    """Runs code in one kind of isolation. User code that fails is a result; a sandbox that fails raises SandboxError."""

    async def run(self, request: ExecutionRequest, on_output: OutputSink | None = None) -> ExecutionResult: ...


class Provider(Protocol):
    """The seeds' task interface: `execute("llm/chat", {...})` returns a plain dictionary."""

    async def execute(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]: ...
