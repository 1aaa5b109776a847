"""Where an answer appears while it arrives: in one display of a notebook, on a terminal, or nowhere until it is whole.

A view takes pieces of text and lines of status, and shows nothing that was not made harmless. All of it runs on the cell's thread.
"""

from __future__ import annotations

import json
import re
import sys
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from gleitzeit_nb.core.plain import OutputText, clean, one_line
from gleitzeit_nb.jupyter.display.pace import ANSWERS_BYTES_PER_S, Pace
from gleitzeit_nb.jupyter.display.places import WAITING, Places
from gleitzeit_nb.jupyter.markdown.harmless import harmless, harmless_line

if TYPE_CHECKING:
    from gleitzeit_nb.jupyter.front import Front

STATUS_AFTER_S = 0.3  # a line that would be gone at once is not shown
STATUS_INTERVAL_S = 0.25
LAST_PAINT_WAIT_S = 1.5
SMALL_BYTES = 10_000  # the end of an answer of that size waits for nothing
PLAIN_CHARS = 50_000

ARRIVING: dict[str, Any] = {"gleitzeit_nb": {"state": "arriving"}}  # what a front end knows an answer by before it is whole

Publish = Callable[[dict[str, Any], dict[str, Any], bool], None]
Written = Callable[[str], str]  # an answer's text as Markdown that does no harm


class AnswerView(Protocol):
    def status(self, line: str) -> None:
        """Why nothing has come yet. Told again and again while waiting."""
        ...

    def add(self, text: str) -> None: ...

    def restart(self) -> None:
        """What came so far is void: another answer takes its place."""
        ...

    def finish(self, metadata: dict[str, Any], instead: str = "") -> None:
        """Show the whole answer; `instead`: a line in place of one without any text."""
        ...

    def give_up(self, note: str) -> None:
        """Show what came so far with `note` behind it; nothing where nothing was shown."""
        ...


def answer_view(front: Front, *, stream: bool, quiet: bool, as_json: bool = False) -> AnswerView:
    """The view that fits the shell and the cell's options. `as_json`: the answer is shown as code, with its line breaks."""
    if quiet:
        return NoView()
    if not front.in_kernel:
        return TerminalView(sys.stdout) if stream else WholeView(lambda data, _metadata, _update: print(data["text/plain"]))  # noqa: T201
    publish, written = publisher(front.places), harmless_json if as_json else harmless
    if not stream:
        return WholeView(publish, written)
    return StreamView(publish, time.monotonic, time.sleep, written, Pace(front.budget))


def harmless_json(text: str) -> str:
    """Markdown that shows JSON with its line breaks."""
    return fenced("json", text)


