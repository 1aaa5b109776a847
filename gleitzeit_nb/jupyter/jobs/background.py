"""What background jobs do: an answer, its code, a run in the sandbox. On the engine's loop, with nothing printed from there."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gleitzeit_nb.core.execution import ExecutionResult
from gleitzeit_nb.core.plain import clean
from gleitzeit_nb.core.requests import LLMRequest
from gleitzeit_nb.errors import GleitzeitError, TransferError
from gleitzeit_nb.jupyter.display.answer import ARRIVING, Written, cut_metadata, whole
from gleitzeit_nb.jupyter.display.live_output import Part
from gleitzeit_nb.jupyter.display.places import RUNNING, WAITING
from gleitzeit_nb.jupyter.jobs.output_html import RunOutput
from gleitzeit_nb.jupyter.llm.answering import WHY
from gleitzeit_nb.jupyter.llm.run_option import CodeRunner, runnable
from gleitzeit_nb.jupyter.llm.tool_rounds import called
from gleitzeit_nb.jupyter.sandbox.cell import failure_of, pieces, write_files
from gleitzeit_nb.jupyter.values import LLMReply, SandboxRun

if TYPE_CHECKING:
    from gleitzeit_nb.engine import Engine
    from gleitzeit_nb.jobs import Job
    from gleitzeit_nb.jupyter.front import Front
    from gleitzeit_nb.jupyter.llm.conversation import Conversation
    from gleitzeit_nb.sandbox.request import RunOptions

Touch = Callable[[], None]


class RunWork:
    """Code in the sandbox. Its result is the SandboxRun; a run that is not ok fails the job, as it would fail a cell."""

    kind = "sandbox"
    model = ""

    def __init__(
        self, front: Front, code: str, args: argparse.Namespace, options: RunOptions, mode: str | None, *, of_answer: bool = False
    ) -> None:
        self._front = front
        self._code = code
        self._args = args
        self._mode = mode
        self._options = options
        self._of_answer = of_answer
        self._output = RunOutput()
        self.value: SandboxRun | None = None
        self._traceback = ""

    async def go(self, engine: Engine, job: Job, touch: Touch) -> SandboxRun:
        job.part = self._options["id"]
        async with contextlib.aclosing(pieces(engine.sandbox, self._code, self._mode, self._options)) as arriving:
            async for piece in arriving:
                if isinstance(piece, ExecutionResult):
                    self.value = SandboxRun(piece)
                else:
                    self._output.add(piece)
                    touch()
        if self.value is None:
            raise RuntimeError("the sandbox ended a run without a result and without an error")
        self._end_of_output(self.value)
        failure = failure_of(self.value, self._args, await self._files(self.value), of_answer=self._of_answer)
        if failure is not None:
            raise failure
        return self.value

    def _end_of_output(self, run: SandboxRun) -> None:
        self._output.end()
        if run.traceback:
            self._output.add(("stderr", clean(run.traceback).rstrip("\n") + "\n"))

    async def _files(self, run: SandboxRun) -> TransferError | None:
        return await asyncio.to_thread(write_files, self._front, run, self._args) if self._args.artifacts else None

    def describe(self, engine: Engine) -> str:
        return engine.sandbox.describe(self._options["id"])

    @property
    def length(self) -> int:
        """Grows with what there is to show."""
        return len(self._output)

    def parts(self) -> list[Part]:
        if self._args.quiet:
            return []
        return [Part(self.length, lambda: (self._output.bundle(), RUNNING if self.value is None else {}))]

    @property
    def text(self) -> str:
        return self._output.printed

    @property
    def thinking(self) -> str:
        return ""

    @property
    def tokens(self) -> int | None:
        return None

    @property
    def where(self) -> str:
        return self.value.mode if self.value is not None else ""

    def footer(self) -> tuple[str, ...]:
        return (self.value.footer(), *self.value.notes()) if self.value is not None else ("",)


class AnswerWork:
    """A prompt, and with `--run` the code of the answer. Its result is the LLMReply."""

    kind = "llm"

    def __init__(
        self, front: Front, request: LLMRequest, written: Written, runner: CodeRunner | None = None, talk: Conversation | None = None
    ) -> None:
        self.model = request.model
        self._front = front
        self._request = request
        self._written = written
        self._runner = runner
        self._talk = talk
        self._pieces: list[str] = []
        self._thought = 0
        self._instance = ""
        self.value: LLMReply | None = None
        self._running: RunWork | None = None
        self._note = ""

    async def go(self, engine: Engine, job: Job, touch: Touch) -> LLMReply:
        try:
            reply = await self._ask(engine, job, touch)
            if self._runner is not None:
                await self._run_code(self._runner, reply, engine, job, touch)
        except asyncio.CancelledError:
            self._broke_off("cancelled")
            raise
        except GleitzeitError as error:
            self._broke_off(WHY.get(type(error), "failed"))
            raise
        return reply

    def _broke_off(self, note: str) -> None:
        """What stands below an answer that is not whole."""
        if self.value is None:
            self._note = f"{note}; {self._talk.unkept}" if self._talk is not None else note

    async def _ask(self, engine: Engine, job: Job, touch: Touch) -> LLMReply:
        job.part = self._request.id
        async with contextlib.aclosing(engine.pool.stream_request(self._request)) as chunks:
            async for chunk in chunks:
                if chunk.restart:
                    self._pieces, self._thought = [], 0
                if not self._pieces:
                    self._answers_on(engine, job)
                if chunk.text:
                    self._pieces.append(chunk.text)
                self._thought += len(chunk.thinking)
                if chunk.reply is not None:
                    self.value = LLMReply(chunk.reply)
                    job.model = self.model = chunk.reply.model
                touch()
        if self.value is None:
            raise RuntimeError("the pool ended a request without a reply and without an error")
        return self.value if self._talk is None else self._talk.keep(self.value)

    def _answers_on(self, engine: Engine, job: Job) -> None:
        """Who answers, and with which model: an answer that is never whole should be told as whose it was."""
        for view in engine.pool.run_views():
            if view.id == self._request.id:
                self._instance, self.model = view.where, view.model or self.model
                job.model = self.model

    async def _run_code(self, runner: CodeRunner, reply: LLMReply, engine: Engine, job: Job, touch: Touch) -> None:
        code = runnable(reply.text)
        self._running = running = RunWork(self._front, code.source, runner.args, runner.options, runner.mode, of_answer=True)
        try:
            await running.go(engine, job, touch)
        finally:
            if running.value is not None:
                reply.executed(running.value, code.notes())

    def describe(self, engine: Engine) -> str:
        if self._running is not None:
            return f"its code: {self._running.describe(engine) or 'starting'}"
        if self._thought and not self._pieces:
            return f"thinking, {self._thought} characters"
        return engine.pool.describe(self._request.id)

    def parts(self) -> list[Part]:
        key = (len(self._pieces), self.value is not None, self._note)
        run = [] if self._runner is None else [Part(self._running.length if self._running else -1, self._drawn_run)]
        return [Part(key, self._drawn_answer), *run]

    def _drawn_answer(self) -> tuple[dict[str, Any], dict[str, Any]]:
        reply, text = self.value, "".join(self._pieces)
        if reply is None:
            if not text and not self._note:
                return {"text/markdown": "", "text/plain": ""}, WAITING
            return whole(text, self._written, self._note), cut_metadata(self._note) if self._note else ARRIVING
        return whole(text, self._written, instead=called(reply.tool_calls)), reply.metadata()

    def _drawn_run(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return self._running.parts()[0].draw() if self._running is not None else ({"text/html": "", "text/plain": ""}, WAITING)

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    @property
    def thinking(self) -> str:
        return self.value.thinking if self.value is not None else ""

    @property
    def tokens(self) -> int | None:
        return self.value.tokens if self.value is not None else len(self._pieces)

    @property
    def where(self) -> str:
        return self.value.instance if self.value is not None else self._instance

    def footer(self) -> tuple[str, ...]:
        return (self.value.footer(), *self.value.notes()) if self.value is not None else ("",)
