"""How the notebook's dashboard looks and reads in a real JupyterLab, in both themes: a pool of four, and one of a hundred."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from gleitzeit_nb.snapshot import SecurityCount, SecurityNote, SecurityView, Snapshot
from tests.support.accessibility import violations
from tests.support.lab import LabServer, NotebookPage
from tests.support.snapshots import MOCK_UP, large, session
from tests.support.watched_page import WatchedPage

WAIT_MS = 30_000
STOPPED = SecurityView(
    (SecurityCount("timeout", "docker-sandbox", 3), SecurityCount("network", "docker-sandbox", 12)),
    (SecurityNote(1_770_000_000.0, "network", "docker-sandbox", "10.0.0.1:5432 is a private address"),),
)
FULL = replace(MOCK_UP, sessions=(session(), session("plots", state="running", runs=12)), security=STOPPED)
CAPTIONS = ("Ollama instances", "Running", "Python execution", "Recent failovers", "Containers", "Sandbox sessions", "Security events")
# The widgets themselves, without an engine behind them.
SHOW = """
from pydantic import TypeAdapter
from IPython.display import display
from gleitzeit_nb.snapshot import Snapshot
from gleitzeit_nb.jupyter.dashboard import markup
from gleitzeit_nb.jupyter.dashboard.widgets import DashboardWidgets

snapshot = TypeAdapter(Snapshot).validate_json({snapshot!r})
widgets = DashboardWidgets(lambda paused: None, lambda command, instance: None)
widgets.show(markup.live(snapshot, "live"))
widgets.offer([view.id for view in snapshot.instances])
display({{"application/vnd.jupyter.widget-view+json": {{"version_major": 2, "version_minor": 0, "model_id": widgets.model_id}}}}, raw=True)
"""


def showing(snapshot: Snapshot) -> str:
    return SHOW.format(snapshot=json.dumps(snapshot.to_dict()))


@pytest.fixture(scope="module")
def notebook(lab: LabServer, watched: WatchedPage) -> NotebookPage:
    watched.page.set_viewport_size({"width": 1500, "height": 1000})
    lab.write_notebook("dashboard_views.ipynb", [showing(FULL), showing(large(100))])
    opened = NotebookPage(watched.page, lab, "dashboard_views.ipynb")
    opened.run(0)
    return opened


def set_theme(notebook: NotebookPage, theme: str) -> None:
    notebook.execute("apputils:change-theme", {"theme": f"JupyterLab {theme}"})
    expect(notebook.page.locator(f"body[data-jp-theme-light={'true' if theme == 'Light' else 'false'}]")).to_have_count(1, timeout=WAIT_MS)


def picture(notebook: NotebookPage, cell: int) -> Locator:
    shown = notebook.output(cell).locator("section.gz-dash").first
    expect(shown).to_contain_text("instances up", timeout=WAIT_MS)
    return shown


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_axe_finds_nothing_in_the_widget(module_notebook: NotebookPage, theme: str, project_root: Path) -> None:
    set_theme(module_notebook, theme)
    shown = picture(module_notebook, 0)
    pictures = project_root / ".cache" / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    shown.screenshot(path=pictures / f"dashboard-{theme.lower()}.png")
    module_notebook.output(0).screenshot(path=pictures / f"dashboard-controls-{theme.lower()}.png")
    assert violations(module_notebook.page, ".jp-Notebook-cell .jp-OutputArea-output") == []


def test_tables_and_controls_have_names(module_notebook: NotebookPage) -> None:
    shown = picture(module_notebook, 0)
    for caption in (
        "Ollama instances",
        "Running",
        "Python execution",
        "Recent failovers",
        "Containers",
        "Sandbox sessions",
        "Security events",
    ):
        expect(shown.get_by_role("table", name=caption, exact=True)).to_be_visible()
    row = shown.get_by_role("row", name="gpu-1 gpu 48 GB")
    expect(row.get_by_role("rowheader", name="gpu-1")).to_be_visible()
    for line in ("load of gpu-1", "latency of gpu-1", "tokens per second of gpu-1"):
        expect(row.get_by_role("img", name=line)).to_be_visible()
    output = module_notebook.output(0)
    for name in ("Pause", "Drain", "Resume"):
        expect(output.get_by_role("button", name=name)).to_be_visible()
    expect(output.get_by_role("combobox", name="Instance")).to_be_visible()


def test_nothing_is_cut_or_wider_than_the_picture(module_notebook: NotebookPage) -> None:
    wide = picture(module_notebook, 0).evaluate(
        """node => { const right = node.getBoundingClientRect().right + 1;
            return [...node.querySelectorAll('td, th, svg')].filter(each => each.getBoundingClientRect().right > right).length; }"""
    )
    assert wide == 0


def test_a_hundred_instances_stand_in_columns_below_each_other(module_notebook: NotebookPage, project_root: Path) -> None:
    module_notebook.run(1)
    pieces = module_notebook.output(1).locator("section.gz-piece")
    expect(pieces).to_have_count(12, timeout=WAIT_MS)
    lefts = module_notebook.output(1).evaluate(
        """node => [...node.querySelectorAll('.gz-instances')].map(table =>
            [...table.querySelector('tbody tr').children].map(each => Math.round(each.getBoundingClientRect().left)).join())"""
    )
    assert len(lefts) == 10
    assert len(set(lefts)) == 1
    module_notebook.output(1).screenshot(path=project_root / ".cache" / "pictures" / "dashboard-100.png")
    assert violations(module_notebook.page, ".jp-Notebook-cell:last-of-type section.gz-piece") == []