def fenced(language: str, text: str) -> str:
    """Markdown that shows `text` as a block of code; its fence is longer than any run of backticks inside."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return harmless(f"{fence}{language}\n{text}\n{fence}") if text else ""


def publisher(places: Places) -> Publish:
    """Publishes into one place, which later messages replace: those that say in their metadata that it goes on are followed by more."""
    from IPython.display import publish_display_data

    name = uuid.uuid4().hex

    def publish(data: dict[str, Any], metadata: dict[str, Any], update: bool) -> None:
        told = places.put(name, data, metadata)
        publish_display_data(data=data, metadata=told, transient={"display_id": name}, update=update)  # type: ignore[no-untyped-call]

    return publish


class NoView:
    def status(self, line: str) -> None:
        return

    def add(self, text: str) -> None:
        return

    def restart(self) -> None:
        return

    def finish(self, metadata: dict[str, Any], instead: str = "") -> None:
        return

    def give_up(self, note: str) -> None:
        return


class WholeView:
    """Shows the answer once, at its end: one message, which tools that replay notebooks can compare."""

    def __init__(self, publish: Publish, written: Written = harmless) -> None:
        self._publish = publish
        self._written = written
        self._pieces: list[str] = []

    def status(self, line: str) -> None:
        return

    def add(self, text: str) -> None:
        if text:
            self._pieces.append(text)

    def restart(self) -> None:
        self._pieces.clear()

    def finish(self, metadata: dict[str, Any], instead: str = "") -> None:
        self._publish(whole("".join(self._pieces), self._written, instead=instead), metadata, False)

    def give_up(self, note: str) -> None:
        if self._pieces:
            self._publish(whole("".join(self._pieces), self._written, note), cut_metadata(note), False)


class StreamView:
    """Repaints one display as text arrives: often while it is short, more seldom as it grows, and once more when it is whole."""

    def __init__(
        self,
        publish: Publish,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        written: Written = harmless,
        pace: Pace | None = None,
        worked: Callable[[], float] = time.thread_time,
    ) -> None:
        self._publish = publish
        self._written = written
        self._clock = clock
        self._sleep = sleep
        self._worked = worked  # waiting for a processor that others use is no reason to draw less often
        self._pace = pace or Pace(ANSWERS_BYTES_PER_S)
        self._pieces: list[str] = []
        self._dirty = False
        self._shown = False
        self._began = clock()
        self._status = ""

    def status(self, line: str) -> None:
        now = self._clock()
        if self._dirty:
            self._paint()
        elif not self._pieces and line and line != self._status and now - self._began >= STATUS_AFTER_S and not self._pace.wait_s(now):
            self._status = line
            shown = one_line(line)
            self._send({"text/markdown": f"*{harmless_line(shown)}*", "text/plain": shown}, WAITING)
            self._pace.sent(2 * message_bytes(shown), now, rest_s=STATUS_INTERVAL_S)

    def add(self, text: str) -> None:
        if text:
            self._pieces.append(text)
            self._dirty = True
            self._paint()

    def restart(self) -> None:
        self._pieces.clear()
        self._dirty = False
        if self._shown:
            self._send({"text/markdown": "*(asked again)*", "text/plain": "(asked again)"}, WAITING)

    def _paint(self) -> None:
        if self._pace.wait_s(self._clock()):
            return
        began = self._worked()
        markdown = self._written("".join(self._pieces))
        self._send({"text/markdown": markdown}, ARRIVING)
        self._pace.sent(message_bytes(markdown), self._clock(), self._worked() - began)
        self._dirty = False

    def finish(self, metadata: dict[str, Any], instead: str = "") -> None:
        data = whole("".join(self._pieces), self._written, instead=instead)
        size_bytes = sum(map(message_bytes, data.values()))
        try:
            if size_bytes > SMALL_BYTES:
                self._sleep(min(self._pace.wait_s(self._clock()), LAST_PAINT_WAIT_S))
        finally:  # an interrupt now must not cost the end of a whole answer
            self._send(data, metadata)
            self._pace.sent(size_bytes, self._clock())

    def give_up(self, note: str) -> None:
        if self._shown or self._pieces:
            self._send(whole("".join(self._pieces), self._written, note), cut_metadata(note) if self._pieces else {})

    def _send(self, data: dict[str, Any], metadata: dict[str, Any]) -> None:
        self._publish(data, metadata, self._shown)
        self._shown = True


class TerminalView:
    """Prints the answer as it comes. A terminal shows text: Markdown stays as it was written."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._text = OutputText()
        self._began = False
        self._last = "\n"

    def status(self, line: str) -> None:
        return

    def add(self, text: str) -> None:
        self._write(self._text.feed(text.replace("\r", "")))

    def restart(self) -> None:
        began = self._began
        self.finish({})
        self._write("(asked again)\n" if began else "")

    def finish(self, metadata: dict[str, Any], instead: str = "") -> None:
        self._write(self._text.flush())
        if not self._began and instead:
            self._write(f"({one_line(instead)})")
        if self._last != "\n":
            self._write("\n")

    def give_up(self, note: str) -> None:
        began = self._began
        self.finish({})
        if began:
            self._write(f"({one_line(note)})\n")

    def _write(self, text: str) -> None:
        if text:
            self._out.write(text)
            self._out.flush()
            self._began, self._last = True, text[-1]


def cut_metadata(note: str) -> dict[str, Any]:
    """What a front end knows a part of an answer by, and what in it is not the model's."""
    return {"gleitzeit_nb": {"state": "cut", "note": one_line(note)}}


def whole(text: str, written: Written, note: str = "", instead: str = "") -> dict[str, Any]:
    """An answer's last form; `instead` is what one without text consists of. Readers without Markdown get the text too, of a very long
    one the beginning."""
    empty = one_line(instead) or "an empty answer"
    markdown = written(text) or ("" if note else f"*({harmless_line(empty)})*")
    plain = clean(text[:PLAIN_CHARS]) + (f"\n… {len(text) - PLAIN_CHARS:,} more characters" if len(text) > PLAIN_CHARS else "")
    if note:
        markdown = "\n\n".join(part for part in (markdown, f"*({harmless_line(note)})*") if part)
        plain = "\n".join(part for part in (plain, f"({one_line(note)})") if part)
    return {"text/markdown": markdown, "text/plain": plain or f"({empty})"}


def message_bytes(text: str) -> int:
    """What a message with this text takes on the wire, its envelope included."""
    return len(json.dumps(text, ensure_ascii=False).encode()) + 1000
