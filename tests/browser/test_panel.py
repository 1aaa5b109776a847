"""The side panel against a kernel that speaks the control comm's protocol, without an engine behind it: what it shows, tells and hears."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from gleitzeit_nb.snapshot import SCHEMA_VERSION
from tests.support.control_side import choose, show, speaking_cell, tell
from tests.support.lab import LabServer, NotebookPage, running_lab
from tests.support.snapshots import MOCK_UP, container, hostile, instance, run, session
from tests.support.watched_page import WatchedPage

WAIT_MS = 30_000
SLEEP = "import time\nwhile not stop: time.sleep(0.05)"
# One of each that can be told something; "slow", "stubborn" and "silent" answer as they are called.
POOL = replace(
    MOCK_UP,
    instances=(instance("local"), *(instance(name, models=("llama3.2", "mixtral")) for name in ("stubborn", "slow", "silent"))),
    runs=(run("r1"), run("r2", label="[13] %%llm")),
    sessions=(session("work"),),
)


@pytest.fixture(scope="module")
def notebook(lab: LabServer, watched: WatchedPage) -> NotebookPage:
    lab.write_notebook("panel.ipynb", [speaking_cell(POOL), SLEEP])
    opened = NotebookPage(watched.page, lab, "panel.ipynb")
    expect(opened.show_panel().get_by_text("Not loaded in this kernel")).to_be_visible(timeout=WAIT_MS)
    opened.run(0)
    return opened


@pytest.fixture
def panel(module_notebook: NotebookPage, watched: WatchedPage) -> Locator:
    """As at first, whatever a test before did."""
    panel = module_notebook.page.locator("#gleitzeit-nb-panel")
    expect(panel.locator(".gz-Instances")).to_be_visible(timeout=WAIT_MS)
    tell(module_notebook, "heard.clear(); stop = False")
    show(module_notebook, POOL)
    panel.evaluate("node => node.querySelectorAll('.gz-Dismiss').forEach(button => button.click())")
    assert watched.take_errors() == []
    return panel


def row(panel: Locator, name: str) -> Locator:
    return panel.locator(f"[data-instance={name}]")


def notices(panel: Locator) -> Locator:
    return panel.locator(".gz-Notices [role=status]")


def heard(notebook: NotebookPage) -> list[dict[str, str]]:
    """What the panel said since the test began."""
    said = notebook.page.evaluate(
        """() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel
            .requestExecute({ code: '', user_expressions: { heard: 'heard' }, store_history: false }).done
            .then(reply => reply.content.user_expressions.heard.data['text/plain'])"""
    )
    told: list[dict[str, str]] = ast.literal_eval(said)
    return told


def answer_dialog(page: Page, button: str) -> None:
    page.locator(".jp-Dialog").get_by_role("button", name=button).click()
    expect(page.locator(".jp-Dialog")).to_have_count(0)


def test_the_panel_filled_when_a_cell_made_the_kernel_listen(module_notebook: NotebookPage, panel: Locator) -> None:
    show(module_notebook, MOCK_UP)
    expect(row(panel, "local")).to_contain_text("OK", timeout=WAIT_MS)
    expect(row(panel, "local")).to_contain_text("2/5")
    expect(row(panel, "local")).to_contain_text("120\u00a0ms")
    expect(row(panel, "gpu-2")).to_contain_text("Draining")
    expect(row(panel, "backup")).to_contain_text("Failed")
    expect(row(panel, "backup")).to_contain_text("retry in")
    expect(panel.locator(".gz-Summary")).to_contain_text("3/4")
    expect(panel.locator("[data-mode=local]")).to_contain_text("disabled")
    expect(panel.locator(".gz-Failovers")).to_contain_text("backup → gpu-1")
    expect(module_notebook.page.locator(".gz-StatusItem")).to_be_visible()


def test_drain_and_resume_reach_the_kernel_and_its_answer_is_shown(module_notebook: NotebookPage, panel: Locator) -> None:
    choose(panel, "local", "Drain local")
    expect(row(panel, "local")).to_contain_text("Draining", timeout=WAIT_MS)
    expect(notices(panel)).to_contain_text("drain local: done.")
    choose(panel, "local", "Resume local")
    expect(row(panel, "local")).to_contain_text("OK", timeout=WAIT_MS)
    assert heard(module_notebook) == [{"type": "drain", "instance": "local"}, {"type": "resume", "instance": "local"}]


def test_a_refusal_is_shown_in_the_kernels_words_until_it_is_dismissed(panel: Locator) -> None:
    choose(panel, "stubborn", "Drain stubborn")
    expect(notices(panel).locator("[data-outcome=failed]")).to_contain_text("It will not.", timeout=WAIT_MS)
    panel.get_by_role("button", name="Dismiss: It will not.").click()
    expect(notices(panel)).to_be_empty()
    expect(panel).to_be_focused()  # what had the focus is gone


def test_what_takes_a_while_says_so_and_is_not_asked_twice(module_notebook: NotebookPage, panel: Locator) -> None:
    page = module_notebook.page
    panel.get_by_role("button", name="Actions for slow").click()
    page.locator(".lm-Menu-itemLabel", has_text="Warm a model on slow").click()
    page.locator(".lm-Menu-itemLabel", has_text="mixtral").click()
    expect(notices(panel).locator("[data-outcome=started]")).to_contain_text("It takes a while.", timeout=WAIT_MS)
    tell(module_notebook, "finish()")
    expect(notices(panel).locator("[data-outcome=done]")).to_contain_text("warm slow: done.", timeout=WAIT_MS)
    assert heard(module_notebook) == [{"type": "warm", "instance": "slow", "model": "mixtral"}]


@pytest.mark.parametrize(
    ("button", "title", "no", "yes", "told"),
    [
        ("Cancel [12] %%llm llama3.2:70b", "Cancel [12]", "Let it go on", "Cancel it", {"type": "cancel", "run": "r1"}),
        ("Reset session work", "Reset session work?", "Keep it", "Reset it", {"type": "reset_session", "session": "work"}),
        (
            f"Stop container {container().id}",
            "Stop container",
            "Keep it",
            "Stop it",
            {"type": "stop_container", "container": container().id},
        ),
    ],
)
def test_what_destroys_something_asks_first(
    module_notebook: NotebookPage, panel: Locator, button: str, title: str, no: str, yes: str, told: dict[str, str]
) -> None:
    page = module_notebook.page
    containers = panel.get_by_role("button", name="Show containers of Sandbox")
    if button.startswith("Stop"):
        containers.click()
    clicked = panel.get_by_role("button", name=button)
    clicked.click()
    expect(page.locator(".jp-Dialog")).to_contain_text(title)
    answer_dialog(page, no)
    assert heard(module_notebook) == []
    expect(clicked).to_be_focused()
    clicked.press("Enter")
    answer_dialog(page, yes)
    expect(notices(panel)).to_contain_text("done.", timeout=WAIT_MS)
    assert heard(module_notebook) == [told]
    if button.startswith("Stop"):
        panel.get_by_role("button", name="Hide containers of Sandbox").click()


def test_unloading_a_model_asks_only_where_it_may_be_in_use(module_notebook: NotebookPage, panel: Locator) -> None:
    page = module_notebook.page
    choose(panel, "local", "Unload llama3.2 from local")
    expect(page.locator(".jp-Dialog")).to_contain_text("is answering requests")
    answer_dialog(page, "Keep it")
    show(module_notebook, replace(POOL, instances=(instance("local", in_flight=0),)))
    expect(row(panel, "local")).to_contain_text("0/5")
    choose(panel, "local", "Unload llama3.2 from local")
    expect(notices(panel)).to_contain_text("unload local: done.", timeout=WAIT_MS)


def test_everything_can_be_done_by_keyboard(module_notebook: NotebookPage, panel: Locator) -> None:
    page = module_notebook.page
    panel.get_by_role("button", name="Show details of local").focus()
    page.keyboard.press("Tab")
    expect(panel.get_by_role("button", name="Actions for local")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".lm-Menu-item.lm-mod-active")).to_contain_text("Drain local")
    page.keyboard.press("Escape")
    expect(panel.get_by_role("button", name="Actions for local")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(row(panel, "local")).to_contain_text("Draining", timeout=WAIT_MS)
    expect(panel.get_by_role("button", name="Actions for local")).to_be_focused()


def test_the_chosen_entry_of_a_menu_is_seen_in_forced_colours(module_notebook: NotebookPage, panel: Locator) -> None:
    page = module_notebook.page
    page.emulate_media(forced_colors="active")
    try:
        panel.get_by_role("button", name="Actions for local").press("Enter")
        expect(page.locator(".gz-Menu .lm-Menu-item.lm-mod-active")).to_contain_text("Drain local")
        grounds = page.locator(".gz-Menu .lm-Menu-item[data-type=command]").evaluate_all(
            "items => items.map(each => getComputedStyle(each).backgroundColor)"
        )
        assert grounds[0] not in grounds[1:], grounds
    finally:
        page.keyboard.press("Escape")
        page.emulate_media(forced_colors="none")


def test_the_focus_stays_while_numbers_change_and_goes_to_the_panel_with_its_row(module_notebook: NotebookPage, panel: Locator) -> None:
    button = panel.get_by_role("button", name="Cancel [13]")
    button.focus()
    for tokens in (400, 500):
        show(module_notebook, replace(POOL, runs=(run("r1", tokens=tokens), run("r2", label="[13] %%llm", tokens=tokens))))
        expect(panel.locator("[data-run=r2]")).to_contain_text(f"{tokens} tokens")
    expect(button).to_be_focused()
    show(module_notebook, replace(POOL, runs=(run("r1"),)))
    expect(button).to_have_count(0)
    expect(panel).to_be_focused()


def test_the_kernel_answers_the_panel_while_a_cell_runs(module_notebook: NotebookPage, panel: Locator) -> None:
    module_notebook.start(1)
    expect(panel.get_by_text("kernel busy")).to_be_visible(timeout=WAIT_MS)
    choose(panel, "local", "Drain local")
    expect(row(panel, "local")).to_contain_text("Draining", timeout=WAIT_MS)
    assert module_notebook.is_running(1)
    module_notebook.interrupt()


def test_a_kernel_without_subshells_is_said_to_wait(module_notebook: NotebookPage, panel: Locator) -> None:
    notebook = module_notebook
    tell(notebook, "greet(False)")
    notebook.start(1)
    expect(panel.get_by_text("kernel busy")).to_be_visible(timeout=WAIT_MS)
    choose(panel, "silent", "Drain silent")
    expect(notices(panel)).to_contain_text("waits until the running cell has ended", timeout=WAIT_MS)
    notebook.interrupt()
    expect(notices(panel)).not_to_contain_text("waits until")
    tell(notebook, "greet(True)")


def test_strings_of_the_kernel_stay_text(module_notebook: NotebookPage, watched: WatchedPage, panel: Locator) -> None:
    page = module_notebook.page
    show(module_notebook, hostile())
    expect(panel.locator(".gz-Instances th[scope=row]").first).to_contain_text("<script>alert(1)</script>", timeout=WAIT_MS)
    openers = panel.get_by_role("button", name=re.compile("^Show (details|containers)"))
    while openers.count() > 0:
        openers.first.click()
    assert WatchedPage.faults(panel.locator(".gz-Header, .gz-Body, .gz-Notices")) == []
    panel.locator(".gz-Instances").get_by_role("button", name="Actions for").first.click()
    expect(page.locator(".lm-Menu-itemLabel").first).to_contain_text("<script>alert(1)</script>")
    assert page.locator(".lm-Menu img, .lm-Menu script").count() == 0
    page.keyboard.press("Escape")
    panel.get_by_role("button", name="Cancel").first.click()
    expect(page.locator(".jp-Dialog")).to_contain_text("<script>alert(1)</script>")
    assert page.locator(".jp-Dialog img, .jp-Dialog script").count() == 0
    answer_dialog(page, "Let it go on")
    assert watched.acted() == {}


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_the_panel_follows_the_theme(module_notebook: NotebookPage, panel: Locator, theme: str) -> None:
    module_notebook.execute("apputils:change-theme", {"theme": theme})
    light = theme.endswith("Light")
    expect(module_notebook.page.locator(f"body[data-jp-theme-light={'true' if light else 'false'}]")).to_have_count(1, timeout=WAIT_MS)
    colours = panel.evaluate("node => { const s = getComputedStyle(node); return [s.color, s.backgroundColor]; }")
    foreground, background = (
        sum(int(part) for part in colour[4:-1].split(",")[:3]) for colour in (c.replace("rgba", "rgb") for c in colours)
    )
    assert abs(foreground - background) > 300, colours
    assert (foreground < background) == light, colours


def test_silence_while_something_runs_is_not_shown_as_life(module_notebook: NotebookPage, panel: Locator) -> None:
    notebook = module_notebook
    expect(panel.locator(".gz-mod-stale")).to_have_count(1, timeout=WAIT_MS)  # it speaks of requests, and then no more
    expect(notices(panel)).to_contain_text("No word from the kernel for")
    elapsed = panel.locator("[data-run=r1] .gz-sub").inner_text()
    notebook.page.wait_for_timeout(1500)
    assert panel.locator("[data-run=r1] .gz-sub").inner_text() == elapsed  # what may have ended does not go on
    tell(notebook, "publish()")
    expect(panel.locator(".gz-mod-stale")).to_have_count(0)
    expect(notices(panel)).not_to_contain_text("No word")


def test_another_version_of_the_snapshot_is_named(module_notebook: NotebookPage, panel: Locator) -> None:
    show(module_notebook, replace(POOL, schema_version=SCHEMA_VERSION + 1))
    expect(panel.get_by_text("The kernel speaks another version")).to_be_visible(timeout=WAIT_MS)
    show(module_notebook, POOL)
    expect(row(panel, "local")).to_be_visible(timeout=WAIT_MS)


def test_a_restart_clears_what_the_old_kernel_said(module_notebook: NotebookPage, panel: Locator) -> None:
    module_notebook.page.evaluate("() => { void window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart(); }")
    expect(panel.get_by_text("Not loaded in this kernel")).to_be_visible(timeout=WAIT_MS)
    assert row(panel, "local").count() == 0
    module_notebook.run(0)
    expect(row(panel, "local")).to_contain_text("OK", timeout=WAIT_MS)


def test_notebook_7_shows_the_panel_too(page: Page, tmp_path: Path) -> None:
    root = tmp_path / "notebooks"
    root.mkdir()
    with running_lab(root, {}, "notebook") as server:
        server.write_notebook("seven.ipynb", [speaking_cell(POOL)])
        notebook = NotebookPage(page, server, "seven.ipynb")
        notebook.run(0)
        panel = notebook.show_panel()
        expect(row(panel, "local")).to_contain_text("OK", timeout=WAIT_MS)
        choose(panel, "local", "Drain local")
        expect(row(panel, "local")).to_contain_text("Draining", timeout=WAIT_MS)
        notebook.execute("gleitzeit:insert-sandbox-cell")
        expect(page.locator(".jp-Notebook .jp-Cell", has_text="%%sandbox")).to_be_visible(timeout=WAIT_MS)
