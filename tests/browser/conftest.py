"""A real JupyterLab and a real Chromium. Playwright keeps its event loop in this thread, so it lives for one module only."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.fake_ollama import FakeOllama
from tests.support.kernel import serving
from tests.support.lab import CHROMIUM_FLAGS, LabServer, NotebookPage, running_lab
from tests.support.watched_page import WatchedPage

CONFIGURED = """%load_ext gleitzeit_nb
from gleitzeit_nb import configure
configure(ollama_config={{'instances': {instances!r}}})"""
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


@pytest.fixture(scope="session")
def lab_with(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Mapping[str, str]], LabServer]]:
    """The server that has these variables: modules that want the same ones share it."""
    pytest.importorskip("jupyterlab")
    if not list(project_root.glob("gleitzeit_nb/labextension/static/remoteEntry.*.js")):
        pytest.skip("the JupyterLab extension is not built: make labextension")
    running: dict[frozenset[tuple[str, str]], LabServer] = {}
    with contextlib.ExitStack() as stack:

        def found_or_started(environment: Mapping[str, str]) -> LabServer:
            key = frozenset(environment.items())
            if key not in running:
                root = tmp_path_factory.mktemp("lab") / "notebooks"
                root.mkdir()
                running[key] = stack.enter_context(running_lab(root, environment))
            return running[key]

        yield found_or_started


@pytest.fixture(scope="module")
def lab(lab_environment: dict[str, str], lab_with: Callable[[Mapping[str, str]], LabServer]) -> Iterator[LabServer]:
    server = lab_with(lab_environment)
    yield server
    server.stop_kernels()


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chromium, headless=True, args=list(CHROMIUM_FLAGS))


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest, project_root: Path) -> Iterator[Page]:
    """A fresh page; the test fails when the page reported an error that is not JupyterLab's own. Leaves a picture of a failure."""
    with WatchedPage.opened(browser) as watched:
        yield watched.page
        _leave_a_picture(watched.page, request.node, project_root)
    assert watched.errors == []


@pytest.fixture(scope="module")
def watched(browser: Browser) -> Iterator[WatchedPage]:
    """One page for a module whose tests go on in the same notebook; each looks at what the page reported."""
    with WatchedPage.opened(browser) as page:
        yield page


@pytest.fixture(scope="module")
def server() -> Iterator[FakeOllama]:
    """Answers what the module's tests tell it to."""
    with serving(FakeOllama("scripted")) as listening:
        yield listening


@pytest.fixture(scope="module")
def max_concurrent() -> int:
    """Of the server, in the notebook's configuration; a module may override this."""
    return 4


@pytest.fixture(scope="module")
def notebook(server: FakeOllama, max_concurrent: int, lab: LabServer, watched: WatchedPage, request: pytest.FixtureRequest) -> NotebookPage:
    """The module's own, opened: its first cell has told the kernel of the server. A module may override this."""
    name = f"{request.path.stem.removeprefix('test_')}.ipynb"
    instances = [{"id": server.id, "url": server.url, "max_concurrent": max_concurrent}]
    lab.write_notebook(name, [CONFIGURED.format(instances=instances)])
    opened = NotebookPage(watched.page, lab, name)
    opened.run(0)
    return opened


@pytest.fixture
def module_notebook(notebook: NotebookPage, request: pytest.FixtureRequest, project_root: Path) -> Iterator[NotebookPage]:
    """The module's own `notebook`. Leaves a picture of a failure."""
    yield notebook
    _leave_a_picture(notebook.page, request.node, project_root)


def _leave_a_picture(page: Page, node: pytest.Item, project_root: Path) -> None:
    if node.stash.get(FAILED, False):
        pictures = project_root / ".cache" / "pictures"
        pictures.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=pictures / f"{node.name}.png")


@pytest.fixture
def open_notebook(lab: LabServer, page: Page, request: pytest.FixtureRequest) -> Callable[[list[str]], NotebookPage]:
    """Writes a notebook with these cells and opens it."""

    def opened(cells: list[str]) -> NotebookPage:
        name = re.sub(r"\W+", "_", request.node.name)[:60] + ".ipynb"
        lab.write_notebook(name, cells)
        return NotebookPage(page, lab, name)

    return opened
