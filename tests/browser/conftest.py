"""A real JupyterLab and a real Chromium. Playwright keeps its event loop in this thread, so it lives for one module only."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.lab import CHROMIUM_FLAGS, LabServer, NotebookPage, running_lab

# Messages that JupyterLab itself gives, also without this extension.
KNOWN = re.compile(
    r"favicon|ResizeObserver loop|Failed to load resource|the server responded with a status of 40[34]|WebSocket|"
    r"reading 'schema'|Autofocus processing was blocked|Could not restore the debugger state"
)
FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="module")
def lab_environment() -> dict[str, str]:
    """Variables for the server and its kernels; a module may override this."""
    return {}


@pytest.fixture(scope="module")
def lab(lab_environment: dict[str, str], project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    pytest.importorskip("jupyterlab")
    if not list(project_root.glob("gleitzeit_nb/labextension/static/remoteEntry.*.js")):
        pytest.skip("the JupyterLab extension is not built: make labextension")
    home = tmp_path_factory.mktemp("lab")
    root = home / "notebooks"
    root.mkdir()
    with running_lab(root, lab_environment) as server:
        yield server


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chromium, headless=True, args=list(CHROMIUM_FLAGS))


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest, project_root: Path) -> Iterator[Page]:
    """A fresh page; the test fails when the page reported an error that is not JupyterLab's own. Leaves a picture of a failure."""
    errors: list[str] = []
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    yield page
    if request.node.stash.get(FAILED, False):
        pictures = project_root / ".cache" / "pictures"
        pictures.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=pictures / f"{request.node.name}.png")
    context.close()
    assert [error for error in errors if not KNOWN.search(error)] == []


@pytest.fixture
def open_notebook(lab: LabServer, page: Page, request: pytest.FixtureRequest) -> Callable[[list[str]], NotebookPage]:
    """Writes a notebook with these cells and opens it."""

    def opened(cells: list[str]) -> NotebookPage:
        name = re.sub(r"\W+", "_", request.node.name)[:60] + ".ipynb"
        lab.write_notebook(name, cells)
        return NotebookPage(page, lab, name)

    return opened
