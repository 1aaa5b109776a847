"""The status bar, the commands with their keys and menus, and the settings: in one JupyterLab, on a kernel that plays the engine."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.control_side import listening
from tests.support.lab import LabServer, NotebookPage
from tests.support.snapshots import instance
from tests.support.watched_page import WatchedPage

WAIT_MS = 30_000
PLUGIN = "gleitzeit-nb:plugin"
COMMANDS = {
    "show-panel",
    "load-extension",
    "ask-kernel",
    "insert-llm-cell",
    "insert-sandbox-cell",
    "drain-instance",
    "resume-instance",
    "warm-model",
    "unload-model",
    "cancel-run",
    "stop-container",
    "reset-session",
    "restart-pool",
    "reload-configuration",
    "copy-diagnostics",
    "open-settings",
}
INSTANCES = (instance("local"), instance("gpu-1"), instance("backup", breaker="open", state="unhealthy"), instance("stubborn"))
HEARD = "[each['type'] + ' ' + each.get('instance', '') for each in heard if each['type'] != 'hello']"


@pytest.fixture(scope="module")
def notebook(lab: LabServer, watched: WatchedPage) -> NotebookPage:
    watched.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    lab.write_notebook("shell.ipynb", ["# a cell", listening(*INSTANCES), f"print({HEARD}); heard.clear()"])
    opened = NotebookPage(watched.page, lab, "shell.ipynb")
    opened.run(1)
    expect(status_item(opened.page)).to_be_visible(timeout=WAIT_MS)
    return opened


@pytest.fixture
def shell(module_notebook: NotebookPage, watched: WatchedPage) -> Iterator[NotebookPage]:
    yield module_notebook
    assert watched.take_errors() == []


def status_item(page: Page) -> Locator:
    return page.locator(".gz-StatusItem")


def set_settings(lab: LabServer, shell: NotebookPage, **values: Any) -> None:
    """Saves them, and lets the page read them as it does when they were saved by its settings editor."""
    lab.save_settings(PLUGIN, json.dumps(values))
    shell.page.evaluate(
        """async plugin => {
            const { pluginRegistry } = window.jupyterapp;
            const token = [...pluginRegistry._services.keys()].find(({ name }) => name.endsWith(':ISettingRegistry'));
            await (await pluginRegistry.resolveRequiredService(token)).reload(plugin);
        }""",
        PLUGIN,
    )


def told(shell: NotebookPage) -> Locator:
    """What the kernel was told since it was last asked for."""
    shell.run(2)
    return shell.output(2)


def cell_sources(shell: NotebookPage) -> list[str]:
    found: list[str] = shell.page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.content.widgets.map(cell => cell.model.sharedModel.getSource())"
    )
    return found


def notice(shell: NotebookPage, text: str) -> None:
    expect(shell.page.locator(".Toastify__toast", has_text=text).first).to_be_visible(timeout=WAIT_MS)


def test_the_status_bar_counts_in_one_line_and_opens_the_panel(shell: NotebookPage) -> None:
    item = status_item(shell.page)
    expect(item).to_have_text("Ollama 3/4 · 2 queued · sandbox 4 warm")
    detail = item.get_attribute("title") or ""
    assert "shell.ipynb" in detail
    assert "6 requests in flight" in detail
    assert item.evaluate("node => node.getClientRects().length === 1 && node.scrollHeight <= node.parentElement.clientHeight + 1")
    item.click()
    expect(shell.page.locator("#gleitzeit-nb-panel")).to_be_visible()


def test_every_command_says_what_it_is(shell: NotebookPage) -> None:
    found: dict[str, list[object]] = shell.page.evaluate(
        """async () => {
            const { commands } = window.jupyterapp;
            const own = commands.listCommands().filter(id => id.startsWith('gleitzeit:'));
            return Object.fromEntries(await Promise.all(own.map(async id => [id.slice(10), [
                commands.label(id), commands.caption(id), commands.icon(id)?.name ?? '', (await commands.describedBy(id)).args?.type
            ]])));
        }"""
    )
    assert set(found) == COMMANDS
    assert all(all(words) and words[3] == "object" for words in found.values()), found


def test_the_palette_has_them_under_one_heading(shell: NotebookPage) -> None:
    shell.page.locator(".jp-Notebook .jp-Cell .jp-InputPrompt").first.click()
    shell.page.keyboard.press("Control+Shift+C")
    palette = shell.page.locator(".lm-CommandPalette")
    palette.locator("input").fill("gleitzeit")
    expect(palette.locator(".lm-CommandPalette-header")).to_have_text(["Gleitzeit"], timeout=WAIT_MS)
    expect(palette.locator(".lm-CommandPalette-itemLabel", has_text="Restart the Pool…")).to_be_visible()
    for magic in ("%%llm", "%%sandbox"):
        expect(palette.locator(".lm-CommandPalette-itemLabel").get_by_text(f"Insert {magic} Cell Below", exact=True)).to_be_visible()
    shell.page.keyboard.press("Escape")


@pytest.mark.parametrize(("key", "line"), [("l", "%%llm"), ("s", "%%sandbox")])
def test_two_keys_insert_a_cell_below_to_write_in(shell: NotebookPage, key: str, line: str) -> None:
    before = cell_sources(shell)
    shell.page.locator(".jp-Notebook .jp-Cell").first.locator(".jp-InputPrompt").click()
    expect(shell.page.locator(".jp-Notebook.jp-mod-commandMode")).to_have_count(1)
    shell.page.keyboard.press("g")
    shell.page.keyboard.press(key)
    expect(shell.page.locator(".jp-Notebook.jp-mod-editMode")).to_have_count(1)
    shell.page.keyboard.type("typed at once")
    assert cell_sources(shell) == [before[0], f"{line}\ntyped at once", *before[1:]]
    shell.page.keyboard.press("Escape")
    shell.execute("notebook:delete-cell")
    expect(shell.page.locator(".jp-Notebook .jp-Cell")).to_have_count(len(before))


def test_restarting_the_pool_asks_first_and_tells_how_it_goes(shell: NotebookPage) -> None:
    dialog = shell.page.locator(".jp-Dialog")
    shell.execute("gleitzeit:restart-pool")
    expect(dialog).to_contain_text("Sandboxes, runs and sessions go on.")
    dialog.get_by_role("button", name="Cancel").click()
    expect(told(shell)).to_contain_text("[]")
    shell.execute("gleitzeit:restart-pool")
    dialog.get_by_role("button", name="Restart").click()
    notice(shell, "It takes a while.")
    shell.run(shell.add("finish()"))
    notice(shell, "restart_pool: done.")
    expect(told(shell)).to_contain_text("['restart_pool ']")


def test_an_instance_is_chosen_and_drained(shell: NotebookPage) -> None:
    shell.execute("gleitzeit:drain-instance")
    dialog = shell.page.locator(".jp-Dialog")
    dialog.locator("select").select_option("gpu-1")
    dialog.get_by_role("button", name="Drain").click()
    notice(shell, "drain gpu-1: done.")
    shell.execute("gleitzeit:resume-instance", {"instance": "gpu-1"})
    notice(shell, "resume gpu-1: done.")
    expect(told(shell)).to_contain_text("['drain gpu-1', 'resume gpu-1']")


def test_a_refusal_is_told_in_the_kernels_words(shell: NotebookPage) -> None:
    shell.execute("gleitzeit:drain-instance", {"instance": "stubborn"})
    notice(shell, "It will not.")


def test_diagnostics_go_to_the_clipboard(shell: NotebookPage) -> None:
    shell.execute("gleitzeit:copy-diagnostics")
    notice(shell, "Diagnostics are in the clipboard")
    text = shell.page.evaluate("() => navigator.clipboard.readText()")
    assert text.startswith("application: JupyterLab 4.")
    assert "answers while a cell runs: yes" in text
    assert "key: [redacted]" in text


def test_diagnostics_are_shown_where_the_browser_does_not_copy(shell: NotebookPage) -> None:
    shell.page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')); }")
    shell.execute("gleitzeit:copy-diagnostics")
    expect(shell.page.locator(".gz-Report")).to_have_value(re.compile(r"key: \[redacted\]"), timeout=WAIT_MS)
    shell.page.get_by_role("button", name="Close").last.click()
    shell.page.evaluate("() => { delete navigator.clipboard.writeText; }")


def test_the_menus_have_them_where_one_looks(shell: NotebookPage) -> None:
    found: list[str] = shell.page.evaluate(
        """() => {
            const items = menu => menu.items.flatMap(item => item.type === 'submenu' ? items(item.submenu) : [item.command]);
            const bar = document.querySelector('#jp-MainMenu') && window.jupyterapp.shell;
            const found = [];
            for (const widget of bar.widgets('menu')) for (const menu of widget.menus ?? []) {
                found.push(...items(menu).filter(id => id.startsWith('gleitzeit:')).map(id => `${menu.title.label} ${id.slice(10)}`));
            }
            return found;
        }"""
    )
    assert {each.split(" ")[1] for each in found} == COMMANDS
    assert "View show-panel" in found
    assert "Edit insert-llm-cell" in found
    assert "Kernel restart-pool" in found


def test_the_status_bar_can_be_left_out(shell: NotebookPage, lab: LabServer) -> None:
    set_settings(lab, shell, statusBar=False)
    expect(status_item(shell.page)).to_be_hidden(timeout=WAIT_MS)
    set_settings(lab, shell)
    expect(status_item(shell.page)).to_be_visible(timeout=WAIT_MS)


def test_an_inserted_cell_names_the_model_that_was_set(shell: NotebookPage, lab: LabServer) -> None:
    set_settings(lab, shell, defaultModel="llama3.2:70b")
    shell.execute("gleitzeit:insert-llm-cell")
    expect(shell.page.locator(".jp-Notebook .jp-Cell", has_text="%%llm --model llama3.2:70b")).to_be_visible()
    shell.page.keyboard.press("Escape")
    shell.execute("notebook:delete-cell")
    set_settings(lab, shell)


def test_nothing_asks_where_that_was_set(shell: NotebookPage, lab: LabServer) -> None:
    set_settings(lab, shell, confirmDestructive=False)
    shell.execute("gleitzeit:restart-pool")
    notice(shell, "It takes a while.")
    expect(shell.page.locator(".jp-Dialog")).to_have_count(0)
    set_settings(lab, shell)


def test_no_kernel_is_asked_where_that_was_set(shell: NotebookPage, lab: LabServer) -> None:
    panel = shell.show_panel()
    set_settings(lab, shell, autoAttach=False)
    shell.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
    expect(panel.get_by_text("Not asked", exact=True)).to_be_visible(timeout=WAIT_MS)
    shell.run(1)
    panel.get_by_role("button", name="Ask the kernel").click()
    expect(panel.locator("[data-instance=local]")).to_be_visible(timeout=WAIT_MS)
    set_settings(lab, shell)


def test_defaults_hold_where_the_settings_are_malformed(shell: NotebookPage, lab: LabServer) -> None:
    lab.save_settings(PLUGIN, "{}")
    [saved] = Path(os.environ["JUPYTER_CONFIG_DIR"]).glob("lab/user-settings/gleitzeit-nb/plugin.*")
    saved.write_text('{"statusBar": "perhaps", "refresh": 3}')  # by hand: the server takes no such thing
    try:
        shell.save()
        shell.reload()
        expect(status_item(shell.page)).to_contain_text("Ollama 3/4", timeout=WAIT_MS)
    finally:
        lab.save_settings(PLUGIN, "{}")
