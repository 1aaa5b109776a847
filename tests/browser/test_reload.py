"""What a reload of the page brings back while the kernel lives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Response, expect

from tests.support.fake_ollama import FakeOllama
from tests.support.kernel import serving
from tests.support.lab import LabServer, NotebookPage, wait_until
from tests.support.watched_page import WatchedPage

WAIT_MS = 30_000
LOAD = "%load_ext gleitzeit_nb\nfrom gleitzeit_nb import configure\nimport os, time\n"
# A cell that runs until the test lets it end.
HELD = "while not os.path.exists('let-go'):\n    time.sleep(0.1)"
JOB = "%%llm --bg -o job\nA long story, please."
CELLS = {"load": 0, "status": 1, "job": 2, "held": 3}
GONE = re.compile(r"■ job \d · not running any more: its kernel is gone, or has forgotten it")
WIDTH = 420


@pytest.fixture(scope="module")
def server() -> Iterator[FakeOllama]:
    with serving(FakeOllama("north")) as listening:
        yield listening


@pytest.fixture(autouse=True)
def _a_long_answer(server: FakeOllama) -> None:
    server.token_s = 0.1
    server.tokens = lambda _body: [f"word{number} " for number in range(3000)]


@pytest.fixture(scope="module")
def notebook(server: FakeOllama, lab: LabServer, watched: WatchedPage) -> NotebookPage:
    instances = [{"id": "north", "url": server.url, "max_concurrent": 4}]
    (lab.root / "let-go").unlink(missing_ok=True)
    lab.write_notebook("reload.ipynb", [f"{LOAD}configure(ollama_config={{'instances': {instances!r}}})", "%gleitzeit status", JOB, HELD])
    opened = NotebookPage(watched.page, lab, "reload.ipynb")
    opened.run(CELLS["load"])
    opened.run(CELLS["status"])
    return opened


def panel_of(notebook: NotebookPage) -> Locator:
    return notebook.page.locator("#gleitzeit-nb-panel")


def holds_the_panel(answer: Response) -> bool:
    """Whether JupyterLab has written down a layout in which the panel is; it does so a while after the last change."""
    layout = answer.request.post_data or ""
    return answer.request.method == "PUT" and "/api/workspaces/" in answer.url and '"current":"gleitzeit-nb-panel"' in layout


def pictures(project_root: Path) -> Path:
    folder = project_root / ".cache" / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def words(notebook: NotebookPage, cell: int) -> int:
    """How many words of the answer stand there."""
    return len(notebook.output(cell).locator(".jp-RenderedMarkdown").first.inner_text().split())


def grows(notebook: NotebookPage, cell: int) -> None:
    notebook.page.wait_for_function(
        "([cell, before]) => window.jupyterapp.shell.currentWidget.content.widgets[cell].node"
        ".querySelector('.jp-RenderedMarkdown').innerText.split(/\\s+/).length > before + 5",
        arg=[cell, words(notebook, cell)],
        timeout=WAIT_MS,
    )


def leave(notebook: NotebookPage) -> None:
    notebook.save()
    notebook.page.goto("about:blank")


def come_back(notebook: NotebookPage, lab: LabServer) -> NotebookPage:
    return NotebookPage(notebook.page, lab, "reload.ipynb")


def test_the_panel_comes_back_in_its_place_and_shows_the_kernel_while_a_cell_runs(
    module_notebook: NotebookPage, lab: LabServer, watched: WatchedPage
) -> None:
    notebook = module_notebook
    notebook.show_panel()
    with notebook.page.expect_response(holds_the_panel):
        notebook.set_panel_width(WIDTH)
    notebook.run(CELLS["job"])
    notebook.start(CELLS["held"])
    expect(panel_of(notebook).locator(".gz-pill")).to_contain_text("kernel busy", timeout=WAIT_MS)
    expect(notebook.output(CELLS["job"])).to_contain_text("answering on north", timeout=WAIT_MS)
    notebook.save()
    assert watched.take_errors() == []
    notebook.reload()
    expect(panel_of(notebook)).to_be_visible(timeout=WAIT_MS)
    expect(panel_of(notebook).locator("[data-instance=north]")).to_be_visible(timeout=WAIT_MS)
    expect(panel_of(notebook).locator(".gz-where")).to_have_text("reload.ipynb")
    expect(panel_of(notebook).locator(".gz-pill")).to_contain_text("kernel busy", timeout=WAIT_MS)
    assert abs(panel_of(notebook).evaluate("node => node.clientWidth") - WIDTH) < 4
    grows(notebook, CELLS["job"])
    notebook.execute("gleitzeit:drain-instance", {"instance": "north"})
    expect(panel_of(notebook).locator("[data-instance=north]")).to_contain_text("Draining", timeout=WAIT_MS)
    notebook.execute("gleitzeit:resume-instance", {"instance": "north"})
    expect(panel_of(notebook).locator("[data-instance=north]")).to_contain_text("OK", timeout=WAIT_MS)
    expect(panel_of(notebook).locator(".gz-pill")).to_contain_text("kernel busy")
    (lab.root / "let-go").touch()
    expect(panel_of(notebook).locator(".gz-pill")).to_have_text("idle", timeout=WAIT_MS)
    assert watched.take_errors() == []


def test_the_output_of_a_job_goes_on_after_the_reload_also_where_its_cell_is_moved(
    module_notebook: NotebookPage, watched: WatchedPage
) -> None:
    notebook, cell = module_notebook, CELLS["job"]
    notebook.wait_for_kernel()
    grows(notebook, cell)
    notebook.page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 2; }")
    notebook.execute("notebook:move-cell-up")
    grows(notebook, cell - 1)
    notebook.execute("notebook:move-cell-down")
    grows(notebook, cell)
    expect(notebook.output(cell).locator(".jp-RenderedMarkdown")).to_have_count(1)
    expect(notebook.output(cell).locator(".gz-StandingNote")).to_have_count(0)
    notebook.run(notebook.add("%llm jobs cancel --all"))
    expect(notebook.output(cell)).to_contain_text("■ job 1 · cancelled after", timeout=WAIT_MS)
    assert words(notebook, cell) > 10
    assert watched.take_errors() == []


def test_what_ended_while_no_page_looked_is_shown_as_it_ended(
    module_notebook: NotebookPage, lab: LabServer, server: FakeOllama, watched: WatchedPage
) -> None:
    server.tokens = lambda _body: [f"word{number} " for number in range(60)]
    notebook, cell = module_notebook, CELLS["job"]
    notebook.run(cell)
    streaming = notebook.add("%%llm\nAnother one.")
    notebook.start(streaming)
    expect(notebook.output(cell)).to_contain_text("word3", timeout=WAIT_MS)
    expect(notebook.output(streaming)).to_contain_text("word3", timeout=WAIT_MS)
    leave(notebook)
    wait_until(lambda: server.in_flight == 0, WAIT_MS / 1000, "both answers to be whole")
    watched.take_errors()
    again = come_back(notebook, lab)
    for each in (cell, streaming):
        expect(again.output(each)).to_contain_text("word59", timeout=WAIT_MS)
    expect(again.output(cell)).to_contain_text("✓ job 2 · north · llama3.2 · 60 tokens")
    again.show_panel()
    for verb, state in (("drain", "Draining"), ("resume", "OK")):  # its line is not that over which the outputs were asked for
        again.execute(f"gleitzeit:{verb}-instance", {"instance": "north"})
        expect(panel_of(again).locator("[data-instance=north]")).to_contain_text(state, timeout=WAIT_MS)
    assert watched.take_errors() == []


def test_a_job_whose_kernel_is_gone_does_not_claim_to_run(
    module_notebook: NotebookPage, lab: LabServer, watched: WatchedPage, project_root: Path
) -> None:
    notebook, cell = module_notebook, CELLS["job"]
    notebook.run(CELLS["load"])
    notebook.run(cell)
    expect(notebook.output(cell)).to_contain_text("word3", timeout=WAIT_MS)
    leave(notebook)
    lab.stop_kernels()
    watched.take_errors()
    again = come_back(notebook, lab)
    expect(again.output(cell).locator(".gz-StandingNote")).to_have_text(GONE, timeout=WAIT_MS)
    expect(again.output(cell).get_by_text("answering on")).to_be_hidden()
    expect(again.output(cell)).to_contain_text("word3")
    again.output(cell).screenshot(path=pictures(project_root) / "job-without-kernel.png")
    assert not again.page.evaluate("window.jupyterapp.shell.currentWidget.context.model.dirty"), "only a kernel changes the notebook"
    again.output(cell).locator(".jp-RenderedMarkdown").hover()
    expect(again.output(cell).get_by_role("button", name="Ask again")).not_to_have_attribute("aria-disabled", "true")
    assert watched.take_errors() == []


def test_a_kernel_without_the_extension_is_told_while_it_is_busy_and_nothing_is_reported(
    module_notebook: NotebookPage, lab: LabServer, watched: WatchedPage
) -> None:
    (lab.root / "let-go").unlink(missing_ok=True)
    lab.write_notebook("without.ipynb", [f"import os, time\n{HELD}"])
    notebook = NotebookPage(module_notebook.page, lab, "without.ipynb")
    watched.take_errors()
    notebook.start(0)
    notebook.page.wait_for_function("() => window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'busy'")
    notebook.save()
    notebook.reload()
    notebook.show_panel()
    expect(panel_of(notebook).get_by_role("button", name="Load gleitzeit_nb")).to_be_visible(timeout=WAIT_MS)
    (lab.root / "let-go").touch()
    expect(panel_of(notebook).locator(".gz-pill")).to_have_text("idle", timeout=WAIT_MS)
    assert watched.take_errors() == []
