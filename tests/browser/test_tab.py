"""Tab in the cells of a real JupyterLab, and the help that its pager shows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Error, Locator, Page, expect

from tests.support.fake_ollama import FakeOllama
from tests.support.kernel import serving
from tests.support.lab import NotebookPage

WAIT_MS = 30_000


@pytest.fixture(scope="module")
def server() -> Iterator[FakeOllama]:
    with serving(FakeOllama("north", models=("llama3.2:latest", "llama3.2:70b", "mixtral:latest"))) as listening:
        yield listening


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


def test_tab_in_a_fresh_notebook_offers_models_and_replaces_what_was_typed(
    module_notebook: NotebookPage, cell: int, server: FakeOllama, pictures: Path
) -> None:
    page = module_notebook.page
    page.keyboard.type("%%llm --model=lla")
    offered = shown_matches(page)

    for _ in range(5):  # the first Tab offers what the servers have said in a moment, which a busy machine may take for itself
        page.keyboard.press("Tab")
        with contextlib.suppress(Error):
            offered.first.wait_for(timeout=5000)
            break
    expect(offered.filter(has_text="llama3.2:70b")).to_be_visible()
    assert {request.path for request in server.requests} == {"/api/tags", "/api/ps"}, "no engine runs"
    expect(offered).to_have_count(2)
    page.screenshot(path=pictures / "tab.png")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(editor(module_notebook, cell)).to_contain_text("70b", timeout=WAIT_MS)
    assert text(module_notebook, cell) == "%%llm --model=llama3.2:70b"


def test_an_expression_in_a_prompt_is_completed(module_notebook: NotebookPage, cell: int) -> None:
    page = module_notebook.page
    module_notebook.run(module_notebook.add("my_table = [1, 2, 3]"))
    editor(module_notebook, cell).click()
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
