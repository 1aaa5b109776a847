"""What a run sends, as it arrives: its output, its report, its files. Whatever is more than it may is a FrameError."""

from __future__ import annotations

import asyncio
import codecs
import logging
from typing import Literal

from gleitzeit_nb.core.execution import ExecutionRequest, Limits
from gleitzeit_nb.protocols import DisplaySink, OutputSink
from gleitzeit_nb.sandbox import protocol
from gleitzeit_nb.sandbox.artifacts import FILE_KINDS, ArtifactReader
from gleitzeit_nb.sandbox.displays import DisplayReader
from gleitzeit_nb.sandbox.judge import Ending
from gleitzeit_nb.sandbox.network import RunNetwork
from gleitzeit_nb.sandbox.protocol import FrameError
from gleitzeit_nb.sandbox.sending import report_bytes
from gleitzeit_nb.sandbox.values import ReportReader

logger = logging.getLogger("gleitzeit_nb.sandbox")

StreamName = Literal["stdout", "stderr"]


class Arrivals:
    """What is known of the run that is going on, and what it sent so far."""

    def __init__(
        self, request: ExecutionRequest, limits: Limits, on_output: OutputSink | None, on_display: DisplaySink | None = None
    ) -> None:
        self.request = request
        self.network: RunNetwork | None = None
        self.limits = limits
        self.done: asyncio.Future[Ending | None] = asyncio.get_running_loop().create_future()
        self.cancelled = False
        self.why = ""  # it was cancelled
        self.late = False
        self.peak_bytes: int | None = None
        self.cancelling: asyncio.Task[None] | None = None  # held, or it could be collected while it works
        self.stdout = OutputReader("stdout", limits.output_bytes, on_output)
        self.stderr = OutputReader("stderr", limits.output_bytes, on_output)
        self.streams = {"stdout": self.stdout, "stderr": self.stderr}
        self.displays = DisplayReader(limits.display_bytes, html=request.trust_html, on_display=on_display)
        self.report = ReportReader(request.outputs, limits.value_bytes, self.displays)
        self.artifacts = ArtifactReader(limits)
        self._report_left = report_bytes(request, limits)

    def take(self, kind: bytes, payload: bytes) -> None:
        if kind == protocol.STDOUT:
            self.stdout.take(payload)
        elif kind == protocol.STDERR:
            self.stderr.take(payload)
        elif kind == protocol.STDOUT_GAP:
            self.stdout.gap(payload)
        elif kind == protocol.STDERR_GAP:
            self.stderr.gap(payload)
        elif kind == protocol.RESULT:
            self._report_left -= len(payload)
            if self._report_left < 0:
                raise FrameError("it sent more results than it may")
            self.report.feed(payload)
        elif self.network is not None and kind in self.network.kinds:
            self.network.take(kind, payload)
        elif self.request.artifacts and kind in FILE_KINDS:
            self.artifacts.frame(kind, payload)
        else:
            raise FrameError(f"it sent a frame of type {kind!r} during a run")


class OutputReader:
    """One stream: capped once more, kept as bytes, and passed on as text to whoever listens.

    Bytes, because one character of a stream can make a text of it take four times their size: it is made once, at the end.
    """

    def __init__(self, name: StreamName, most: int, on_output: OutputSink | None) -> None:
        self.dropped = 0
        self._name: StreamName = name
        self._left = most
        self._on_output = on_output
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._kept = bytearray()

    def take(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            raise FrameError(f"it sent more {self._name} than the limit of the run")
        self._kept += data
        self._tell(data)

    def gap(self, payload: bytes) -> None:
        self.dropped = int.from_bytes(payload, "big")
        # In ASCII: one wider character would double the whole text. Its line end also ends a character that was cut there.
        said = f"\n[... {self.dropped} bytes left out ...]\n".encode("ascii")
        self._kept += said
        self._tell(said)

    def end(self) -> str:
        self._tell(b"", final=True)
        text = self._kept.decode("utf-8", "replace")
        self._kept = bytearray()
        return text

    def _tell(self, data: bytes, *, final: bool = False) -> None:
        if self._on_output is None:
            return
        text = self._decoder.decode(data, final)
        try:
            if text:
                self._on_output(self._name, text)
        except Exception:
            logger.exception("whoever listens to the sandbox's output failed; it hears no more of this run")
            self._on_output = None
