"""What a reload of the page brings back while the kernel lives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Response, expect

from tests.support.fake_ollama import FakeOllama
from tests.support.kernel import serving
from tests.support.lab import LabServer, NotebookPage
from tests.support.watched_page import WatchedPage

WAIT_MS = 30_000
LOAD = "%load_ext gleitzeit_nb\nfrom gleitzeit_nb import configure\nimport os, time\n"
# A cell that runs until the test lets it end.
HELD = "while not os.path.exists('let-go'):\n    time.sleep(0.1)"
WIDTH = 420


@pytest.fixture(scope="module")
def server() -> Iterator[FakeOllama]:
    with serving(FakeOllama("north")) as listening:
        listening.token_s = 0.1
        yield listening


@pytest.fixture(scope="module")
def notebook(server: FakeOllama, lab: LabServer, watched: WatchedPage) -> NotebookPage:
    instances = [{"id": "north", "url": server.url, "max_concurrent": 4}]
    (lab.root / "let-go").unlink(missing_ok=True)
    lab.write_notebook("reload.ipynb", [f"{LOAD}configure(ollama_config={{'instances': {instances!r}}})", "%gleitzeit status", HELD])
    opened = NotebookPage(watched.page, lab, "reload.ipynb")
    opened.run(0)
    opened.run(1)
    return opened


def panel_of(notebook: NotebookPage) -> Locator:
    return notebook.page.locator("#gleitzeit-nb-panel")


def holds_the_panel(answer: Response) -> bool:
    """Whether JupyterLab has written down a layout in which the panel is; it does so a while after the last change."""
    layout = answer.request.post_data or ""
    return answer.request.method == "PUT" and "/api/workspaces/" in answer.url and '"current":"gleitzeit-nb-panel"' in layout


def test_the_panel_comes_back_in_its_place_and_shows_the_kernel_while_a_cell_runs(
    module_notebook: NotebookPage, lab: LabServer, watched: WatchedPage
) -> None:
    notebook = module_notebook
    notebook.show_panel()
    with notebook.page.expect_response(holds_the_panel):
        notebook.set_panel_width(WIDTH)
    notebook.start(2)
    expect(panel_of(notebook).locator(".gz-pill")).to_contain_text("kernel busy", timeout=WAIT_MS)
    notebook.save()
    leaving = watched.take_errors()
    notebook.reload()
    expect(panel_of(notebook)).to_be_visible(timeout=WAIT_MS)
    expect(panel_of(notebook).locator("[data-instance=north]")).to_be_visible(timeout=WAIT_MS)
    expect(panel_of(notebook).locator(".gz-where")).to_have_text("reload.ipynb")
    expect(panel_of(notebook).locator(".gz-pill")).to_contain_text("kernel busy", timeout=WAIT_MS)
    assert abs(panel_of(notebook).evaluate("node => node.clientWidth") - WIDTH) < 4
    notebook.execute("gleitzeit:drain-instance", {"instance": "north"})
    expect(panel_of(notebook).locator("[data-instance=north]")).to_contain_text("Draining", timeout=WAIT_MS)
    expect(panel_of(notebook).locator(".gz-pill")).to_contain_text("kernel busy")
    (lab.root / "let-go").touch()
    expect(panel_of(notebook).locator(".gz-pill")).to_have_text("idle", timeout=WAIT_MS)
    notebook.execute("gleitzeit:resume-instance", {"instance": "north"})
    expect(panel_of(notebook).locator("[data-instance=north]")).to_contain_text("OK", timeout=WAIT_MS)
    assert (leaving, watched.take_errors()) == ([], [])
