"""The panel finds the kernel of what a person works in by itself, and says what is the matter where it cannot: in one JupyterLab page."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.support.control_side import choose, listening
from tests.support.lab import LabServer, NotebookPage, wait_until
from tests.support.snapshots import instance
from tests.support.watched_page import WatchedPage

WAIT_MS = 30_000
WAIT_S = WAIT_MS / 1000
FOUND_AGAIN_MS = 90_000
HEARD = "print([each['type'] for each in heard])"
WAITING = "import pathlib, time\nwhile not pathlib.Path({path!r}).exists(): time.sleep(0.05)"
# In the page: JupyterLab says that there is another kernel, and how many subshells this one has.
ANOTHER_KERNEL = """const { kernel } = widget.sessionContext.session;
    await new Promise(resolve => setTimeout(resolve, 20));
    widget.sessionContext.kernelChanged.emit({ name: 'kernel', oldValue: kernel, newValue: kernel });"""
# All that the status bar says from now on, also what a test would come too late to see.
STATUS_TEXTS = """() => {
    const seen = window.gzStatusTexts = [], bar = document.getElementById('jp-main-statusbar');
    const look = () => bar.querySelector('.gz-StatusItem')?.textContent ?? '';
    let last = look();
    new MutationObserver(() => { const text = look(); if (text !== last) seen.push(last = text); })
        .observe(bar, { subtree: true, childList: true, characterData: true });
}"""
SUBSHELLS = "return (await widget.sessionContext.session.kernel.requestListSubshell({}).done).content.subshell_id.length;"


@pytest.fixture(scope="module")
def notebook(lab: LabServer, watched: WatchedPage) -> NotebookPage:
    lab.write_notebook("first.ipynb", [listening(instance("north")), HEARD])
    lab.write_notebook("second.ipynb", ["1", HEARD])
    return NotebookPage(watched.page, lab, "first.ipynb")


@pytest.fixture
def first(module_notebook: NotebookPage, watched: WatchedPage) -> Iterator[NotebookPage]:
    """The notebook whose kernel listens, with the panel open beside it."""
    open_document(module_notebook, "first.ipynb")
    module_notebook.show_panel()
    # JupyterLab reports an answer that comes for a comm which a restart has cleared.
    expect(panel_of(module_notebook).get_by_text("Asking the kernel")).to_have_count(0, timeout=WAIT_MS)
    if not row(module_notebook, "north").is_visible():
        in_page(module_notebook, "await widget.sessionContext.restartKernel();")
        module_notebook.wait_for_kernel()
        module_notebook.run(0)
    expect(row(module_notebook, "north")).to_be_visible(timeout=WAIT_MS)
    yield module_notebook
    assert watched.take_errors() == []


def panel_of(notebook: NotebookPage) -> Locator:
    return notebook.page.locator("#gleitzeit-nb-panel")


def row(notebook: NotebookPage, name: str) -> Locator:
    return panel_of(notebook).locator(f"[data-instance={name}]")


def open_document(notebook: NotebookPage, name: str, **options: Any) -> None:
    """Opens it, or shows it when it is open, and waits for its kernel."""
    notebook.page.evaluate(
        "async ([path, options]) => { await window.jupyterapp.commands.execute('docmanager:open', { path, ...options }); }", [name, options]
    )
    notebook.page.wait_for_function("name => window.jupyterapp.shell.currentWidget?.title.label === name", arg=name)
    notebook.wait_for_kernel()


def in_page(notebook: NotebookPage, script: str) -> Any:
    """A script about `widget`, what a person works in."""
    return notebook.page.evaluate(f"async () => {{ const widget = window.jupyterapp.shell.currentWidget; {script} }}")


def hellos(notebook: NotebookPage) -> int:
    """How often the kernel was asked since its first cell ran."""
    notebook.run(1)
    return notebook.output(1).inner_text().count("hello")


def test_a_console_is_followed_like_a_notebook(first: NotebookPage) -> None:
    in_page(first, "await window.jupyterapp.commands.execute('console:create', { kernelPreference: { name: 'python3' } });")
    expect(panel_of(first).get_by_text("Not loaded in this kernel")).to_be_visible(timeout=WAIT_MS)
    expect(panel_of(first).locator(".gz-where")).to_have_text(re.compile("Console"))
    first.page.evaluate("code => window.jupyterapp.shell.currentWidget.console.inject(code)", listening(instance("east")))
    expect(row(first, "east")).to_be_visible(timeout=WAIT_MS)
    open_document(first, "first.ipynb")
    expect(row(first, "north")).to_be_visible(timeout=WAIT_MS)
    expect(row(first, "east")).to_have_count(0)
    expect(panel_of(first).locator(".gz-where")).to_have_text("first.ipynb")


def test_the_button_loads_the_extension_in_a_console_too(first: NotebookPage) -> None:
    in_page(first, "await window.jupyterapp.commands.execute('console:create', { kernelPreference: { name: 'python3' } });")
    panel_of(first).get_by_role("button", name="Load gleitzeit_nb").click(timeout=WAIT_MS)
    expect(panel_of(first).get_by_text("Nothing asked yet")).to_be_visible(timeout=WAIT_MS)
    expect(first.page.locator(".jp-CodeConsole-content:visible")).to_contain_text("%load_ext gleitzeit_nb")


def test_an_inserted_cell_goes_to_the_prompt_of_a_console(first: NotebookPage) -> None:
    in_page(first, "await window.jupyterapp.commands.execute('console:create', { kernelPreference: { name: 'python3' } });")
    first.execute("gleitzeit:insert-llm-cell")
    source = "() => window.jupyterapp.shell.currentWidget.console.promptCell.model.sharedModel.getSource()"
    first.page.wait_for_function(f"({source})().startsWith('%%llm')", timeout=WAIT_MS)


def test_another_tab_does_not_end_what_is_followed(first: NotebookPage, lab: LabServer) -> None:
    (lab.root / "notes.txt").write_text("notes")
    in_page(first, "await window.jupyterapp.commands.execute('docmanager:open', { path: 'notes.txt' });")
    first.page.wait_for_function("() => window.jupyterapp.shell.currentWidget.title.label === 'notes.txt'")
    expect(row(first, "north")).to_be_visible()
    expect(panel_of(first).locator(".gz-where")).to_have_text("first.ipynb")


def test_two_notebooks_on_one_kernel_see_the_same_and_steer_it(first: NotebookPage) -> None:
    kernel = in_page(first, "return widget.sessionContext.session.kernel.id;")
    open_document(first, "second.ipynb", kernel={"id": kernel})
    expect(panel_of(first).locator(".gz-where")).to_have_text("second.ipynb")
    expect(row(first, "north")).to_be_visible(timeout=WAIT_MS)
    first.execute("gleitzeit:drain-instance", {"instance": "north"})
    expect(row(first, "north")).to_contain_text("Draining", timeout=WAIT_MS)


def test_a_kernel_is_still_seen_when_the_notebook_that_carried_its_comms_is_closed(first: NotebookPage) -> None:
    kernel = in_page(first, "return widget.sessionContext.session.kernel.id;")
    open_document(first, "second.ipynb", kernel={"id": kernel})
    expect(row(first, "north")).to_be_visible(timeout=WAIT_MS)
    in_page(first, "for (const each of window.jupyterapp.shell.widgets('main')) if (each.title.label === 'first.ipynb') each.dispose();")
    expect(row(first, "north")).to_be_visible(timeout=WAIT_MS)
    first.execute("gleitzeit:resume-instance", {"instance": "north"})
    expect(row(first, "north")).to_contain_text("OK", timeout=WAIT_MS)
    in_page(first, f"for (let turn = 0; turn < 3; turn++) {{ {ANOTHER_KERNEL} }}")  # asked again before it has a subshell
    expect(row(first, "north")).to_be_visible(timeout=WAIT_MS)
    wait_until(lambda: in_page(first, SUBSHELLS) == 1, WAIT_S, "one subshell to be left")
    in_page(first, "await widget.sessionContext.changeKernel({ name: 'python3' }); widget.dispose();")


def test_one_notebook_on_two_kernels_in_turn_shows_each_its_own(first: NotebookPage) -> None:
    in_page(first, "await widget.sessionContext.changeKernel({ name: 'python3' });")
    expect(panel_of(first).get_by_text("Not loaded in this kernel")).to_be_visible(timeout=WAIT_MS)
    expect(row(first, "north")).to_have_count(0)
    first.run(first.add(listening(instance("south"))))
    expect(row(first, "south")).to_be_visible(timeout=WAIT_MS)
    first.run(0)
    expect(row(first, "south")).to_be_visible()


def test_a_comm_that_the_kernel_closes_is_a_kernel_without_the_extension(first: NotebookPage) -> None:
    first.run(first.add("get_ipython().kernel.comm_manager.unregister_target('gleitzeit_nb.control', on_open); comms[-1].close()"))
    expect(panel_of(first).get_by_text("Not loaded in this kernel")).to_be_visible(timeout=WAIT_MS)
    expect(first.page.locator(".gz-StatusItem")).to_have_text("Gleitzeit: not loaded")


def test_a_message_that_is_none_is_named(first: NotebookPage) -> None:
    first.run(first.add("comms[-1].send({'type': 'snapshot', 'snapshot': {'schema_version': 2, 'instances': 3}})"))
    expect(panel_of(first).get_by_text("The kernel speaks another version")).to_be_visible(timeout=WAIT_MS)
    expect(first.page.locator(".gz-StatusItem")).to_have_text("Gleitzeit: other version")


def test_every_restart_is_followed_by_the_new_kernels_answer(first: NotebookPage) -> None:
    for _ in range(3):
        in_page(first, "await widget.sessionContext.restartKernel();")
        expect(panel_of(first).get_by_text("Not loaded in this kernel")).to_be_visible(timeout=WAIT_MS)
        first.wait_for_kernel()
        first.run(0)
        expect(row(first, "north")).to_be_visible(timeout=WAIT_MS)


def test_a_kernel_that_changes_while_it_is_asked_is_asked_again(first: NotebookPage) -> None:
    for _ in range(2):  # JupyterLab deletes the subshell of a comm that is left before it has one, also when another shares it
        in_page(
            first,
            f"await widget.sessionContext.restartKernel(); for (let turn = 0; turn < 2; turn++) {{ {ANOTHER_KERNEL} }}",
        )
        expect(panel_of(first).get_by_text("Not loaded in this kernel")).to_be_visible(timeout=WAIT_MS)
    first.wait_for_kernel()
    first.run(0)
    expect(row(first, "north")).to_be_visible(timeout=WAIT_MS)
    first.execute("gleitzeit:drain-instance", {"instance": "north"})
    expect(row(first, "north")).to_contain_text("Draining", timeout=WAIT_MS)


def test_without_subshells_a_command_says_that_it_waits_for_the_running_cell(first: NotebookPage, tmp_path: Path) -> None:
    in_page(first, "widget.sessionContext.session.kernel.commsOverSubshells = 'disabled'; await widget.sessionContext.restartKernel();")
    expect(panel_of(first).get_by_text("Not loaded in this kernel")).to_be_visible(timeout=WAIT_MS)
    first.wait_for_kernel()
    first.run(0)
    expect(row(first, "north")).to_be_visible(timeout=WAIT_MS)
    cell = first.add(WAITING.format(path=str(tmp_path / "go")))
    first.start(cell)
    expect(panel_of(first)).to_contain_text("kernel busy", timeout=WAIT_MS)
    first.execute("gleitzeit:drain-instance", {"instance": "north"})
    notice = first.page.locator(".Toastify__toast")
    expect(notice.get_by_text("Draining north: waits for the running cell")).to_be_visible(timeout=WAIT_MS)
    choose(panel_of(first), "north", "Drain")
    expect(panel_of(first)).to_contain_text("Draining north: waits until the running cell has ended")
    expect(row(first, "north")).to_contain_text("OK")
    (tmp_path / "go").touch()
    expect(notice.get_by_text("drain north: done.")).to_be_visible(timeout=WAIT_MS)
    expect(panel_of(first).get_by_text("drain north: done.")).to_be_visible(timeout=WAIT_MS)
    expect(row(first, "north")).to_contain_text("Draining")


def test_commands_pass_the_running_cell_from_the_moment_when_comms_get_subshells(first: NotebookPage, tmp_path: Path) -> None:
    setting = "widget.sessionContext.session.kernel.commsOverSubshells"
    for mode in ("disabled", "perCommTarget"):
        asked = hellos(first)
        if in_page(first, f"const before = {setting}; {setting} = {mode!r}; return before;") != mode:
            wait_until(lambda asked=asked: hellos(first) > asked, WAIT_S, "the kernel to be asked anew")
    expect(row(first, "north")).to_be_visible(timeout=WAIT_MS)
    cell = first.add(WAITING.format(path=str(tmp_path / "go")))
    first.start(cell)
    expect(panel_of(first)).to_contain_text("kernel busy", timeout=WAIT_MS)
    verb, state = ("resume", "OK") if "Draining" in row(first, "north").inner_text() else ("drain", "Draining")
    first.execute(f"gleitzeit:{verb}-instance", {"instance": "north"})
    expect(row(first, "north")).to_contain_text(state, timeout=WAIT_MS)
    assert first.is_running(cell)
    (tmp_path / "go").touch()
    first.wait_for_end(cell)


def test_a_kernel_that_gives_no_answer_is_named_and_may_be_asked_again(first: NotebookPage) -> None:
    in_page(first, "await widget.sessionContext.restartKernel();")
    first.wait_for_kernel()
    first.run(first.add("import IPython; IPython.get_ipython().kernel.comm_manager.register_target('gleitzeit_nb.control', print)"))
    expect(panel_of(first).get_by_text("The kernel does not answer")).to_be_visible(timeout=WAIT_MS)
    first.run(first.add("IPython.get_ipython().kernel.comm_manager.targets.clear()"))
    panel_of(first).get_by_role("button", name="Ask the kernel again").click()
    expect(panel_of(first).get_by_text("Not loaded in this kernel")).to_be_visible(timeout=WAIT_MS)


def test_a_kernel_that_dies_in_mid_message_leaves_nothing_live(first: NotebookPage) -> None:
    greeting = "{'type': 'welcome', 'version': '0', 'answers_while_busy': True, 'commands': []}"
    first.start(first.add(f"comms[-1].send({greeting}); import os; os._exit(1)"))
    expect(panel_of(first).get_by_text("Not loaded in this kernel")).to_be_visible(timeout=WAIT_MS)
    expect(row(first, "north")).to_have_count(0)


@pytest.mark.parametrize("running", [False, True], ids=["idle", "busy"])
def test_a_killed_kernel_is_told_at_once_and_its_successor_is_asked(first: NotebookPage, running: bool) -> None:
    first.run(cell := first.add("import os; print(os.getpid())"))
    kernel = int(first.output(cell).inner_text())
    if running:
        first.start(first.add("import time; time.sleep(600)"))
        expect(panel_of(first).locator(".gz-pill")).to_contain_text("kernel busy", timeout=WAIT_MS)
    first.page.evaluate(STATUS_TEXTS)
    os.kill(kernel, signal.SIGKILL)
    expect(panel_of(first).get_by_text("Not loaded in this kernel")).to_be_visible(timeout=WAIT_MS)
    expect(row(first, "north")).to_have_count(0)
    expect(first.page.locator(".gz-StatusItem")).to_be_hidden()
    texts = first.page.evaluate("() => window.gzStatusTexts")
    assert [each for each in texts if each] == ["Gleitzeit: kernel restarting"], texts


def test_a_line_to_the_kernel_that_is_cut_is_told_and_found_again(first: NotebookPage) -> None:
    first.page.context.set_offline(True)
    in_page(first, "widget.sessionContext.session.kernel._ws.close();")
    expect(first.page.locator(".gz-StatusItem")).to_have_text("Gleitzeit: line to the kernel cut", timeout=WAIT_MS)
    expect(panel_of(first)).to_contain_text("The line to the kernel is cut. Shown is what was true at")
    first.page.context.set_offline(False)
    first.execute("kernelmenu:reconnect-to-kernel")
    expect(first.page.locator(".gz-StatusItem")).to_contain_text("Ollama 1/1", timeout=FOUND_AGAIN_MS)
    first.execute("gleitzeit:drain-instance", {"instance": "north"})
    expect(row(first, "north")).to_contain_text("Draining", timeout=WAIT_MS)


def test_a_kernel_that_was_shut_down_is_no_kernel(first: NotebookPage) -> None:
    first.execute("kernelmenu:shutdown")
    expect(panel_of(first).get_by_text("No kernel", exact=True)).to_be_visible(timeout=WAIT_MS)
    expect(first.page.locator(".gz-StatusItem")).to_be_hidden()
    in_page(first, "await widget.sessionContext.startKernel();")
