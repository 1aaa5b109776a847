"""What axe-core says of everything that cells show, in both themes: one notebook with one of each. And menus, by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.support.accessibility import violations
from tests.support.fake_ollama import FakeOllama
from tests.support.kernel import serving
from tests.support.lab import LabServer, NotebookPage
from tests.support.watched_page import WatchedPage

WAIT_MS = 60_000
ANSWER = (
    "# A title\n\nSome *words*, a [link](https://example.org/) and `code`.\n\n```python\nprint('hello')  # a comment\n```\n\n"
    "| a | b |\n|--|--|\n| 1 | 2 |\n\n- one\n- two\n"
)
CELLS = {
    "answer": "%%llm -m llama3.2\nhi",
    "thoughts": "%%llm -m llama3.2 --think\nhi",
    "columns": "%%llm -m llama3.2 -n 3\nhi",
    "failing columns": "%%llm -m unknown -n 2\nhi",
    "job": "%%llm -m llama3.2 --bg -o job\nhi",
    "job's value": "job.result(60)\njob",
    "jobs": "%llm jobs",
    "error": "1 / 0",
    "explanation": "%llm fix -m llama3.2",
    "models": "%llm models",
    "receipts": "%llm receipts",
    "vectors": "%%llm -m llama3.2 --embed\nhi",
    "thread": "%%llm -m llama3.2 --thread talk\nhi",
    "history": "%llm history talk",
    "run": "%%sandbox --no-fail\nprint('out')\nraise ValueError('no')",
    "run beside": "%%sandbox --bg -o code\nprint('out')\n{'a': 1}",
    "its value": "code.result(60)\ncode",
    "status": "%gleitzeit status",
    "dashboard": "%gleitzeit dashboard",
}
# An answer's headings begin where the model has them begin.
THEIRS = ("heading-order",)


@pytest.fixture(scope="module")
def server() -> Iterator[FakeOllama]:
    tokens: list[object] = [{"thinking": "one thing"}, *ANSWER.splitlines(keepends=True)]
    with serving(FakeOllama("north", tokens=lambda _body: tokens)) as listening:  # type: ignore[arg-type,return-value]
        yield listening


@pytest.fixture(scope="module")
def notebook(server: FakeOllama, lab: LabServer, watched: WatchedPage) -> NotebookPage:
    load = "%load_ext gleitzeit_nb\nfrom gleitzeit_nb import configure\n"
    load += f"configure(ollama_config={{'instances': [{{'id': 'north', 'url': {server.url!r}}}]}})"
    lab.write_notebook("accessibility.ipynb", [load, *CELLS.values()])
    opened = NotebookPage(watched.page, lab, "accessibility.ipynb")
    for cell in range(1 + len(CELLS)):
        opened.start(cell)
        opened.wait_for_end(cell)
    failed = {name for index, name in enumerate(CELLS, 1) if opened.error(index)}
    assert failed == {"failing columns", "error"}
    return opened


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_what_cells_show_can_be_read_by_everybody(module_notebook: NotebookPage, theme: str, project_root: Path) -> None:
    page = module_notebook.page
    module_notebook.execute("apputils:change-theme", {"theme": f"JupyterLab {theme}"})
    expect(page.locator(f"body[data-jp-theme-light={'true' if theme == 'Light' else 'false'}]")).to_have_count(1, timeout=WAIT_MS)
    page.locator("#jupyterlab-splash").wait_for(state="detached", timeout=WAIT_MS)
    folder = project_root / ".cache" / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for index, name in enumerate(CELLS, 1):
        cell = page.locator(".jp-Notebook-cell").nth(index)
        cell.scroll_into_view_if_needed()
        for shown in cell.locator("details").all():
            shown.evaluate("node => { node.open = true; }")
        cell.evaluate("(node, name) => { node.dataset.tried = name; }", name)
        lines = violations(page, f"[data-tried={name!r}] .jp-OutputArea-output")
        found[name] = [line for line in lines if not line.startswith(THEIRS)]
        if name in ("columns", "explanation", "job"):
            cell.screenshot(path=folder / f"output-{name}-{theme.lower()}.png")
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_menus_of_the_panel_give_the_focus_back(module_notebook: NotebookPage) -> None:
    page = module_notebook.page
    panel = module_notebook.show_panel()
    for button in ("Actions for the pool", "Actions for north"):
        panel.get_by_role("button", name=button).focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("menu")).to_be_visible()
        names = page.get_by_role("menuitem").all_inner_texts()
        page.keyboard.press("Escape")
        assert len(names) >= 4
        assert all(names)
        expect(panel.get_by_role("button", name=button)).to_be_focused()
