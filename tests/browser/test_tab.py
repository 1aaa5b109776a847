"""Tab in the cells of a real JupyterLab, and the help that its pager shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.fake_ollama import FakeOllama
from tests.support.kernel import serving
from tests.support.lab import LabServer, NotebookPage
from tests.support.watched_page import WatchedPage

WAIT_MS = 30_000
SETUP = """%load_ext gleitzeit_nb
from gleitzeit_nb import configure
configure(ollama_config={{'instances': {instances!r}}})
my_table = [1, 2, 3]
%llm models"""


@pytest.fixture(scope="module")
def server() -> Iterator[FakeOllama]:
    with serving(FakeOllama("north", models=("llama3.2:latest", "llama3.2:70b", "mixtral:latest"))) as listening:
        yield listening


@pytest.fixture(scope="module")
def notebook(server: FakeOllama, lab: LabServer, watched: WatchedPage) -> NotebookPage:
    lab.write_notebook("tab.ipynb", [SETUP.format(instances=[{"id": "north", "url": server.url, "tags": ["gpu"]}])])
    opened = NotebookPage(watched.page, lab, "tab.ipynb")
    opened.run(0)
    return opened


@pytest.fixture
def pictures(project_root: Path) -> Path:
    folder = project_root / ".cache" / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def cell(module_notebook: NotebookPage) -> int:
    """A new cell, with the cursor in it."""
    index = module_notebook.add("")
    editor(module_notebook, index).click()
    return index


def editor(notebook: NotebookPage, cell: int) -> Locator:
    return notebook.page.locator(".jp-Notebook-cell").nth(cell).locator(".cm-content")


def text(notebook: NotebookPage, cell: int) -> str:
    source: str = notebook.page.evaluate(
        "cell => window.jupyterapp.shell.currentWidget.content.widgets[cell].model.sharedModel.getSource()", cell
    )
    return source


def shown_matches(page: Page) -> Locator:
    """What is offered now: a completer that was hidden keeps what it offered last."""
    return page.locator(".jp-Completer .jp-Completer-match").filter(visible=True)


def test_tab_offers_models_in_lab_and_replaces_what_was_typed(module_notebook: NotebookPage, cell: int, pictures: Path) -> None:
    page = module_notebook.page
    page.keyboard.type("%%llm --model=lla")
    page.keyboard.press("Tab")
    offered = shown_matches(page)
    expect(offered.filter(has_text="llama3.2:70b")).to_be_visible(timeout=WAIT_MS)
    expect(offered).to_have_count(2)
    page.screenshot(path=pictures / "tab.png")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(editor(module_notebook, cell)).to_contain_text("70b", timeout=WAIT_MS)
    assert text(module_notebook, cell) == "%%llm --model=llama3.2:70b"


def test_an_expression_in_a_prompt_is_completed(module_notebook: NotebookPage, cell: int) -> None:
    page = module_notebook.page
    page.keyboard.type("%%llm\nSay {my_t")
    page.keyboard.press("Tab")
    offered = shown_matches(page)
    expect(offered).to_have_text("my_table", timeout=WAIT_MS)
    page.keyboard.press("Enter")
    expect(editor(module_notebook, cell)).to_contain_text("{my_table", timeout=WAIT_MS)
    assert text(module_notebook, cell).removesuffix("}") == "%%llm\nSay {my_table"


def test_the_pager_shows_the_help_of_the_cell_magic(module_notebook: NotebookPage, pictures: Path) -> None:
    page = module_notebook.page
    module_notebook.run(module_notebook.add("%%llm?"))
    pager = page.locator(".jp-Inspector-content, #jp-down-stack .jp-OutputArea, .jp-OutputArea-output").last
    expect(pager).to_contain_text("usage: %%llm [OPTIONS]", timeout=WAIT_MS)
    expect(pager).to_contain_text("who may answer:")
    page.screenshot(path=pictures / "help.png")
