"""The control comm, which a front end opens: it asks for snapshots and steers instances, also while a cell runs.

`commands` lists what a front end may say. Kernel → front end: to hello {"type": "welcome", "version": "…", "answers_while_busy": true,
"cell_s": 12.5, "commands": […]} (`cell_s`: how long a cell has been running, null while none is) and {"type": "snapshot", "snapshot":
{…}}, at once and then on change, at most four a second; an empty one while there is no engine, which looking does not start. To a command
{"type": "started" | "done" | "error", "of": "drain", "request": "…", "text": "…", "report": ""}; what takes long is answered twice, at its
start and at its end. What a page wants to know of a notebook's outputs is in `outputs`.

Messages come from a browser that may show hostile pages: each is checked, and names only what this kernel itself has. Handlers run on a
front end's subshell while a cell runs, so they never wait: they answer, or hand over to the engine's loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from gleitzeit_nb.core.plain import clean, one_line
from gleitzeit_nb.errors import GleitzeitError, UsageError
from gleitzeit_nb.jupyter.control.actions import SLOW, doing, perform
from gleitzeit_nb.jupyter.control.cell_clock import CellClock
from gleitzeit_nb.jupyter.control.commands import COMMANDS, Command, kind_of, read_command, request_of
from gleitzeit_nb.jupyter.control.messages import empty_snapshot, snapshot_message
from gleitzeit_nb.jupyter.control.outputs import TARGET as OUTPUTS_TARGET
from gleitzeit_nb.jupyter.control.outputs import asks_for_outputs, outputs_message
from gleitzeit_nb.jupyter.display.redraw import Redraw

if TYPE_CHECKING:
    from gleitzeit_nb.engine import Engine
    from gleitzeit_nb.jupyter.front import Front
    from gleitzeit_nb.runtime import Runtime
    from gleitzeit_nb.snapshot import Snapshot

logger = logging.getLogger("gleitzeit_nb.jupyter")

TARGET = "gleitzeit_nb.control"
BYTES_PER_S = 60_000  # its share of the 250 kB/s that a kernel may show, beside a streamed answer and the dashboard
MOST_LINES = 32  # one per open page; more is not a person
TEXT_CHARS = 300
REPORT_CHARS = 10_000
PATIENCE_S = 0.1  # a command that takes longer is answered twice


class ControlTarget:
    """Listens for front ends. One per kernel; it starts no thread and no engine before one of them speaks."""

    def __init__(self, front: Front, manager: CommManager) -> None:
        self._front = front
        self._manager = manager
        self._lock = threading.RLock()  # invariant: the engine is watched exactly while there is one and a line wants snapshots
        self._lines: set[Line] = set()
        self._engine: Engine | None = None
        self._unwatch: Callable[[], None] | None = None
        self._forget_engine: Callable[[], None] | None = None
        self._latest: Snapshot | None = None
        self._redraw = Redraw(self._publish, BYTES_PER_S)
        self._cells = CellClock(front.shell)
        for target in (TARGET, OUTPUTS_TARGET):
            manager.register_target(target, self._opened)

    def __repr__(self) -> str:
        return f"<ControlTarget {len(self._lines)} front ends>"

    def close(self) -> None:
        """Close every comm, so that front ends know, and open no other."""
        for target in (TARGET, OUTPUTS_TARGET):
            self._manager.unregister_target(target, self._opened)
        self._cells.undo()
        with self._lock:
            self._redraw.end()
            forget, self._forget_engine = self._forget_engine, None
            lines, self._lines = self._lines, set()
            self._engine = None
            self._watch_as_wanted()
        if forget is not None:
            forget()
        for line in lines:
            line.hang_up()

    # -- on the front end's thread --------------------------------------------------------------------------------------------

    def _opened(self, comm: Any, _message: Any) -> None:
        line = Line(comm, self._heard)
        comm.on_close(lambda _message: self._ended(line))

    def _ended(self, line: Line) -> None:
        line.ended = True
        with self._lock:
            self._lines.discard(line)
            self._watch_as_wanted()

    def _heard(self, line: Line, data: object) -> None:
        try:
            if asks_for_outputs(data):
                line.tell(outputs_message(data, self._front.places))
                return
            command = read_command(data)
            if command.type == "hello":
                self._greet(line)
            else:
                runtime = self._front.runtime
                runtime.submit(_obey(line, command, runtime.current_engine, runtime))
        except GleitzeitError as error:
            line.fail(Command(kind_of(data), request=request_of(data)), str(error))

    def _greet(self, line: Line) -> None:
        self._drop_the_lost()
        with self._lock:
            if len(self._lines) >= MOST_LINES and line not in self._lines:
                raise UsageError(f"{MOST_LINES} pages already look at this kernel: close one of them.")
            self._lines.add(line)
            if self._forget_engine is None:
                self._forget_engine = self._front.runtime.on_engine(self._engine_moved)
            self._watch_as_wanted()
            engine = self._engine
        line.welcome(self._cells.running_s)
        if engine is None:
            line.show(empty_snapshot())
        else:
            self._front.runtime.submit(self._show_now(line, engine))

    def _engine_moved(self, engine: Engine | None) -> None:
        """On whichever thread started or stopped it."""
        with self._lock:
            if engine is self._engine:
                return
            self._engine = None
            self._watch_as_wanted()
            self._redraw.end()  # what was due on the loop of the engine before
            self._redraw, self._latest = Redraw(self._publish, BYTES_PER_S), None
            self._engine = engine
            self._watch_as_wanted()
        if engine is None:
            for line in self._looking():
                line.show(empty_snapshot())

    def _looking(self) -> tuple[Line, ...]:
        with self._lock:
            return tuple(self._lines)

    def _watch_as_wanted(self) -> None:
        """Under the lock."""
        if self._engine is not None and self._lines and self._unwatch is None:
            self._unwatch = self._engine.watch(self._changed)
        elif self._unwatch is not None and (self._engine is None or not self._lines):
            self._unwatch()
            self._unwatch = None

    # -- on the engine's loop ---------------------------------------------------------------------------------------------------

    def _changed(self, snapshot: Snapshot) -> None:
        self._latest = snapshot
        self._redraw.ask()

    def _publish(self) -> int:
        latest = self._latest
        if latest is None:
            return 0
        self._drop_the_lost()
        message = snapshot_message(latest)
        lines = self._looking()
        sent = sum(line.show(latest, message) for line in lines)
        for line in lines:
            if line.ended:
                self._ended(line)
        return sent * len(json.dumps(message)) if sent else 0

    def _drop_the_lost(self) -> None:
        """Read the goodbye of pages whose subshell ended before it did: else they would be told of every change, and counted."""
        for line in self._looking():
            if line.is_lost:
                self._manager.comm_close(None, None, {"content": {"comm_id": line.comm.comm_id, "data": {}}})

    async def _show_now(self, line: Line, engine: Engine) -> None:
        if engine is self._engine:  # else it has just stopped, and its views are told of that
            line.show(engine.snapshot())


class CommManager(Protocol):
    """What is used of a kernel's."""

    def register_target(self, name: str, opened: Callable[..., None]) -> object: ...

    def unregister_target(self, name: str, opened: Callable[..., None]) -> object: ...

    def comm_close(self, stream: Any, ident: Any, msg: Mapping[str, Any]) -> object: ...


