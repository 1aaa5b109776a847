"""The side panel in a real JupyterLab: how late it shows what is so, how soon it acts and a cell ends, and what it costs."""

from __future__ import annotations

import contextlib
import math
import os
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from playwright.sync_api import Page

from bench.fast_server import Kind, fast_servers
from bench.in_lab import CHROMIUM, measured_in_lab
from bench.promises import Promise, at_most
from tests.support.lab import LabServer, NotebookPage

WATCHED_S = 30
LEAST_PICTURES = 20  # of which a 95th percentile still says something
COST_S = 12
SCROLLED_MS = 8000
TRIES = 5

SETUP = """%load_ext gleitzeit_nb
import asyncio, time
from gleitzeit_nb import configure
from gleitzeit_nb.runtime import get_runtime

async def churn():
    while True:
        await pool.chat("t8", "x", strategy="round_robin")
        await asyncio.sleep(0.1)

def ask_all(urls):
    global pool, going
    configure(ollama_config={"instances": [{"id": f"i{number}", "url": url} for number, url in enumerate(urls)]})
    pool = get_runtime().engine.pool
    going = get_runtime().submit(churn())
"""
COMPUTES = f"end = time.monotonic() + {WATCHED_S}\nwhile time.monotonic() < end:\n    sum(range(1000))"

# `gzLate`: ms from the moment that a snapshot was made in the kernel to the frame in which the panel's head has its figures. Where a
# figure came back before it was drawn, it cannot be told from the one before, and is left out.
LATENESS = """() => {
    const { sessionContext } = window.jupyterapp.shell.currentWidget;
    const figures = document.querySelectorAll('#gleitzeit-nb-panel .gz-Summary dd');
    const shown = () => [1, 2].map(index => parseInt(figures[index].textContent.replace(/[^0-9 +]/g, ''))).join(' ');
    let waiting = [];
    window.gzLate = [];
    sessionContext.iopubMessage.connect((_, { header, content }) => {
        const made = header.msg_type === 'comm_msg' && content.data.snapshot;
        const words = made && `${made.in_flight} ${Math.round(made.tokens_per_s)}`;
        if (made && words !== shown() && !waiting.some(each => each.words === words)) waiting.push({ words, at: made.at });
    });
    const look = () => {
        const found = waiting.findIndex(({ words }) => words === shown());
        for (const { at } of waiting.splice(0, found + 1)) window.gzLate.push(Date.now() - at * 1000);
        requestAnimationFrame(look);
    };
    look();
}"""

# ms between two frames while the notebook is scrolled up and down, as fast as a wheel does it.
FRAMES = """for_ms => new Promise(resolve => {
    const scroller = document.querySelector('.jp-NotebookPanel:not(.lm-mod-hidden) .jp-WindowedPanel-outer');
    const frames = [];
    const began = performance.now();
    let before = began;
    let step = 24;
    const next = now => {
        frames.push(now - before);
        before = now;
        const at = scroller.scrollTop;
        scroller.scrollTop = at + step;
        if (scroller.scrollTop === at) step = -step;
        if (now - began < for_ms) requestAnimationFrame(next);
        else resolve(frames.slice(1));
    };
    requestAnimationFrame(next);
})"""

# `gzActed`: ms from the click on a menu's entry to the kernel's answer at the panel's foot.
ACTION = """words => {
    window.gzActed = null;
    document.addEventListener('pointerup', () => {
        const began = performance.now();
        const panel = document.querySelector('#gleitzeit-nb-panel');
        const look = () => {
            if (panel.textContent.includes(words)) window.gzActed = performance.now() - began;
            else requestAnimationFrame(look);
        };
        look();
    }, { capture: true, once: true });
}"""


def front_promises() -> AsyncIterator[Promise]:
    return measured_in_lab("the side panel", _measured)


def _measured(lab: LabServer, page: Page) -> Iterator[Promise]:
    with fast_servers(*[Kind()] * 100, Kind(service_s=600)) as urls:
        cells = [SETUP, f"ask_all({urls[:4]})", f"time.sleep({WATCHED_S})", COMPUTES, "time.sleep(3)", f"ask_all({urls[:100]})"]
        cells += ["%%sandbox --mode restricted --timeout 60\nwhile True: pass", f"ask_all({urls[100:]})", "%%llm -m t8\nx"]
        cells += ["%gleitzeit dashboard"]
        lab.write_notebook("bench.ipynb", cells)
        notebook = NotebookPage(page, lab, "bench.ipynb")
        notebook.run(0)
        notebook.show_panel()
        notebook.run(1)
        page.evaluate(LATENESS)
        yield _lateness(notebook, 2, "the panel, behind a cell that sleeps (p95)")
        yield _lateness(notebook, 3, "the same, a cell that computes (p95)")
        yield _action(notebook, 4)
        notebook.run(5)
        yield _cost(page, notebook)
        yield _scrolling(notebook, 9)
        yield _interrupts(notebook, 6, "Interrupt to idle, %%sandbox (slowest)")
        notebook.run(7)
        yield _interrupts(notebook, 8, "Interrupt to idle, %%llm (slowest)")


