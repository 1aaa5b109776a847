"""What the side panel says while there is nothing to show, and the next step that it offers, in one JupyterLab."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.accessibility import violations
from tests.support.control_side import show, speaking_cell
from tests.support.lab import LabServer, NotebookPage
from tests.support.snapshots import EMPTY, MOCK_UP
from tests.support.watched_page import WatchedPage

WAIT_MS = 30_000
# As on a machine where it is not installed.
FORGET = """import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "gleitzeit_nb":
            raise ModuleNotFoundError(f"No module named {name!r}")
sys.meta_path.insert(0, Missing())"""


@pytest.fixture(scope="module")
def notebook(lab: LabServer, watched: WatchedPage) -> NotebookPage:
    lab.write_notebook("analysis.ipynb", ["%load_ext gleitzeit_nb", FORGET, speaking_cell(EMPTY), "# a cell"])
    opened = NotebookPage(watched.page, lab, "analysis.ipynb")
    opened.show_panel()
    return opened


@pytest.fixture
def panel(module_notebook: NotebookPage) -> Locator:
    return module_notebook.page.locator("#gleitzeit-nb-panel")


def explained(panel: Locator, title: str, name: str, project_root: Path) -> None:
    """It says so in a place that screen readers follow, without a fault, and is left as a picture."""
    expect(panel.get_by_role("status").get_by_text(title, exact=True)).to_be_visible(timeout=WAIT_MS)
    pictures = project_root / ".cache" / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    panel.screenshot(path=pictures / f"panel-empty-{name}.png")
    assert violations(panel.page, "#gleitzeit-nb-panel") == []


def kernel(page: Page, call: str) -> None:
    page.evaluate(f"() => {{ void window.jupyterapp.shell.currentWidget.sessionContext.{call}; }}")


def test_a_kernel_without_the_package_is_told_how_to_get_it(module_notebook: NotebookPage, panel: Locator, project_root: Path) -> None:
    explained(panel, "Not loaded in this kernel", "not-loaded", project_root)
    module_notebook.run(1)
    panel.get_by_role("button", name="Load gleitzeit_nb").click()
    explained(panel, "Not installed for this kernel", "not-installed", project_root)
    expect(panel).to_contain_text("%pip install gleitzeit-nb")
    assert module_notebook.source(1) == FORGET  # it ran the cell that the notebook has, and added none
    expect(module_notebook.output(0)).to_contain_text("ModuleNotFoundError")


def test_before_the_first_request_a_cell_for_it_is_offered(module_notebook: NotebookPage, panel: Locator, project_root: Path) -> None:
    module_notebook.run(2)
    explained(panel, "Nothing asked yet", "nothing-asked", project_root)
    panel.get_by_role("button", name="Insert a %%llm cell").click()
    module_notebook.page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget.content.activeCell.model.sharedModel.getSource() === '%%llm\\n'", timeout=WAIT_MS
    )


def test_no_instance_and_no_docker_are_explained_with_a_next_step(module_notebook: NotebookPage, panel: Locator) -> None:
    [sandbox, *_] = MOCK_UP.modes
    without = {"enabled": True, "available": False, "note": "no Docker daemon answers at unix:///var/run/docker.sock"}
    show(module_notebook, replace(EMPTY, modes=(replace(sandbox, **without),)))  # type: ignore[arg-type]
    instances = panel.get_by_role("table", name="Ollama instances")
    expect(instances).to_contain_text("Start Ollama, or add an instance", timeout=WAIT_MS)
    expect(instances.get_by_role("button", name="Run %gleitzeit doctor")).to_be_visible()
    execution = panel.get_by_role("table", name="Python execution")
    expect(execution).to_contain_text("no Docker daemon answers")
    execution.get_by_role("button", name="Run %gleitzeit doctor").click()
    module_notebook.page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget.content.widgets.some("
        "cell => cell.model.sharedModel.getSource() === '%gleitzeit doctor' && cell.model.executionCount !== null)",
        timeout=WAIT_MS,
    )
    assert violations(panel.page, "#gleitzeit-nb-panel") == []


def test_a_restart_is_said_and_no_kernel_offers_to_choose_one(module_notebook: NotebookPage, panel: Locator, project_root: Path) -> None:
    page = module_notebook.page
    page.evaluate(
        """() => { const seen = window.gzTitles = [];
            new MutationObserver(() => { const title = document.querySelector('#gleitzeit-nb-panel .gz-Empty b')?.textContent;
                if (title && seen[seen.length - 1] !== title) seen.push(title); })
            .observe(document.getElementById('gleitzeit-nb-panel'), { subtree: true, childList: true, characterData: true }); }"""
    )
    kernel(page, "session.kernel.restart()")
    expect(panel.get_by_text("Not loaded in this kernel")).to_be_visible(timeout=WAIT_MS)
    assert "Kernel restarting" in page.evaluate("() => window.gzTitles")
    kernel(page, "shutdown()")
    explained(panel, "No kernel", "no-kernel", project_root)
    panel.get_by_role("button", name="Choose a kernel").click()
    page.locator(".jp-Dialog").get_by_role("button", name="Select", exact=False).last.click()
    expect(panel.get_by_text("Not loaded in this kernel")).to_be_visible(timeout=WAIT_MS)


def test_a_dead_kernel_offers_to_restart_it(module_notebook: NotebookPage, panel: Locator, project_root: Path) -> None:
    page = module_notebook.page
    page.evaluate(
        """() => { const context = window.jupyterapp.shell.currentWidget.sessionContext;
            context.session.kernel._updateStatus('dead'); }"""
    )
    explained(panel, "Kernel dead", "dead", project_root)
    panel.get_by_role("button", name="Restart the kernel").click()
    expect(panel.get_by_text("Not loaded in this kernel")).to_be_visible(timeout=WAIT_MS)


def test_without_a_notebook_one_is_offered(module_notebook: NotebookPage, panel: Locator, project_root: Path) -> None:
    page = module_notebook.page
    module_notebook.save()
    page.evaluate("() => { void window.jupyterapp.commands.execute('application:close-all'); }")
    explained(panel, "No notebook", "no-notebook", project_root)
    panel.get_by_role("button", name="New notebook").click()
    expect(page.locator(".jp-NotebookPanel")).to_be_visible(timeout=WAIT_MS)
