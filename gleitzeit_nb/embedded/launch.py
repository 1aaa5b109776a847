"""An embedded instance in a process of its own, for a kernel, a demo or a test. It ends with the process that launched it."""

from __future__ import annotations

import json
import os
import secrets
import select
import subprocess
import tempfile
import time
import weakref
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from gleitzeit_nb import errors
from gleitzeit_nb.core.access import Secret
from gleitzeit_nb.embedded import weights
from gleitzeit_nb.embedded.process import command
from gleitzeit_nb.embedded.server import ServerSettings, check_installation
from gleitzeit_nb.embedded.worker import MODULE
from gleitzeit_nb.errors import ChildStartError, EmbeddedError

if TYPE_CHECKING:
    from typing_extensions import Self

READY_LIMIT_S = 60.0
_STOP_LIMIT_S = 5.0
STAND_IN = "embedded"  # the id of the instance that an engine launches where no Ollama answers
TAGS = ("embedded", "cpu")


class EmbeddedInstance:
    """A running server process with a random token. Made by `launch`; ends with `stop`, `kill`, its `with` block or this process."""

    def __init__(self, name: str, url: str, token: str, model: str, process: subprocess.Popen[bytes]) -> None:
        self.id = self.name = name
        self.url = url
        self.model = model
        self._token = token
        self._process = process
        self._finalizer = weakref.finalize(self, _end, process)

    @classmethod
    def launch(
        cls,
        name: str,
        *,
        model: str = weights.DEFAULT_MODEL,
        port: int = 0,
        parallel: int = 1,
        cache_dir: Path | None = None,
        threads: int | None = None,
        max_queue: int = 512,
        keep_alive_s: float = 300.0,
        num_ctx: int = 4096,
    ) -> EmbeddedInstance:
        """Start a server on loopback and wait until it answers. Blocks for about a second; loads no model yet.

        The weights must be there (`embedded.fetch`). The keywords are those of ServerSettings.
        WeightsError, PortInUseError, ChildStartError and MissingDependencyError say what to do.
        """
        token = secrets.token_urlsafe(24)
        settings = ServerSettings(
            cache_dir=weights.cache(cache_dir),
            model=model,
            port=port,
            parallel=parallel,
            threads=threads,
            token=token,
            max_queue=max_queue,
            keep_alive_s=keep_alive_s,
            num_ctx=num_ctx,
        )
        check_installation()
        if not settings.is_file:
            weights.locate(model, settings.cache_dir)
        process, notes = _start(settings)
        try:
            with notes:
                url = _await_ready(process, notes)
        except BaseException:
            _end(process)
            raise
        return cls(name, url, token, model, process)

    def __repr__(self) -> str:
        return f"<EmbeddedInstance {self.name!r} {self.url} {self.model} {'alive' if self.alive else 'ended'}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def token(self) -> str:
        """What callers send as `Authorization: Bearer …`. Not shown by `repr`."""
        return self._token

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def instance(self) -> dict[str, Any]:
        """This instance as an entry of a pool's configuration. Its key shows itself to nobody but the transport."""
        return {"id": self.name, "url": self.url, "api_key": Secret(self._token), "models": [self.model], "tags": list(TAGS)}

    def kill(self) -> None:
        """SIGKILL, as a crash would be. Its models' processes end with it."""
        self._process.kill()
        self._process.wait()
        self.stop()

    def stop(self) -> None:
        """End the server; returns when it is gone. Harmless when it is already."""
        self._finalizer()


def _start(settings: ServerSettings) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    """The process, with its order given, and the file that takes its error output."""
    notes = tempfile.TemporaryFile()  # noqa: SIM115  # the caller closes it once the server is up
    try:
        process = subprocess.Popen(
            command(MODULE),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=notes,
            cwd="/",
            start_new_session=True,  # an interrupt of the kernel's process group must not end it
        )
    except OSError as error:
        notes.close()
        raise ChildStartError(f"The embedded instance's process could not be started: {error}") from error
    order = {**asdict(settings), "cache_dir": str(settings.cache_dir.resolve()), "owner_pid": os.getpid()}
    if settings.is_file:
        order["model"] = str(Path(settings.model).resolve())
    with suppress(OSError):  # it ended already; waiting for its answer tells why
        _pipe(process.stdin).write(json.dumps(order).encode() + b"\n")
        _pipe(process.stdin).flush()
    return process, notes


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise RuntimeError("the process was started without pipes")
    return pipe


def _await_ready(process: subprocess.Popen[bytes], notes: IO[bytes]) -> str:
    """The URL that the server announces. Raises what it reports instead, or ChildStartError with its last words."""
    said = b""
    deadline = time.monotonic() + READY_LIMIT_S
    stdout = _pipe(process.stdout)
    while not said.endswith(b"\n"):
        readable, _, _ = select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            raise ChildStartError(f"The embedded instance did not come up within {READY_LIMIT_S:.0f} s.{_last_words(notes)}")
        part = os.read(stdout.fileno(), 65536)
        if not part:
            process.wait()
            raise ChildStartError(f"The embedded instance ended while it started (status {process.returncode}).{_last_words(notes)}")
        said += part
    answer = json.loads(said)
    if "url" in answer:
        return str(answer["url"])
    kind = getattr(errors, answer["error"], EmbeddedError)
    raise kind(answer["message"])


def _last_words(notes: IO[bytes]) -> str:
    notes.seek(0)
    rows = notes.read().decode("utf-8", "replace").strip().splitlines()
    return f"\nIt said: {rows[-1][:500]}" if rows else ""


def _end(process: subprocess.Popen[bytes]) -> None:
    """Close stdin, which ends the server in order; kill it when that takes too long."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):  # the other end is gone, which is what closing is for
                pipe.close()
    try:
        process.wait(_STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