class Line:
    """The comm of one front end."""

    def __init__(self, comm: Any, heard: Callable[[Line, object], None]) -> None:
        self.comm = comm
        self._heard = heard
        self._thread: threading.Thread | None = None
        self._context: contextvars.Context | None = None
        self._shown: Snapshot | None = None
        self.ended = False
        comm.on_msg(self._received)

    def _received(self, message: Mapping[str, Any]) -> None:
        # ipykernel (7.4) hands the messages of a comm to the subshell from which it last published on it. Publishing in the context
        # of the front end's own message keeps that the front end's subshell, from the engine's thread too.
        self._context = contextvars.copy_context()
        self._thread = threading.current_thread()
        self._heard(self, message.get("content", {}).get("data"))

    @property
    def is_lost(self) -> bool:
        """Whether the subshell is gone on which it was heard last: ipykernel (7.4) hands this comm's messages to no other."""
        return self._thread is not None and not self._thread.is_alive()

    def show(self, snapshot: Snapshot, message: dict[str, Any] | None = None) -> bool:
        """Send a snapshot, unless it is what was sent last. `message`: the same, made before for several lines."""
        if snapshot is self._shown or self.ended:
            return False
        self._shown = snapshot
        self._send(message or snapshot_message(snapshot))
        return True

    def welcome(self, cell_s: float | None) -> None:
        """On the thread on which this line is heard: the main one is that of the cells, so that messages wait for those."""
        from gleitzeit_nb import __version__

        busy = threading.current_thread() is not threading.main_thread()
        able = {"version": __version__, "answers_while_busy": busy, "commands": list(COMMANDS)}
        self._send({"type": "welcome", **able, "cell_s": None if cell_s is None else round(cell_s, 3)})

    def tell(self, message: dict[str, Any]) -> None:
        self._send(message)

    def answer(self, outcome: str, command: Command, text: str, report: str = "") -> None:
        """`outcome`: started, done or error."""
        words = {"of": command.type, "request": command.request, "text": one_line(text, TEXT_CHARS), "report": report}
        self._send({"type": outcome, **words})

    def fail(self, command: Command, text: str) -> None:
        """With all lines of it as the report, where the one line that is shown at first would lose something."""
        lines = clean(text[:REPORT_CHARS]).strip()
        self.answer("error", command, text, lines if "\n" in lines or len(lines) > TEXT_CHARS else "")

    def hang_up(self) -> None:
        if not self.ended:
            self._reach(self.comm.close)
            self.ended = True

    def _send(self, data: dict[str, Any]) -> None:
        if not self.ended:
            self._reach(self.comm.send, data)

    def _reach(self, action: Callable[..., object], *words: object) -> None:
        try:
            if self._context is None:
                action(*words)
            else:
                self._context.copy().run(action, *words)
        except Exception:
            self.ended = True
            logger.exception("a front end cannot be reached any more; nothing is sent to it from now on")


async def _obey(line: Line, command: Command, engine: Engine | None, runtime: Runtime) -> None:
    """Do it, on the engine's loop, and say what came of it; when it takes a while, also that it has begun."""
    told_at_once = command.type in SLOW
    if told_at_once:
        line.answer("started", command, doing(command))
    work = asyncio.ensure_future(perform(command, engine, runtime))
    done, _ = await asyncio.wait({work}, timeout=PATIENCE_S)
    if not done and not told_at_once:
        line.answer("started", command, doing(command))
    try:
        told = await work
    except GleitzeitError as error:
        line.fail(command, str(error))
    except Exception as error:
        logger.exception("the command %s failed", command.type)
        line.fail(command, f"It failed in a way that was not foreseen: {type(error).__name__}: {error}")
    else:
        line.answer("done", command, told.text, told.report)
