"""The owner's side of one runner process: start and handshake, requests, the reason of its end."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import signal
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gleitzeit_nb.embedded.process import command
from gleitzeit_nb.embedded.runner import MODULE, RunnerOrder
from gleitzeit_nb.embedded.wire import RefusalError
from gleitzeit_nb.errors import ChildStartError

if TYPE_CHECKING:
    import httpx

_log = logging.getLogger(__name__)
LOAD_LIMIT_S = 300.0
_CONNECT_S = 10.0
_NOTES = 12  # lines of the child's error output that are kept
_LINE_BYTES = 1 << 20
STOPPED = (
    "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, "
    "check ollama server logs for details"
)


class ChildFaultError(Exception):
    """The model's process died or broke off while it served a request. It never leaves the server process."""


class Child:
    """A running llama-server with one model. Made by `Child.start`, ended by `stop`."""

    def __init__(self, process: asyncio.subprocess.Process, address: str, key: str, notes: deque[str]) -> None:
        import httpx

        self._process = process
        self._notes = notes
        self.address = address
        # Loopback only: no proxy of the environment, no TLS context, and no read limit, since a prompt may take minutes.
        # One connection for each request: an idle one would hold one of the server's few threads for 5 s, then break.
        self._client: httpx.AsyncClient = httpx.AsyncClient(
            base_url=address,
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(None, connect=_CONNECT_S),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            trust_env=False,
            verify=False,
        )

    @classmethod
    async def start(
        cls,
        model: Path,
        *,
        slots: int,
        num_ctx: int,
        threads: int,
        embedding: bool,
        limit_s: float = LOAD_LIMIT_S,
        runner: Sequence[str] | None = None,
    ) -> Child:
        """Load the model in a process of its own. ChildStartError when it ends instead, with its last words.

        `runner` is another command line that speaks the runner's handshake.
        """
        order = RunnerOrder(
            model=str(model),
            slots=slots,
            num_ctx=num_ctx,
            threads=threads,
            key=secrets.token_hex(16),
            embedding=embedding,
            owner_pid=os.getpid(),
        )
        process = await _spawn(runner or command(MODULE))
        notes: deque[str] = deque(maxlen=_NOTES)
        collector = asyncio.create_task(_collect(process, notes))
        try:
            answer = await asyncio.wait_for(_handshake(process, order), limit_s)
            if "ready" not in answer:
                await process.wait()
                await collector
                raise ChildStartError(_start_failure(model, process.returncode, [*notes, *answer.values()]))
        except asyncio.TimeoutError as error:
            await _end(process)
            raise ChildStartError(f"{model.name} was not loaded within {limit_s:.0f} s; its process was ended.") from error
        except BaseException:
            await _end(process)
            raise
        _log.info("loaded %s: %d slots of %d tokens, pid %d", model.name, slots, num_ctx, process.pid)
        return cls(process, answer["ready"], order.key, notes)

    def __repr__(self) -> str:
        return f"<Child pid={self.pid} {self.address} {'alive' if self.alive else self.end_reason()}>"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    def end_reason(self) -> str:
        return f"llama-server process has terminated: {describe_exit(self._process.returncode)}"

    def memory_bytes(self) -> int | None:
        """Resident memory, where the system tells it (Linux)."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii", errors="replace")
        except OSError:
            return None
        for row in status.splitlines():
            if row.startswith("VmRSS:"):
                return int(row.split()[1]) * 1024
        return None

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The decoded answer. RefusalError with llama-server's own status and text; ChildFaultError when it is gone."""
        import httpx

        try:
            response = await self._client.post(path, json=body)
        except httpx.TransportError as error:
            raise await self._fault(error) from error
        if response.status_code != 200:
            raise _refusal(response.status_code, response.content)
        return response.json()

    async def stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[Any, None]:
        """One decoded object per server-sent event. Closing the iterator closes the connection, which stops the generation."""
        import httpx

        finished = False
        try:
            async with self._client.stream("POST", path, json={**body, "stream": True}) as response:
                if response.status_code != 200:
                    raise _refusal(response.status_code, await response.aread())
                async for row in response.aiter_lines():
                    if row.startswith("data: [DONE]"):
                        finished = True
                    elif row.startswith(("data: ", "error: ")):
                        event = json.loads(row.partition(": ")[2])
                        if isinstance(event, dict) and "error" in event:
                            raise _event_refusal(event["error"])
                        finished = finished or bool(isinstance(event, dict) and event.get("stop"))
                        yield event
        except httpx.TransportError as error:
            raise await self._fault(error) from error
        if not finished:
            raise await self._fault(None)

    async def _fault(self, error: Exception | None) -> ChildFaultError:
        """Wait a moment for the process's end, so that the reason can be told."""
        try:
            await asyncio.wait_for(self._process.wait(), 2.0)
        except asyncio.TimeoutError:
            return ChildFaultError(f"the connection to llama-server broke: {error or 'its answer ended too early'}")
        return ChildFaultError(self.end_reason())

    async def stop(self) -> None:
        """End the process and wait until its memory is free."""
        await _end(self._process)
        await self._client.aclose()


