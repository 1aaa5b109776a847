"""Answers written down in one run of a notebook, and given again in another, without any server.

A recording is a file of JSON lines. Each holds an answer, or the error that came in its place, the fingerprint of its request, and, for
people, where it was asked. Version 1 knew answers only.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

from gleitzeit_nb.core.kept_failures import KeptFailure
from gleitzeit_nb.core.models import display
from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.core.remembering import KeptReply, demands, excerpt, fingerprint, only_loads, plain_reply
from gleitzeit_nb.core.requests import Chunk, LLMRequest
from gleitzeit_nb.errors import ConfigError, PoolError, ReplayMissError, RequestCancelledError

logger = logging.getLogger("gleitzeit_nb.llm")

VERSION = 2
READABLE = (1, 2)


class Recorder:
    """Appends to `path`. Raises ConfigError when that cannot be written, now or later: a recording with gaps is worse than none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._run = secrets.token_hex(6)  # of a request that was asked in several runs, the last counts
        self._append(b"")

    def __repr__(self) -> str:
        return f"<Recorder {self.path}>"

    async def recorded(self, request: LLMRequest, chunks: AsyncGenerator[Chunk, None]) -> AsyncGenerator[Chunk, None]:
        """The same answer, or the same error, which is written down on its way. Not how a model was merely loaded, nor a cancel."""
        async with aclosing(chunks):
            try:
                async for chunk in chunks:
                    if chunk.reply is not None and not only_loads(request):
                        await asyncio.to_thread(self._append, self._line(request, "reply", plain_reply(chunk.reply)))
                    yield chunk
            except PoolError as error:
                if not only_loads(request) and not isinstance(error, RequestCancelledError):
                    await asyncio.to_thread(self._append, self._line(request, "error", KeptFailure.of(error).plain()))
                raise

    def _line(self, request: LLMRequest, what: str, plain: dict[str, Any]) -> bytes:
        line = {
            "version": VERSION,
            "run": self._run,
            "key": fingerprint(request, request.model),
            "demands": demands(request),
            "cell": request.label,
            "model": request.model,
            "asked": excerpt(request),
            what: plain,
        }
        return json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n"

    def _append(self, data: bytes) -> None:
        """In one write, so that kernels may share a file."""
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "ab", buffering=0) as file:
                file.write(data)
        except OSError as exc:
            raise ConfigError(f"the recording {str(self.path)!r} (GLEITZEIT_RECORD) cannot be written: {exc.strerror or exc}") from exc


class Recording:
    """The answers and errors in a file. What is asked again gets its own in their order, and then the last one again.

    Errors are only for requests that make the same demands of instances; answers also for others that ask the same.
    """

    def __init__(self, path: Path) -> None:
        """Raises ConfigError when it cannot be read."""
        self.path = path
        self._kept: dict[str, list[tuple[str, KeptReply | KeptFailure]]] = {}  # by key: (demands, what became of it)
        self._given: dict[tuple[str, str], int] = {}
        self._asked: dict[str, str] = {}  # excerpt -> the model that it was asked of
        self._read()

    def __repr__(self) -> str:
        return f"<Recording {self.path}, {sum(map(len, self._kept.values()))} answers>"

    def find(self, request: LLMRequest) -> KeptReply | KeptFailure:
        """What became of it. Raises ReplayMissError."""
        key, demanded = fingerprint(request, request.model), demands(request)
        found = self._kept.get(key, [])
        own = [kept for wanted, kept in found if wanted == demanded] or [kept for _, kept in found if isinstance(kept, KeptReply)]
        if not own:
            raise self._miss(request)
        turn = self._given.get((key, demanded), 0)
        self._given[key, demanded] = turn + 1
        return own[min(turn, len(own) - 1)]

    def _read(self) -> None:
        runs: dict[str, str] = {}
        try:
            lines = self.path.read_bytes().split(b"\n")
        except OSError as exc:
            raise ConfigError(f"the recording {str(self.path)!r} (GLEITZEIT_REPLAY) cannot be read: {exc.strerror or exc}") from exc
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                data = json.loads(line)
                if data["version"] not in READABLE:
                    raise ValueError(f"its version {data['version']!r} is not among {', '.join(map(str, READABLE))}")
                key, run = str(data["key"]), str(data["run"])
                kept = KeptFailure.read(data["error"]) if "error" in data else KeptReply.read(data["reply"])
            except (ValueError, TypeError, KeyError, RecursionError) as exc:
                if number == len(lines):  # without a line's end: the kernel was killed while it wrote
                    logger.warning("the last line of the recording %s is not whole and is passed over", self.path)
                    continue
                raise ConfigError(f"{self.path}, line {number}: no recorded answer ({one_line(str(exc), 80)}). Record anew") from exc
            if runs.get(key) != run:
                runs[key], self._kept[key] = run, []
            self._kept[key].append((str(data.get("demands", "")), kept))
            self._asked[str(data.get("asked", ""))] = str(data.get("model", ""))

    def _miss(self, request: LLMRequest) -> ReplayMissError:
        asked = excerpt(request)
        where = f"{request.label}: " if request.label else ""
        why = "nothing like it was asked there"
        if asked in self._asked:
            model = self._asked[asked]
            same = model == request.model
            why = "the same was asked with other messages or options" if same else f"the same was asked of the model {_name(model)}"
        return ReplayMissError(
            f"{where}the recording {str(self.path)!r} has no answer to {asked!r} from {_name(request.model)}: {why}.\n"
            f"Record anew: run the notebook once with GLEITZEIT_RECORD={self.path} and a server, without GLEITZEIT_REPLAY"
        )


def _name(model: str) -> str:
    return one_line(display(model), 80) if model else "the default model"
