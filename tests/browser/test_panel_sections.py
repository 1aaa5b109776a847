"""What the side panel draws of a full snapshot, in one notebook: every section, at every width, in both themes, for everybody."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from gleitzeit_nb.snapshot import SecurityCount, SecurityNote, SecurityView
from tests.support.accessibility import violations
from tests.support.control_side import show, speaking_cell
from tests.support.lab import LabServer, NotebookPage
from tests.support.snapshots import MOCK_UP, container, session
from tests.support.watched_page import WatchedPage

WAIT_MS = 30_000
WIDTHS = (260, 340, 500)
SECURITY = SecurityView(
    (SecurityCount("timeout", "docker-sandbox", 3), SecurityCount("timeout", "docker-datascience", 1), SecurityCount("network", "x", 12)),
    (
        SecurityNote(1_770_000_000.0, "network", "docker-sandbox", "10.0.0.1:5432 is a private address"),
        SecurityNote(1_769_999_000.0, "timeout", "docker-datascience", "ran longer than 60 s"),
    ),
)
FULL = replace(MOCK_UP, sessions=(session(), session("plots", state="running", runs=12)), security=SECURITY)


@pytest.fixture(scope="module")
def notebook(lab: LabServer, watched: WatchedPage) -> NotebookPage:
    lab.write_notebook("01_quickstart.ipynb", [speaking_cell(FULL)])
    opened = NotebookPage(watched.page, lab, "01_quickstart.ipynb")
    opened.run(0)
    return opened


@pytest.fixture
def panel(module_notebook: NotebookPage) -> Locator:
    shown = module_notebook.show_panel()
    expect(shown.locator("[data-instance=gpu-1]")).to_be_visible(timeout=WAIT_MS)
    return shown


def table(panel: Locator, caption: str) -> Locator:
    return panel.get_by_role("table", name=caption)


def set_theme(notebook: NotebookPage, theme: str) -> None:
    notebook.execute("apputils:change-theme", {"theme": f"JupyterLab {theme}"})
    expect(notebook.page.locator(f"body[data-jp-theme-light={'true' if theme == 'Light' else 'false'}]")).to_have_count(1, timeout=WAIT_MS)
    notebook.page.locator("#jupyterlab-splash").wait_for(state="detached")  # it fades over the page while a theme is loaded


def test_every_table_has_its_caption_and_every_row_its_header(panel: Locator) -> None:
    assert panel.get_attribute("role") == "region"
    assert panel.get_attribute("aria-label") == "Gleitzeit"
    for caption, names in {
        "Ollama instances": ["local", "gpu-1", "gpu-2", "backup"],
        "Python execution": ["Sandbox", "Data science", "Local"],
        "Sandbox sessions": ["work", "plots"],
    }.items():
        for name in names:
            expect(table(panel, caption).get_by_role("rowheader", name=name, exact=True)).to_be_visible()
    expect(table(panel, "Recent failovers").get_by_role("rowheader", name="backup → gpu-1")).to_be_visible()


def test_the_running_rows_tell_time_tokens_and_rate(panel: Locator) -> None:
    row = table(panel, "Running").get_by_role("row", name="llama3.2:70b on gpu-1")
    expect(row).to_contain_text("312 tokens")
    expect(row).to_contain_text("41 tok/s")
    expect(row.get_by_role("img", name="Tokens per second")).to_be_visible()
    expect(table(panel, "Running").get_by_role("row", name="[job 3] batch")).to_contain_text("128 of 500")


def test_security_events_are_counted_and_told(panel: Locator) -> None:
    events = table(panel, "Security events")
    expect(events.locator("caption")).to_contain_text("network 12 · timeout 4")
    expect(events.get_by_role("row", name="private address")).to_contain_text("Sandbox")


def test_a_row_opens_to_its_last_minute_and_stays_open_and_focused(module_notebook: NotebookPage, panel: Locator) -> None:
    panel.get_by_role("button", name="Show details of gpu-1").focus()
    module_notebook.page.keyboard.press("Enter")
    details = panel.get_by_role("group", name="Details of gpu-1")
    for line in ("Load of gpu-1", "Latency of gpu-1", "Tokens per second of gpu-1"):
        expect(details.get_by_role("img", name=line)).to_be_visible()
    expect(details).to_contain_text("41\u00a0GB VRAM")
    show(module_notebook, FULL)
    expect(panel.get_by_role("button", name="Hide details of gpu-1")).to_be_focused()
    expect(details).to_be_visible()
    module_notebook.page.keyboard.press("Space")
    expect(details).to_have_count(0)


def test_containers_open_below_their_mode(panel: Locator) -> None:
    panel.get_by_role("button", name="Show containers of Sandbox").click()
    rows = table(panel, "Containers of Sandbox").get_by_role("row")
    expect(rows).to_have_count(1 + len(FULL.container_list))
    expect(rows.filter(has_text=container().id)).to_contain_text("61\u00a0MB")
    expect(rows.filter(has_text="session work")).to_contain_text("5\u00a0min")
    panel.get_by_role("button", name="Hide containers of Sandbox").click()


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_panel(module_notebook: NotebookPage, panel: Locator, width: int) -> None:
    module_notebook.set_panel_width(width)
    over = panel.evaluate(
        """node => { const right = node.getBoundingClientRect().right + 1;
            return [...node.querySelectorAll('td, th, button, dd, svg')].filter(each => each.getBoundingClientRect().right > right)
                .map(each => each.outerHTML.slice(0, 100)); }"""
    )
    assert over == []
    cut = panel.evaluate(
        """node => [...node.querySelectorAll('.gz-number, .gz-Bar, .gz-State, dd, .gz-button')]
            .filter(each => each.scrollWidth > each.clientWidth + 1 && each.clientWidth > 0).map(each => each.outerHTML.slice(0, 100))"""
    )
    assert cut == []


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_axe_finds_nothing(module_notebook: NotebookPage, panel: Locator, theme: str, project_root: Path) -> None:
    module_notebook.set_panel_width(340)
    set_theme(module_notebook, theme)
    opened = [panel.get_by_role("button", name=f"Show {what}") for what in ("details of local", "containers of Sandbox")]
    pictures = project_root / ".cache" / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    panel.screenshot(path=pictures / f"panel-{theme.lower()}.png")
    for button in opened:
        button.click()
    panel.screenshot(path=pictures / f"panel-details-{theme.lower()}.png")
    assert violations(module_notebook.page, "#gleitzeit-nb-panel") == []
    for name in ("Hide details of local", "Hide containers of Sandbox"):
        panel.get_by_role("button", name=name).click()
    set_theme(module_notebook, "Light")