def _lateness(notebook: NotebookPage, cell: int, name: str) -> Promise:
    notebook.page.evaluate("() => { window.gzLate = []; }")
    notebook.run(cell)
    late_ms = notebook.page.evaluate("() => window.gzLate")
    if len(late_ms) < LEAST_PICTURES:
        raise RuntimeError(f"only {len(late_ms)} pictures differed, which is too few for a percentile")
    return at_most(name, _p95(late_ms), 50, f"{len(late_ms)} pictures in {WATCHED_S} s, median {statistics.median(late_ms):.0f} ms", "ms")


def _action(notebook: NotebookPage, cell: int) -> Promise:
    page, took_ms = notebook.page, []
    for name in ("i0", "i1", "i2"):
        notebook.start(cell)
        page.wait_for_timeout(300)
        page.locator("#gleitzeit-nb-panel").get_by_role("button", name=f"Actions for {name}").click()
        entry = page.locator(".lm-Menu-item", has_text=f"Drain {name}")
        entry.wait_for()
        page.evaluate(ACTION, f"{name} gets nothing new")
        entry.click()
        page.wait_for_function("() => window.gzActed !== null")
        took_ms.append(page.evaluate("() => window.gzActed"))
        if not notebook.is_running(cell):
            raise RuntimeError("the cell had ended before the panel's action was answered")
        notebook.wait_for_end(cell)
    seen = f"median of {len(took_ms)}: {statistics.median(took_ms):.0f} ms"
    return at_most("an action of the panel, busy (slowest)", max(took_ms), 200, seen, "ms")


def _cost(page: Page, notebook: NotebookPage) -> Promise:
    """Of one core, with a hundred instances: with the panel shown, less the same without it. The kernel's part: `telemetry`."""
    shown = _share(page)
    notebook.execute("application:toggle-left-area")
    page.wait_for_timeout(1000)
    hidden = _share(page)
    notebook.execute("application:toggle-left-area")
    seen = f"{shown:.1f} % of a core, and {hidden:.1f} % without the panel"
    return at_most("100 instances in the panel: the browser", shown - hidden, 10, seen, "%")


def _scrolling(notebook: NotebookPage, cell: int) -> Promise:
    """Through the notebook's dashboard of a hundred instances while it changes, and while it is paused."""
    notebook.run(cell)
    output = notebook.output(cell)
    output.locator("section.gz-piece").nth(11).wait_for()
    output.scroll_into_view_if_needed()
    live = notebook.page.evaluate(FRAMES, SCROLLED_MS)
    output.get_by_role("button", name="Pause").click()
    paused = notebook.page.evaluate(FRAMES, SCROLLED_MS)
    output.get_by_role("button", name="Pause").click()
    seen = (
        f"{_p95(paused):.0f} ms while it is paused; the longest of {len(live)} and {len(paused)}: {max(live):.0f} and {max(paused):.0f} ms"
    )
    return at_most("scrolling a dashboard of 100, a frame (p95)", _p95(live), 50, seen, "ms")


def _p95(values: list[float]) -> float:
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def _share(page: Page) -> float:
    began, before = time.monotonic(), sum(map(_seconds, _below(os.getpid())))
    page.wait_for_timeout(COST_S * 1000)
    return 100 * (sum(map(_seconds, _below(os.getpid()))) - before) / (time.monotonic() - began)


def _below(pid: int) -> Iterator[int]:
    """The browser's processes among all that this one has started."""
    for child in [child for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()]:
        with contextlib.suppress(OSError):  # it has just ended
            if Path(f"/proc/{child}/comm").read_text().startswith(CHROMIUM):
                yield int(child)
            yield from _below(int(child))


def _seconds(pid: int) -> float:
    """Of CPU, so far."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has just ended
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime, see proc(5)


def _interrupts(notebook: NotebookPage, cell: int, name: str) -> Promise:
    took_s = []
    for _ in range(TRIES):
        notebook.start(cell)
        notebook.page.wait_for_timeout(1500)
        took_s.append(notebook.interrupt())
    return at_most(name, max(took_s) * 1000, 500, f"median of {TRIES}: {statistics.median(took_s) * 1000:.0f} ms", "ms")
