"""`%%sandbox` as a person sees it: cells of one notebook in a real JupyterLab, run in the sandbox that this machine has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, expect

from tests.support.lab import LabServer, NotebookPage
from tests.support.watched_page import Trap, WatchedPage

WAIT_MS = 60_000
IDLE_AGAIN_S = 3.0  # half a second on an idle machine

LOAD = "%load_ext gleitzeit_nb"
TWO_STREAMS = """%%sandbox
import sys, time
for number in range(20):
    print("out", number)
    print("err", number, file=sys.stderr)
    time.sleep(0.1)
"""
FAILING = """%%sandbox
def divide(number):
    return number / 0

print("before")
divide(3)
"""

SVG = """<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30" onload="parent.__pwned = 1; __pwned = 1">
<script>top.__pwned = 1</script><image href="URLsvg"/>
<foreignObject><iframe xmlns="http://www.w3.org/1999/xhtml" src="URLframe"/></foreignObject><rect width="40" height="30"/></svg>"""
DISPLAYS = """%%sandbox
class Drawing:
    def _repr_svg_(self): return SVG
class Page:
    def _repr_html_(self): return "<img src=x onerror='__pwned = 1'><script>__pwned = 1</script>"
    def __repr__(self): return "a page"
display(Drawing(), Page())
[{"<img src=x onerror=__pwned=1>": "<script>__pwned = 1</script>", "formula": "$a^2$"}]"""


@pytest.fixture(scope="module")
def notebook(lab: LabServer, watched: WatchedPage) -> NotebookPage:
    lab.write_notebook("sandbox_cells.ipynb", [LOAD, "%%sandbox --no-fail\nprint('it runs')"])
    opened = NotebookPage(watched.page, lab, "sandbox_cells.ipynb")
    opened.run(0)
    opened.start(1)
    opened.wait_for_end(1)
    refusal = "\n".join(opened.error(1))
    if "SandboxUnavailableError" in refusal:
        pytest.skip(f"no sandbox can be had here: {refusal}")
    assert refusal == ""
    expect(opened.output(1)).to_contain_text("it runs")
    return opened


@pytest.fixture(autouse=True)
def _nothing_acts(watched: WatchedPage) -> Iterator[None]:
    yield
    assert watched.acted() == {}


def stream(notebook: NotebookPage, cell: int, name: str) -> Locator:
    return notebook.output(cell).locator(f"[data-mime-type='application/vnd.jupyter.{name}']")


def test_both_streams_appear_apart_while_it_runs(module_notebook: NotebookPage) -> None:
    cell = module_notebook.add(TWO_STREAMS)
    module_notebook.start(cell)
    expect(stream(module_notebook, cell, "stdout").first).to_contain_text("out 0", timeout=WAIT_MS)
    expect(stream(module_notebook, cell, "stderr").first).to_contain_text("err 0", timeout=WAIT_MS)
    assert module_notebook.is_running(cell)
    module_notebook.wait_for_end(cell)
    assert module_notebook.error(cell) == []
    for name in ("out", "err"):
        shown = "".join(stream(module_notebook, cell, f"std{name}").all_inner_texts())
        assert shown.split() == [word for number in range(20) for word in (name, str(number))]
    expect(module_notebook.output(cell)).to_contain_text(" · ok · ")


def test_a_failing_cell_shows_its_own_trace_and_a_short_error(module_notebook: NotebookPage) -> None:
    cell = module_notebook.add(FAILING)
    module_notebook.start(cell)
    module_notebook.wait_for_end(cell)
    expect(stream(module_notebook, cell, "stdout").first).to_have_text("before")
    trace = stream(module_notebook, cell, "stderr").first.inner_text()
    assert trace.startswith("Traceback (most recent call last):")
    assert "in divide" in trace
    assert "gleitzeit" not in trace
    lines = module_notebook.error(cell)
    assert lines[0].startswith("RunFailedError: error: raised ZeroDivisionError")
    assert len(lines) <= 6, lines


def test_what_the_code_shows_is_drawn_and_never_acts(module_notebook: NotebookPage) -> None:
    with Trap.set() as trap:
        cell = module_notebook.add(DISPLAYS.replace("SVG", repr(SVG.replace("URL", trap.url))))
        module_notebook.run(cell)
        shown = module_notebook.output(cell).locator(".jp-RenderedHTMLCommon")
        image = shown.locator("img")
        expect(image).to_have_count(1, timeout=WAIT_MS)
        assert str(image.get_attribute("src")).startswith("data:image/svg+xml;base64,")
        assert image.evaluate("each => each.decode().then(() => [each.naturalWidth, each.naturalHeight])") == [40, 30]
        expect(shown.locator("th")).to_have_text(["<img src=x onerror=__pwned=1>", "formula"])
        expect(shown.locator("td")).to_have_text(["<script>__pwned = 1</script>", "$a^2$"])
        assert shown.locator("iframe, script, mjx-container").count() == 0
        expect(module_notebook.output(cell)).to_contain_text("a page")
        assert trap.visits == []


def test_values_go_in_and_come_out(module_notebook: NotebookPage) -> None:
    module_notebook.run(module_notebook.add("numbers = [1, 2, 3]; total = None"))
    module_notebook.run(module_notebook.add("%%sandbox --in numbers --out total,words\ntotal = sum(numbers)\nwords = {'a': [None, 1.5]}"))
    after = module_notebook.add("print(total, words)")
    module_notebook.run(after)
    expect(module_notebook.output(after)).to_have_text("6 {'a': [None, 1.5]}")


def test_interrupt_kills_the_run_and_frees_the_kernel(module_notebook: NotebookPage) -> None:
    cell = module_notebook.add("%%sandbox\nprint('started')\nwhile True: pass")
    module_notebook.start(cell)
    expect(module_notebook.output(cell)).to_contain_text("started", timeout=WAIT_MS)
    idle_after_s = module_notebook.interrupt()
    print(f"idle {idle_after_s:.3f} s after the interrupt")
    assert idle_after_s < IDLE_AGAIN_S
    expect(module_notebook.output(cell)).to_contain_text("started")
    lines = module_notebook.error(cell)
    assert lines[0].startswith("KeyboardInterrupt: interrupted")
    assert len(lines) <= 3, lines
    following = module_notebook.add("%%sandbox\nprint('the next one runs')")
    module_notebook.run(following)
    expect(module_notebook.output(following)).to_contain_text("the next one runs")


def test_a_run_that_takes_too_long_is_stopped_by_name(module_notebook: NotebookPage) -> None:
    cell = module_notebook.add("%%sandbox --timeout 1\nwhile True: pass")
    module_notebook.start(cell)
    module_notebook.wait_for_end(cell)
    expect(module_notebook.output(cell)).to_contain_text("timeout")
    assert any("--timeout" in line for line in module_notebook.error(cell))
