"""Streamed answers in a real JupyterLab: how often they are drawn, what they send, and whether the page keeps its place meanwhile."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from playwright.sync_api import Page, WebSocket

from bench.in_lab import measured_in_lab
from bench.promises import Promise, at_most
from tests.support.fake_ollama import FakeOllama
from tests.support.kernel import serving
from tests.support.lab import LabServer, NotebookPage

STREAMS = 8
STREAMED_S = 12.0  # of all streams at once
SMALL = 8_000  # bytes: up to here an answer is drawn anew at least ten times a second
DRAWN_S = 4.0  # an answer of each size
TOKEN_S = 0.02
WINDOW_S = 3.0  # in which Jupyter's server, too, looks at what a kernel sends
SENTENCE = "The quick brown fox jumps over the lazy dog, again and *again*. "

SETUP = """%load_ext gleitzeit_nb
from gleitzeit_nb import configure
configure(ollama_config={{"instances": [{{"id": "north", "url": {url!r}, "max_concurrent": 16}}]}})"""

CONTROL = """from IPython.display import Markdown, display
import time
text = {words!r} * {count}
place = display(Markdown(text), display_id=True)
for number in range(int({seconds} * 20)):
    time.sleep(0.05)
    text += f"word{{number}} "
    place.update(Markdown(text))"""
LONG = "print('a line\\n' * 300)"

# In which frames the Markdown below that cell was another than before.
DRAWN = """cell => {
    const { node } = window.jupyterapp.shell.currentWidget.content.widgets[cell];
    const found = window.gzFound = { drawn: [], frames: 0 };
    let last = 0;
    const look = () => {
        const length = node.querySelector('.jp-RenderedMarkdown')?.textContent.length ?? 0;
        if (length !== last) found.drawn.push({ at: performance.now(), length });
        last = length;
        found.frames += 1;
        if (window.gzFound === found) requestAnimationFrame(look);
    };
    look();
}"""
LOOK_AT = """cell => {
    const { node } = window.jupyterapp.shell.currentWidget.content.widgets[cell];
    node.querySelector('.jp-OutputArea-output').scrollIntoView({ block: 'center' });
}"""
# How far what one looks at has moved at most, and by how much the other cell has grown.
STILL = """([read, growing]) => {
    const { widgets } = window.jupyterapp.shell.currentWidget.content;
    const found = window.gzFound = { moved: 0, grown: 0 };
    const place = widgets[read].node.getBoundingClientRect().top, height = widgets[growing].node.offsetHeight;
    const look = () => {
        found.moved = Math.max(found.moved, Math.abs(widgets[read].node.getBoundingClientRect().top - place));
        found.grown = widgets[growing].node.offsetHeight - height;
        if (window.gzFound === found) requestAnimationFrame(look);
    };
    look();
}"""
STOP = "() => { const found = window.gzFound; window.gzFound = null; return found; }"


def streaming_promises() -> AsyncIterator[Promise]:
    return measured_in_lab("streamed answers", _measured)


def _measured(lab: LabServer, page: Page) -> Iterator[Promise]:
    with serving(FakeOllama("north", tokens=_answer, token_s=TOKEN_S)) as server:
        lab.write_notebook("streaming.ipynb", [SETUP.format(url=server.url), "%llm models"])
        traffic = Traffic(page)
        notebook = NotebookPage(page, lab, "streaming.ipynb")
        notebook.run(0)
        notebook.run(1)
        yield from _drawn(notebook)
        yield from _still(notebook)
        yield _sent(notebook, traffic)


def _answer(body: Mapping[str, Any]) -> Iterator[str]:
    """What the prompt asks for: "8000 200" is 8 kB at once, then 200 further words."""
    at_once, words = map(int, body["messages"][-1]["content"].split())
    yield "\n\n".join([SENTENCE * 5] * (1 + at_once // (5 * len(SENTENCE))))[:at_once]
    yield from (f"word{number} " for number in range(words))


def _drawn(notebook: NotebookPage) -> Iterator[Promise]:
    """Each answer has its size at once, and then grows by a word at a time."""
    rates = {}
    for size in (2_000, 8_000, 64_000):
        cell = notebook.add(_ask(size, DRAWN_S))
        rates[size], seen = _repaints(notebook, cell, 0.9 * size)
        if size <= SMALL:
            control, _ = _repaints(
                notebook, notebook.add(CONTROL.format(words=SENTENCE, count=size // len(SENTENCE), seconds=DRAWN_S)), 0.9 * size
            )
            seen += f"; Markdown that a cell replaces 20 times a second: {control:.1f}"
            yield Promise(f"an answer of {size // 1000} kB, repaints", rates[size], 10, seen, "/s", at_least=True)
        else:
            yield at_most(f"an answer of {size // 1000} kB, repaints", rates[size], rates[SMALL], seen, "/s")
    yield at_most("… the most of them", max(rates.values()), 20.5, "20 a second are meant", "/s")


def _repaints(notebook: NotebookPage, cell: int, length: float) -> tuple[float, str]:
    """Frames a second in which what the cell shows was drawn anew, from that length on: the marks of Markdown are not drawn."""
    notebook.page.evaluate(DRAWN, cell)
    notebook.run(cell)
    found: dict[str, Any] = notebook.page.evaluate(STOP)
    drawn = [each["at"] for each in found["drawn"] if each["length"] >= length]
    took_s = (drawn[-1] - drawn[0]) / 1000
    return (len(drawn) - 1) / took_s, f"{len(drawn)} in {took_s:.1f} s, of {found['frames']} frames"


def _still(notebook: NotebookPage) -> Iterator[Promise]:
    """A reader is in the middle of a long output, while an answer grows in a cell above and then in one below: their cell stays active."""
    page = notebook.page
    above, read, below = notebook.add(_ask(1000, DRAWN_S, "--bg")), notebook.add(LONG), notebook.add(_ask(1000, DRAWN_S, "--bg"))
    ends = notebook.add("get_ipython().run_line_magic('llm', 'jobs cancel --all')")
    for where, cell in (("above", above), ("below", below)):
        notebook.run(read)
        notebook.run(cell)
        page.evaluate(LOOK_AT, read)
        page.wait_for_timeout(300)
        page.evaluate(STILL, [read, cell])
        page.wait_for_timeout(DRAWN_S * 1000)
        found = page.evaluate(STOP)
        notebook.run(ends)
        yield at_most(f"an answer {where} grows: the page moves", found["moved"], 4, f"the answer grew by {found['grown']:.0f} px", "px")


def _sent(notebook: NotebookPage, traffic: Traffic) -> Promise:
    page = notebook.page
    notebook.show_panel()
    notebook.run(notebook.add("%gleitzeit dashboard"))
    asked = _ask(20_000, STREAMED_S, "--bg").removeprefix("%%llm ").split("\n")
    notebook.run(notebook.add("\n".join([f"get_ipython().run_cell_magic('llm', {asked[0]!r}, {asked[1]!r})"] * STREAMS)))
    traffic.sent.clear()
    page.wait_for_timeout(STREAMED_S * 1000)
    mean, count = sum(size for _, size in traffic.sent) / STREAMED_S / 1000, len(traffic.sent) / STREAMED_S
    seen = f"over any {WINDOW_S:.0f} s; mean {mean:.0f} kB in {count:.0f} messages, in any second {traffic.most_per_s(1) / 1000:.0f} kB"
    return at_most(f"{STREAMS} answers, dashboard and panel: sent", traffic.most_per_s(WINDOW_S) / 1000, 250, seen, "kB/s")


class Traffic:
    """What kernels send to the page: (when, bytes) of every message, whatever it is."""

    def __init__(self, page: Page) -> None:
        self.sent: list[tuple[float, int]] = []
        page.on("websocket", self._opened)

    def _opened(self, socket: WebSocket) -> None:
        if "/channels" in socket.url:
            socket.on("framereceived", lambda payload: self.sent.append((time.monotonic(), len(payload))))

    def most_per_s(self, window_s: float) -> float:
        return max(sum(size for at, size in self.sent if begun <= at < begun + window_s) for begun, _ in self.sent) / window_s


def _ask(at_once: int, seconds: float, options: str = "") -> str:
    return f"%%llm -m llama3.2 {options}\n{at_once} {int(seconds / TOKEN_S)}"