async def _spawn(runner: Sequence[str]) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    try:
        return await asyncio.create_subprocess_exec(
            *runner, stdin=pipe, stdout=pipe, stderr=pipe, limit=_LINE_BYTES, start_new_session=True
        )
    except OSError as error:
        raise ChildStartError(
            f"No process could be started for the model ({error}). Free memory or processes on this machine and ask again."
        ) from error


async def _handshake(process: asyncio.subprocess.Process, order: RunnerOrder) -> dict[str, str]:
    """{"ready": address} or {"failed": reason}, as the child says; empty when it ended without a word. Other output is skipped."""
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the child was started without pipes")
    process.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
    try:
        await process.stdin.drain()
        while row := await process.stdout.readline():
            try:
                said = json.loads(row)
            except ValueError:
                continue
            if isinstance(said, dict) and said.keys() & {"ready", "failed"}:
                return {str(name): str(value) for name, value in said.items()}
    except ConnectionError:  # it ended before it read its order
        return {}
    return {}


async def _collect(process: asyncio.subprocess.Process, notes: deque[str]) -> None:
    """Keep the last lines of the child's error output; a full pipe would block it."""
    if process.stderr is None:
        return
    while True:
        try:
            row = await process.stderr.readline()
        except ValueError:  # a line beyond the limit has been dropped
            continue
        if not row:
            return
        notes.append(row.decode("utf-8", "replace").strip()[:300])


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):  # it ended by itself in between
            process.kill()
    await asyncio.shield(process.wait())


def describe_exit(code: int | None) -> str:
    if code is None:
        return "it still runs"
    if code >= 0:
        return f"exit status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = str(-code)
    return f"signal {name}"


def _start_failure(model: Path, code: int | None, notes: Sequence[str]) -> str:
    said = next((note.partition(" E ")[2] or note for note in notes), "")
    text = f"llama-server process has terminated: {describe_exit(code)} while it loaded {model.name}."
    if code == -signal.SIGILL:
        text += " This processor lacks an instruction that the engine uses (AVX2, FMA, F16C or BMI2): use an Ollama server instead."
    elif code == -signal.SIGKILL:
        text += " Something killed it, most often for lack of memory: free some, or ask for a smaller num_ctx."
    return f"{text} It said: {said}" if said else text


def _refusal(status: int, body: bytes) -> RefusalError:
    try:
        error = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return RefusalError(500, body.decode("utf-8", "replace")[:500] or f"llama-server answered with status {status}")
    return _event_refusal(error, status)


def _event_refusal(error: object, status: int = 500) -> RefusalError:
    if isinstance(error, dict):
        return RefusalError(int(error.get("code") or status), str(error.get("message") or error))
    return RefusalError(status, str(error))
