"""The notebook's dashboard in a real JupyterLab: it moves, it is steered, and it holds still for who selects text in it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.fake_ollama import FakeOllama
from tests.support.kernel import TRAFFIC, instances, serving
from tests.support.lab import LabServer, NotebookPage

WAIT_MS = 60_000
HOSTILE = "<img/src=x/onerror=document.title='owned'>"
SHOW = "%load_ext gleitzeit_nb\n%gleitzeit dashboard"
UNTIL_DRAINED = """
def draining():
    return [view.id for view in runtime.engine.snapshot().instances if view.draining]
end = time.monotonic() + 50
while not draining() and time.monotonic() < end:
    time.sleep(0.05)
print("drained", draining())
"""

OpenNotebook = Callable[[list[str]], NotebookPage]


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[FakeOllama, FakeOllama]]:
    with (
        serving(FakeOllama("north", ("llama3.2:latest", HOSTILE), token_s=0.03)) as north,
        serving(FakeOllama("south", token_s=0.03)) as south,
    ):
        yield north, south


@pytest.fixture(scope="module")
def lab_environment(servers: tuple[FakeOllama, FakeOllama]) -> dict[str, str]:
    return instances(*servers)


def shown(notebook: NotebookPage, cell: int = 0) -> Locator:
    """The dashboard that a cell shows."""
    picture = notebook.output(cell).locator("section.gz-dash")
    expect(picture).to_contain_text("2 of 2 instances up", timeout=WAIT_MS)
    return picture


def states(page: Page, enough: int = 3, limit_s: float = 30.0) -> list[str]:
    """The different pictures that come one after another, until there are `enough` of them or the time is over."""
    seen: list[str] = []
    end = time.monotonic() + limit_s
    while len(seen) < enough and time.monotonic() < end:
        text = page.locator("section.gz-dash").inner_html()
        if text not in seen:
            seen.append(text)
        page.wait_for_timeout(50)
    return seen


def selected(page: Page) -> str:
    return str(page.evaluate("String(document.getSelection())"))


def test_it_moves_while_a_cell_blocks(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook([SHOW, TRAFFIC, "done = runtime.submit(traffic(7)); time.sleep(7)"])
    notebook.run(0)
    picture = shown(notebook)
    notebook.run(1)
    notebook.start(2)
    expect(picture).to_contain_text("1 in flight", timeout=WAIT_MS)
    assert len(states(notebook.page, limit_s=5)) >= 3
    notebook.wait_for_kernel()


def test_its_buttons_work_while_a_cell_runs(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook([SHOW, TRAFFIC, UNTIL_DRAINED])
    notebook.run(0)
    picture = shown(notebook)
    notebook.run(1)
    notebook.start(2)
    output = notebook.output(0)
    output.locator("select").select_option("south")
    output.get_by_role("button", name="Drain").click()
    expect(picture).to_contain_text("Draining", timeout=WAIT_MS)
    expect(notebook.output(2)).to_contain_text("drained ['south']", timeout=WAIT_MS)
    expect(output.get_by_text("south gets nothing new.")).to_be_visible()
    output.get_by_role("button", name="Resume").click()
    expect(picture).not_to_contain_text("Draining", timeout=WAIT_MS)


def test_it_holds_still_while_text_is_selected_and_goes_on_afterwards(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook([SHOW, TRAFFIC, "done = runtime.submit(traffic(40))"])
    notebook.run(0)
    picture = shown(notebook)
    notebook.run(1)
    notebook.run(2)
    page = notebook.page
    expect(picture).to_contain_text("in flight", timeout=WAIT_MS)
    word = picture.get_by_text("Python execution")
    box = word.bounding_box()
    assert box is not None
    y = box["y"] + box["height"] - 8
    page.mouse.move(box["x"] + 1, y)
    page.mouse.down()
    for step in range(1, 31):  # slower than the pictures come
        page.mouse.move(box["x"] + 12 + step * 3, y)
        page.wait_for_timeout(50)
    page.mouse.up()
    text = selected(page)
    assert text.upper().startswith("PYTHON EXEC"), text
    assert len(states(page, limit_s=2)) == 1, "it holds still"
    assert selected(page) == text
    expect(page.locator("section.gz-dash.gz-held")).to_have_count(1)
    page.locator(".jp-Notebook-cell").nth(1).locator(".cm-content").click()
    expect(page.locator("section.gz-dash.gz-held")).to_have_count(0)
    assert len(states(page)) >= 3, "it goes on"


def test_a_click_in_it_does_not_stop_it(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook([SHOW, TRAFFIC, "done = runtime.submit(traffic(30))"])
    for cell in range(3):
        notebook.run(cell)
    shown(notebook).get_by_text("Ollama instances").click()
    assert len(states(notebook.page)) >= 3


def test_scroll_and_focus_stay_when_the_picture_is_replaced(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook([SHOW, TRAFFIC, "done = runtime.submit(traffic(30))"])
    notebook.page.set_viewport_size({"width": 800, "height": 700})
    for cell in range(3):
        notebook.run(cell)
    shown(notebook)
    notebook.output(0).locator("select").focus()
    box = notebook.output(0).locator(".widget-vbox", has=notebook.page.locator("section.gz-dash")).last  # the innermost
    box.evaluate("node => { node.scrollLeft = 60; }")
    before = box.evaluate("node => node.scrollLeft")
    assert before > 0, "the window is narrow enough to scroll"
    assert len(states(notebook.page)) >= 3
    assert box.evaluate("node => node.scrollLeft") == before
    assert notebook.page.evaluate("document.activeElement.tagName") == "SELECT"


def test_a_reload_of_the_page_brings_it_back_live(open_notebook: OpenNotebook, lab: LabServer, page: Page) -> None:
    notebook = open_notebook([SHOW, TRAFFIC, "done = runtime.submit(traffic(30))"])
    notebook.run(0)
    shown(notebook)
    notebook.execute("docmanager:save")
    page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty", timeout=WAIT_MS)
    name = page.evaluate("window.jupyterapp.shell.currentWidget.context.path")
    again = NotebookPage(page, lab, name)
    shown(again)
    again.run(1)
    again.run(2)
    assert len(states(page)) >= 3


def test_the_saved_notebook_holds_a_picture_and_text_and_no_widget_state(open_notebook: OpenNotebook, lab: LabServer, page: Page) -> None:
    notebook = open_notebook([SHOW])
    notebook.run(0)
    shown(notebook)
    notebook.execute("docmanager:save")
    page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty", timeout=WAIT_MS)
    saved = json.loads((lab.root / page.evaluate("window.jupyterapp.shell.currentWidget.context.path")).read_text())
    [output] = saved["cells"][0]["outputs"]
    assert "".join(output["data"]["text/plain"]).startswith("Pool: 2 up")
    assert "2 of 2 instances up" in "".join(output["data"]["text/html"])
    assert "widgets" not in saved["metadata"]


def test_names_of_a_hostile_server_stay_text(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook([SHOW, TRAFFIC, f"reply = runtime.call(runtime.engine.pool.chat({HOSTILE!r}, 'hello'))"])
    for cell in range(3):
        notebook.run(cell)
    picture = shown(notebook)
    expect(picture).to_contain_text(HOSTILE, timeout=WAIT_MS)
    assert picture.locator("img").count() == 0
    assert "owned" not in notebook.page.title()
