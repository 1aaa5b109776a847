"""Everything on ipykernel 6, which has no subshells: in one notebook of a real JupyterLab."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.support.control_side import choose
from tests.support.fake_ollama import FakeOllama, echo
from tests.support.kernel import serving
from tests.support.lab import LabServer, NotebookPage
from tests.support.old_kernel import NAME, install_old_kernel
from tests.support.watched_page import WatchedPage

WAIT_MS = 30_000
LOAD = """%load_ext gleitzeit_nb
from gleitzeit_nb import configure
from gleitzeit_nb.runtime import get_runtime
import ipykernel, pathlib, time
configure(ollama_config={{'instances': {instances!r}}})
%gleitzeit status
print("ipykernel", ipykernel.__version__)"""
WAITING = "while not pathlib.Path({path!r}).exists(): time.sleep(0.05)"


@pytest.fixture(scope="module")
def lab_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {"JUPYTER_DATA_DIR": str(install_old_kernel(tmp_path_factory.mktemp("old_kernel")))}


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[FakeOllama, FakeOllama]]:
    with serving(FakeOllama("north")) as north, serving(FakeOllama("south")) as south:
        yield north, south


@pytest.fixture(scope="module")
def notebook(servers: tuple[FakeOllama, FakeOllama], lab: LabServer, watched: WatchedPage) -> NotebookPage:
    instances = [{"id": each.id, "url": each.url} for each in servers]
    lab.write_notebook("old_kernel.ipynb", [LOAD.format(instances=instances)], kernel=NAME)
    opened = NotebookPage(watched.page, lab, "old_kernel.ipynb")
    opened.show_panel()
    opened.run(0)
    expect(opened.output(0)).to_contain_text("ipykernel 6.")
    return opened


@pytest.fixture
def old(module_notebook: NotebookPage, servers: tuple[FakeOllama, FakeOllama], watched: WatchedPage) -> Iterator[NotebookPage]:
    for server in servers:
        server.tokens, server.token_s = echo, 0.0
    yield module_notebook
    assert watched.take_errors() == []


@pytest.fixture
def endless(old: NotebookPage, servers: tuple[FakeOllama, FakeOllama]) -> None:
    for server in servers:
        server.tokens, server.token_s = (lambda _body: ["word "] * 5000), 0.05


@pytest.fixture
def panel(old: NotebookPage) -> Locator:
    return old.page.locator("#gleitzeit-nb-panel")


def instance(panel: Locator, name: str) -> Locator:
    return panel.locator(f"[data-instance={name}]")


def test_the_panel_and_the_status_bar_follow_it_while_cells_run(old: NotebookPage, panel: Locator, tmp_path: Path) -> None:
    expect(instance(panel, "north")).to_contain_text("OK", timeout=WAIT_MS)
    expect(old.page.locator(".gz-StatusItem")).to_have_text("Ollama 2/2 · sandbox 0 warm")
    old.start(old.add("%gleitzeit drain north\n" + WAITING.format(path=str(tmp_path / "go"))))
    expect(panel.locator(".gz-pill")).to_contain_text("kernel busy", timeout=WAIT_MS)
    expect(instance(panel, "north")).to_contain_text("Draining", timeout=WAIT_MS)
    expect(panel.locator(".gz-pill")).to_contain_text("kernel busy")
    (tmp_path / "go").touch()
    expect(panel.locator(".gz-pill")).to_have_text("idle", timeout=WAIT_MS)


def test_commands_say_that_they_wait_for_the_running_cell_and_are_done_after_it(old: NotebookPage, panel: Locator, tmp_path: Path) -> None:
    notice = old.page.locator(".Toastify__toast")
    old.start(old.add(WAITING.format(path=str(tmp_path / "go"))))
    expect(panel.locator(".gz-pill")).to_contain_text("kernel busy", timeout=WAIT_MS)
    old.execute("gleitzeit:resume-instance", {"instance": "north"})
    expect(notice.get_by_text("Resuming north: waits for the running cell")).to_be_visible(timeout=WAIT_MS)
    choose(panel, "south", "Drain")
    expect(panel.get_by_text("Draining south: waits until the running cell has ended")).to_be_visible(timeout=WAIT_MS)
    expect(instance(panel, "north")).to_contain_text("Draining")
    (tmp_path / "go").touch()
    expect(notice.get_by_text("north gets work again.")).to_be_visible(timeout=WAIT_MS)
    expect(panel.get_by_text("south gets nothing new")).to_be_visible(timeout=WAIT_MS)
    expect(instance(panel, "north")).to_contain_text("OK")
    expect(instance(panel, "south")).to_contain_text("Draining")


def test_an_answer_a_sandbox_and_a_dashboard_are_shown(old: NotebookPage) -> None:
    answer, run, board = (old.add(code) for code in ("%%llm\nhello there", "%%sandbox --mode restricted\n6 * 7", "%gleitzeit dashboard"))
    for cell in (answer, run, board):
        old.run(cell)
    expect(old.output(answer).locator(".jp-RenderedMarkdown").first).to_have_text("hello there")
    expect(old.output(run)).to_contain_text("42")
    picture = old.output(board).locator("section.gz-dash")
    expect(picture).to_contain_text("2 of 2 instances up", timeout=WAIT_MS)
    old.run(old.add("%gleitzeit resume south"))
    expect(picture.locator("tr", has_text="south").first).to_contain_text("OK", timeout=WAIT_MS)


def test_tab_completes_in_a_cell(old: NotebookPage) -> None:
    cell = old.page.locator(".jp-Notebook-cell").nth(old.add("")).locator(".cm-content")
    cell.click()
    old.page.keyboard.type("%%llm --model lla")
    old.page.keyboard.press("Tab")
    expect(old.page.locator(".jp-Completer")).to_contain_text("llama3.2", timeout=WAIT_MS)
    old.page.keyboard.press("Escape")


@pytest.mark.usefixtures("endless")
def test_a_job_goes_on_beside_a_running_cell_and_is_cancelled_after_it(old: NotebookPage, tmp_path: Path) -> None:
    job = old.add("%%llm --bg -o job\ncount")
    old.run(job)
    old.start(old.add(WAITING.format(path=str(tmp_path / "go"))))
    expect(old.output(job).locator(".jp-RenderedMarkdown").first).to_contain_text("word word", timeout=WAIT_MS)
    (tmp_path / "go").touch()
    old.run(old.add("job.cancel()"))
    expect(old.output(job)).to_contain_text("cancelled", timeout=WAIT_MS)


@pytest.mark.usefixtures("endless")
def test_an_interrupt_ends_an_answer_and_the_next_cell_works(old: NotebookPage) -> None:
    cell = old.add("%%llm\ncount")
    old.start(cell)
    expect(old.output(cell).locator(".jp-RenderedMarkdown").first).to_contain_text("word word", timeout=WAIT_MS)
    old.interrupt()
    cell = old.add("print(6 * 7, [view.in_flight for view in get_runtime().engine.snapshot().instances])")
    old.run(cell)
    expect(old.output(cell)).to_contain_text("42 [0, 0]")


def test_loading_it_anew_and_unloading_it_is_followed_by_the_panel(old: NotebookPage, panel: Locator) -> None:
    old.run(old.add("%reload_ext gleitzeit_nb"))
    expect(panel.get_by_text("Nothing asked yet")).to_be_visible(timeout=WAIT_MS)
    old.run(old.add("%unload_ext gleitzeit_nb"))
    expect(panel.get_by_text("Not loaded in this kernel")).to_be_visible(timeout=WAIT_MS)
    expect(old.page.locator(".gz-StatusItem")).to_have_text("Gleitzeit: not loaded")
    left = old.add("import threading; print(len([each for each in threading.enumerate() if 'gleitzeit' in each.name]), 'threads')")
    old.run(left)
    expect(old.output(left)).to_contain_text("0 threads")
