"""How a person arranges the side panel: sections that close, a hundred instances filtered and ordered, rows that keep still."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from gleitzeit_nb.snapshot import SecurityCount, SecurityNote, SecurityView, Snapshot
from tests.support.accessibility import violations
from tests.support.control_side import choose, show, speaking_cell
from tests.support.lab import LabServer, NotebookPage
from tests.support.snapshots import MOCK_UP, instance, large, run, session
from tests.support.watched_page import WatchedPage

WAIT_MS = 30_000
PLUGIN = "gleitzeit-nb:plugin"
SECTIONS = ("Running", "Ollama instances", "Python execution", "Sandbox sessions", "Recent failovers", "Security events")
EVENTS = SecurityView((SecurityCount("timeout", "docker-sandbox", 4),), (SecurityNote(1_770_000_000.0, "timeout", "docker-sandbox", ""),))
FEW = replace(MOCK_UP, sessions=(session(),), security=EVENTS)


def many(**loads: int) -> Snapshot:
    """A hundred instances, of which some are busier, one fails and one has a model of its own."""
    pool = large(100).instances
    changed = [replace(view, in_flight=loads.get(view.id.replace("-", "_"), 0)) for view in pool]
    changed[70] = replace(changed[70], state="unhealthy", breaker="open", reason="refused")
    changed[80] = replace(changed[80], tags=("vision",), models=("llava:13b",))
    return replace(FEW, instances=tuple(changed))


@pytest.fixture(scope="module")
def notebook(lab: LabServer, watched: WatchedPage) -> Iterator[NotebookPage]:
    lab.save_settings(PLUGIN, "{}")
    lab.write_notebook("arrangement.ipynb", [speaking_cell(FEW)])
    watched.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened = NotebookPage(watched.page, lab, "arrangement.ipynb")
    opened.show_panel()
    opened.run(0)
    yield opened
    lab.save_settings(PLUGIN, "{}")


@pytest.fixture
def panel(module_notebook: NotebookPage) -> Locator:
    panel = module_notebook.page.locator("#gleitzeit-nb-panel")
    expect(panel.locator(".gz-Instances")).to_be_visible(timeout=WAIT_MS)
    return panel


def heading(panel: Locator, name: str) -> Locator:
    return panel.get_by_role("button", name=name, exact=True)


def names(panel: Locator) -> list[str]:
    """The instances in the order in which they are shown."""
    found: list[str] = panel.evaluate("node => [...node.querySelectorAll('[data-instance]')].map(row => row.dataset.instance)")
    return found


def expect_first(panel: Locator, *ids: str) -> None:
    for index, each in enumerate(ids):
        expect(panel.locator("[data-instance]").nth(index)).to_have_attribute("data-instance", each, timeout=WAIT_MS)


def test_a_section_closes_to_its_heading_and_says_how_much_there_is(
    module_notebook: NotebookPage, panel: Locator, project_root: Path
) -> None:
    show(module_notebook, FEW)
    for name in SECTIONS:
        expect(heading(panel, name)).to_have_attribute("aria-expanded", "true")
    heading(panel, "Running").click()
    heading(panel, "Ollama instances").focus()
    module_notebook.page.keyboard.press("Enter")
    expect(heading(panel, "Ollama instances")).to_be_focused()
    expect(panel.locator("[data-run], [data-instance]")).to_have_count(0)
    expect(panel.locator(".gz-Instances caption")).to_have_text("Ollama instances3 of 4 up")
    expect(panel.locator(".gz-Running caption")).to_have_text("Running2")
    expect(panel.locator(".gz-Security caption")).to_contain_text("timeout 4")
    panel.screenshot(path=pictures(project_root) / "panel-closed.png")
    assert violations(module_notebook.page, "#gleitzeit-nb-panel") == []


def test_what_is_closed_stays_so_on_the_next_page(module_notebook: NotebookPage, panel: Locator, lab: LabServer) -> None:
    module_notebook.save()
    module_notebook.page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty", timeout=WAIT_MS)
    again = NotebookPage(module_notebook.page, lab, "arrangement.ipynb")
    shown = again.show_panel()
    expect(heading(shown, "Ollama instances")).to_have_attribute("aria-expanded", "false", timeout=WAIT_MS)
    expect(heading(shown, "Python execution")).to_have_attribute("aria-expanded", "true")
    heading(shown, "Ollama instances").click()
    heading(shown, "Running").click()
    expect(shown.locator("[data-instance]")).to_have_count(4)
    expect(shown.locator("[data-run]")).to_have_count(2)


def test_a_short_list_has_nothing_to_find_in_it(module_notebook: NotebookPage, panel: Locator) -> None:
    show(module_notebook, FEW)
    expect(panel.get_by_role("searchbox")).to_have_count(0)


def test_a_hundred_instances_are_found_by_tag_model_and_state(module_notebook: NotebookPage, panel: Locator, project_root: Path) -> None:
    show(module_notebook, many())
    words = panel.get_by_role("searchbox", name="Filter instances")
    words.fill("vision")
    expect(panel.locator("[data-instance]")).to_have_count(1)
    expect_first(panel, "gpu-80")
    expect(panel.locator(".gz-Find [role=status]")).to_have_text("1 of 100")
    show(module_notebook, many(gpu_3=1))
    expect(words).to_be_focused()
    expect(words).to_have_value("vision")
    words.fill("llava")
    expect_first(panel, "gpu-80")
    words.fill("failed")
    expect_first(panel, "gpu-70")
    words.fill("nothing has this")
    expect(panel.get_by_text("No instance has this.")).to_be_visible()
    assert violations(module_notebook.page, "#gleitzeit-nb-panel") == []
    words.fill("")
    expect(panel.locator("[data-instance]")).to_have_count(100)
    panel.screenshot(path=pictures(project_root) / "panel-100.png")
    assert violations(module_notebook.page, "#gleitzeit-nb-panel") == []


def test_the_order_is_as_chosen_and_holds_still_under_the_pointer(module_notebook: NotebookPage, panel: Locator) -> None:
    show(module_notebook, many(gpu_40=3))
    order = panel.get_by_role("combobox", name="Order of instances")
    order.select_option("Busiest first")
    expect_first(panel, "gpu-40", "gpu-0")
    order.select_option("Failing first")
    expect_first(panel, "gpu-70", "gpu-0")
    order.select_option("Busiest first")
    panel.locator("[data-instance=gpu-0]").hover()
    before = names(panel)
    show(module_notebook, replace(many(gpu_55=5), at=MOCK_UP.at + 60))
    expect(panel.locator("[data-instance=gpu-55]")).to_contain_text("5/5")
    assert names(panel) == before
    module_notebook.page.mouse.move(900, 500)
    show(module_notebook, replace(many(gpu_55=5, gpu_56=1), at=MOCK_UP.at + 120))
    expect_first(panel, "gpu-55", "gpu-56")
    order.select_option("As configured")
    expect_first(panel, "gpu-0", "gpu-1", "gpu-2")


def test_many_runs_leave_room_for_what_is_below_them(module_notebook: NotebookPage, panel: Locator) -> None:
    show(module_notebook, replace(FEW, runs=tuple(run(f"r{number}") for number in range(50)), runs_total=70))
    expect(panel.locator("[data-run]")).to_have_count(8)
    more = panel.get_by_role("button", name="Show 42 more")
    more.focus()
    module_notebook.page.keyboard.press("Enter")
    expect(panel.locator("[data-run]")).to_have_count(50)
    expect(panel.locator(".gz-Running")).to_contain_text("and 20 more")
    fewer = panel.get_by_role("button", name="Show fewer")
    expect(fewer).to_be_focused()
    fewer.click()
    expect(panel.locator("[data-run]")).to_have_count(8)


def test_the_menu_of_a_row_copies_its_name_and_asks_it_in_a_new_cell(module_notebook: NotebookPage, panel: Locator) -> None:
    show(module_notebook, replace(FEW, instances=(*FEW.instances, instance("no word"))))
    page = module_notebook.page
    choose(panel, "gpu-1", "Copy its name")
    assert page.evaluate("() => navigator.clipboard.readText()") == "gpu-1"
    choose(panel, "gpu-1", "Insert a cell that asks gpu-1")
    page.wait_for_function("() => window.jupyterapp.shell.currentWidget.content.widgets.length === 2", timeout=WAIT_MS)
    assert module_notebook.source(1) == "%%llm --instance gpu-1\n"
    expect(page.locator(".jp-Notebook-cell").nth(1).locator(".cm-content")).to_be_focused()
    panel.get_by_role("button", name="Actions for no word").click()
    expect(page.locator(".lm-Menu-itemLabel", has_text="Copy its name")).to_be_visible()
    expect(page.locator(".lm-Menu-itemLabel", has_text="Insert a cell")).to_have_count(0)
    page.keyboard.press("Escape")


def pictures(project_root: Path) -> Path:
    folder = project_root / ".cache" / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
