"""The panel's actions on the real thing, while cells run: the engine, the real small model, the machine's Docker daemon."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from gleitzeit_nb.embedded import EmbeddedInstance
from tests.sandbox.daemon_proxy import DaemonProxy
from tests.support.control_side import choose
from tests.support.lab import LabServer, NotebookPage
from tests.support.model import MODEL, embedded, model_cache
from tests.support.watched_page import WatchedPage

__all__ = ["embedded", "model_cache"]
pytestmark = pytest.mark.model

WAIT_MS = 60_000
SECRETS = {"CANARY_KEY": "canary-Api7Key0001", "CANARY_HEADER": "canary-Header7Value03", "CANARY_OTHER": "canary-Other7Value05"}
USER = "canary-User7info02"
LOAD = """%load_ext gleitzeit_nb
endless = {"type": "array", "items": {"type": "integer"}, "minItems": 1000}"""
ENDLESS = f"-m {MODEL} --format endless --option num_predict=-1\nCount."
STREAM, JOB = f"%%llm {ENDLESS}", f"%%llm --bg {ENDLESS}"
COMPUTE = "print('begun', flush=True)\nwhile True: pass"


class Proxy:
    """The socket that leads to the machine's Docker daemon, on a loop of its own: cutting it harms nobody else."""

    def __init__(self, path: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._path = path
        self.begin()

    def begin(self) -> None:
        self._proxy = DaemonProxy(self._path)
        self._do(self._proxy.start())

    def cut(self) -> None:
        self._do(self._proxy.cut())

    def end(self) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("acts")


@pytest.fixture(scope="module")
def daemon(docker_daemon: object, folder: Path) -> Iterator[Proxy]:
    made = Proxy(folder / "docker.sock")
    yield made
    made.end()


def write_config(folder: Path, *more: dict[str, object], broken: str = "") -> None:
    """north is real; nobody is at backup, whose address and headers hold secrets."""
    north = {"id": "north", "url": "env-url", "max_concurrent": 1, "api_key": "env:EMBEDDED_KEY"}
    backup = {"id": "backup", "url": f"http://alice:{USER}@127.0.0.1:9", "headers": {"X-Key": "env:CANARY_HEADER"}}
    text = json.dumps({"ollama": {"instances": [north, backup, *more]}}, indent=1)
    (folder / "config.yaml").write_text(broken or text.replace("env-url", (folder / "url").read_text()))


@pytest.fixture(scope="module")
def lab_environment(embedded: EmbeddedInstance, daemon: Proxy, folder: Path) -> dict[str, str]:
    instance: Any = embedded.instance
    (folder / "url").write_text(instance["url"])
    write_config(folder)
    places = {"GLEITZEIT_CONFIG": str(folder / "config.yaml"), "DOCKER_HOST": f"unix://{folder}/docker.sock"}
    return {**SECRETS, **places, "EMBEDDED_KEY": instance["api_key"].reveal()}


@pytest.fixture(scope="module")
def notebook(lab: LabServer, watched: WatchedPage) -> NotebookPage:
    watched.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    lab.write_notebook("acts.ipynb", [LOAD, "%%sandbox --no-fail\n1"])
    opened = NotebookPage(watched.page, lab, "acts.ipynb")
    opened.show_panel()
    for cell in (0, 1):
        opened.start(cell)
        opened.wait_for_end(cell)
        assert opened.error(cell) == []
    if "docker-sandbox" not in opened.output(1).inner_text():
        pytest.skip("the sandbox's image is not there: gleitzeit-nb images build")
    return opened


@pytest.fixture
def panel(module_notebook: NotebookPage, watched: WatchedPage) -> Iterator[Locator]:
    panel = module_notebook.page.locator("#gleitzeit-nb-panel")
    expect(row(panel, "north")).to_contain_text("OK", timeout=WAIT_MS)
    expect(panel.locator(".gz-Running")).to_have_count(0, timeout=WAIT_MS)
    panel.evaluate("node => node.querySelectorAll('.gz-Dismiss').forEach(button => button.click())")
    yield panel
    assert watched.take_errors() == []


def row(panel: Locator, name: str) -> Locator:
    return panel.locator(f"[data-instance={name}]")


def said(panel: Locator, text: str) -> None:
    expect(panel.locator(".gz-Notices [role=status]")).to_contain_text(text, timeout=WAIT_MS)


def notice(notebook: NotebookPage, text: str) -> Locator:
    found = notebook.page.locator(".Toastify__toast", has_text=text).first
    expect(found).to_be_visible(timeout=WAIT_MS)
    return found


def answer(notebook: NotebookPage, button: str) -> str:
    dialog = notebook.page.locator(".jp-Dialog")
    asked = dialog.inner_text()
    dialog.get_by_role("button", name=button).click()
    expect(dialog).to_have_count(0)
    return asked


def pick(notebook: NotebookPage, button: str) -> None:
    """The first of what a command offers; another dialog may follow."""
    offered = notebook.page.locator(".jp-Dialog:has(select)")
    offered.get_by_role("button", name=button).click()
    expect(offered).to_have_count(0)


def from_palette(notebook: NotebookPage, label: str) -> None:
    page = notebook.page
    page.keyboard.press("Control+Shift+C")
    palette = page.locator(".lm-CommandPalette")
    palette.locator("input").fill(label)
    expect(palette.locator(".lm-CommandPalette-item.lm-mod-active")).to_contain_text(label, timeout=WAIT_MS)
    page.keyboard.press("Enter")


def begun(notebook: NotebookPage, panel: Locator, source: str) -> tuple[int, Locator]:
    """A cell that runs, and its row in the panel."""
    cell = notebook.add(source)
    notebook.start(cell)
    found = panel.locator(".gz-Running tbody tr").last
    expect(found).to_contain_text(source.split(maxsplit=1)[0], timeout=WAIT_MS)
    return cell, found


def failed(notebook: NotebookPage, cell: int, *words: str) -> None:
    """The cell has ended in a short error that says so."""
    notebook.wait_for_end(cell)
    lines = notebook.error(cell)
    assert len(lines) <= 6, lines
    assert all(word in "\n".join(lines) for word in words), lines


# -- requests ---------------------------------------------------------------------------------------------------------------------


def test_a_request_that_waits_is_cancelled_and_a_job_from_the_palette(module_notebook: NotebookPage, panel: Locator) -> None:
    notebook = module_notebook
    notebook.run(notebook.add(JOB))
    expect(panel.locator(".gz-Running")).to_contain_text("tokens", timeout=WAIT_MS)
    cell, running = begun(notebook, panel, STREAM)
    expect(running).to_contain_text("queued 1st", timeout=WAIT_MS)
    running.get_by_role("button", name="Cancel").click()
    assert "It has answered nothing yet" in answer(notebook, "Cancel it")
    failed(notebook, cell, "RequestCancelledError: the request was cancelled from the side panel (it had no slot yet)")
    said(panel, "%%llm was cancelled.")
    from_palette(notebook, "Cancel a Request or Run…")
    pick(notebook, "Cancel It")
    assert "What is done stays done" in answer(notebook, "Cancel it")
    notice(notebook, "%%llm --bg was cancelled.")
    expect(panel.locator(".gz-Running")).to_have_count(0, timeout=WAIT_MS)


def test_an_answer_is_cancelled_by_keyboard_and_keeps_what_came(module_notebook: NotebookPage, panel: Locator) -> None:
    cell, running = begun(module_notebook, panel, STREAM)
    expect(running).to_contain_text("tokens", timeout=WAIT_MS)
    running.get_by_role("button", name="Cancel").press("Enter")
    expect(module_notebook.page.locator(".jp-Dialog")).to_contain_text("What it has answered so far stays")
    module_notebook.page.keyboard.press("Enter")
    failed(
        module_notebook, cell, "RequestCancelledError: the request was cancelled from the side panel (after ", "The part that came is kept"
    )
    expect(module_notebook.output(cell)).to_contain_text("(cancelled)")
    expect(panel.locator(".gz-Running")).to_have_count(0, timeout=WAIT_MS)
    expect(panel).to_be_focused()


def test_a_drained_instance_ends_its_answer_and_gets_nothing_until_it_is_resumed(module_notebook: NotebookPage, panel: Locator) -> None:
    notebook = module_notebook
    cell, running = begun(notebook, panel, STREAM)
    expect(running).to_contain_text("tokens", timeout=WAIT_MS)
    from_palette(notebook, "Drain an Instance…")
    pick(notebook, "Drain")
    notice(notebook, "north gets nothing new; what it is answering goes on.")
    expect(row(panel, "north")).to_contain_text("Draining", timeout=WAIT_MS)
    assert notebook.is_running(cell), notebook.error(cell)
    choose(panel, "north", "Resume north")
    said(panel, "north gets work again.")
    expect(row(panel, "north")).to_contain_text("OK", timeout=WAIT_MS)
    choose(panel, "north", f"Unload {MODEL}")
    assert "north is answering requests" in answer(notebook, "Unload it")
    said(panel, f"{MODEL} is unloaded on north. Who was answering with it finishes first.")
    assert notebook.is_running(cell), notebook.error(cell)
    running.get_by_role("button", name="Cancel").click()
    answer(notebook, "Cancel it")
    failed(notebook, cell, "RequestCancelledError")
    expect(row(panel, "north")).not_to_contain_text(MODEL, timeout=15_000)  # long before the next probe


def test_a_model_is_warmed_while_a_cell_runs_and_says_that_it_takes_a_while(module_notebook: NotebookPage, panel: Locator) -> None:
    notebook = module_notebook
    cell, running = begun(notebook, panel, f"%%sandbox\n{COMPUTE}")
    expect(row(panel, "north")).not_to_contain_text(MODEL)
    from_palette(notebook, "Warm a Model…")
    pick(notebook, "Warm")
    notice(notebook, f"north has {MODEL} loaded (it took")
    expect(row(panel, "north")).to_contain_text(MODEL, timeout=WAIT_MS)
    assert notebook.is_running(cell), notebook.error(cell)
    running.get_by_role("button", name="Cancel").click()
    answer(notebook, "Cancel it")
    failed(notebook, cell, "RunFailedError: killed: cancelled from the side panel before its end", "Run the cell again")
    said(panel, "%%sandbox was cancelled.")


# -- the sandbox -------------------------------------------------------------------------------------------------------------------


def test_a_container_is_stopped_under_a_run(module_notebook: NotebookPage, panel: Locator) -> None:
    cell, _ = begun(module_notebook, panel, f"%%sandbox\n{COMPUTE}")
    panel.get_by_role("button", name="Show containers of Sandbox").click()
    busy = panel.locator(".gz-Containers tbody tr", has_text="running")
    name = busy.locator("th").inner_text().split()[0]
    busy.get_by_role("button", name=f"Stop container {name}").click()
    assert "Code is running in it: that run fails." in answer(module_notebook, "Stop it")
    failed(module_notebook, cell, "RunFailedError: killed: stopped from the side panel before its end")
    said(panel, f"The container {name} was stopped. The run in it ends as killed.")
    expect(panel.locator(".gz-Containers")).not_to_contain_text(name, timeout=WAIT_MS)
    panel.get_by_role("button", name="Hide containers of Sandbox").click()


def test_a_session_is_reset_under_a_run_and_its_variables_are_gone(module_notebook: NotebookPage, panel: Locator) -> None:
    notebook = module_notebook
    notebook.run(notebook.add("%%sandbox --session work\nkept = 1"))
    cell, _ = begun(notebook, panel, f"%%sandbox --session work\n{COMPUTE}")
    expect(panel.locator("[data-session=work]")).to_contain_text("running", timeout=WAIT_MS)
    panel.get_by_role("button", name="Reset session work").click()
    assert "Code is running in it: that run fails." in answer(notebook, "Reset it")
    failed(notebook, cell, "its session was reset from the side panel", "its variables are gone")
    said(panel, "The session work is over, and its variables are gone.")
    expect(panel.locator("[data-session=work]")).to_have_count(0, timeout=WAIT_MS)
    again = notebook.add("%%sandbox --session work\nprint('kept' in globals())")
    notebook.run(again)
    expect(notebook.output(again)).to_contain_text("False")
    expect(panel.locator("[data-session=work]")).to_contain_text("ago", timeout=WAIT_MS)
    from_palette(notebook, "Reset a Sandbox Session…")
    pick(notebook, "Reset")
    assert "The next run begins with none." in answer(notebook, "Reset it")
    notice(notebook, "The session work is over")


def test_what_ended_while_a_person_read_is_told_and_nothing_is_sent(module_notebook: NotebookPage, panel: Locator) -> None:
    cell, running = begun(module_notebook, panel, "%%sandbox\nimport time\ntime.sleep(2)")
    running.get_by_role("button", name="Cancel").click()
    module_notebook.wait_for_end(cell)
    expect(panel.locator(".gz-Running")).to_have_count(0, timeout=WAIT_MS)
    answer(module_notebook, "Cancel it")
    said(panel, "%%sandbox has ended by itself.")
    assert module_notebook.error(cell) == []


def test_a_daemon_that_is_lost_is_said_by_the_cell_and_the_panel(module_notebook: NotebookPage, panel: Locator, daemon: Proxy) -> None:
    notebook = module_notebook
    cell, _ = begun(notebook, panel, f"%%sandbox\n{COMPUTE}")
    daemon.cut()
    try:
        failed(notebook, cell, "lost")
        refused = notebook.add("%%sandbox\n1")
        notebook.start(refused)
        failed(notebook, refused, "SandboxUnavailableError", "Docker")
        expect(panel.locator("[data-mode=docker-sandbox]")).to_contain_text("Docker", timeout=WAIT_MS)
    finally:
        daemon.begin()
    notebook.run(notebook.add("%gleitzeit reload"))
    notebook.run(notebook.add("%%sandbox\n1"))
    expect(panel.locator("[data-mode=docker-sandbox]")).not_to_contain_text("Docker", timeout=WAIT_MS)


# -- the pool as a whole -----------------------------------------------------------------------------------------------------------


def test_the_configuration_is_read_again_while_a_cell_runs(module_notebook: NotebookPage, panel: Locator, folder: Path) -> None:
    notebook = module_notebook
    cell, running = begun(notebook, panel, f"%%sandbox\n{COMPUTE}")
    write_config(folder, {"id": "spare", "url": "http://127.0.0.1:10"})
    from_palette(notebook, "Reload the Configuration")
    notice(notebook, "The configuration was read again.")
    expect(row(panel, "spare")).to_be_visible(timeout=WAIT_MS)
    write_config(folder, broken='{"ollama": {"instances": [{"id": "north", "ulr": "x"}], "strategy": 3}}')
    panel.get_by_role("button", name="Actions for the pool").click()
    notebook.page.locator(".lm-Menu-itemLabel", has_text="Reload the Configuration").click()
    notice(notebook, "config.yaml").get_by_role("button", name="Show all").click()
    whole = notebook.page.get_by_label("What the kernel said")
    assert "unknown key 'ulr'" in whole.input_value()
    assert len(whole.input_value().splitlines()) >= 2
    answer(notebook, "Close")
    expect(row(panel, "spare")).to_be_visible()  # what was goes on
    write_config(folder)
    notebook.execute("gleitzeit:reload-configuration")
    expect(row(panel, "spare")).to_have_count(0, timeout=WAIT_MS)
    assert notebook.is_running(cell), notebook.error(cell)
    running.get_by_role("button", name="Cancel").click()
    answer(notebook, "Cancel it")
    notebook.wait_for_end(cell)


def test_notices_go_by_themselves(module_notebook: NotebookPage, panel: Locator) -> None:
    for _ in range(3):  # one that changes while it comes in would stay
        module_notebook.execute("gleitzeit:reload-configuration")
    notice(module_notebook, "The configuration was read again.")
    expect(module_notebook.page.locator(".Toastify__toast", has_text="read again")).to_have_count(0, timeout=WAIT_MS)


def test_the_pool_is_started_anew_under_a_request_and_the_sandbox_goes_on(module_notebook: NotebookPage, panel: Locator) -> None:
    notebook = module_notebook
    notebook.run(notebook.add("%%sandbox --session kept\nx = 1"))
    cell, running = begun(notebook, panel, STREAM)
    expect(running).to_contain_text("tokens", timeout=WAIT_MS)
    from_palette(notebook, "Restart the Pool…")
    assert "Sandboxes, runs and sessions go on." in answer(notebook, "Restart")
    failed(notebook, cell, "RequestCancelledError: the request was cancelled because the pool was restarted")
    notice(notebook, "The request that was going on has ended. Sandboxes and sessions go on.")
    expect(panel.locator("[data-session=kept]")).to_be_visible()


def test_diagnostics_hold_no_secret(module_notebook: NotebookPage, panel: Locator, lab_environment: dict[str, str], folder: Path) -> None:
    notebook = module_notebook
    cell, running = begun(notebook, panel, STREAM.replace("Count.", "Count canary-Prompt7."))
    from_palette(notebook, "Copy Diagnostics")
    notice(notebook, "Diagnostics are in the clipboard.")
    report = str(notebook.page.evaluate("() => navigator.clipboard.readText()"))
    assert "gleitzeit-nb: diagnostics" in report
    assert "a cell runs" in report
    assert '"X-Key": "***"' in report
    planted = ("canary", USER, "alice", lab_environment["EMBEDDED_KEY"], str(folder), str(Path.home()))
    assert [secret for secret in planted if secret in report] == []
    running.get_by_role("button", name="Cancel").click()
    answer(notebook, "Cancel it")
    notebook.wait_for_end(cell)


@pytest.mark.parametrize(("label", "line"), [("Insert %%llm Cell Below", "%%llm"), ("Insert %%sandbox Cell Below", "%%sandbox")])
def test_a_cell_is_inserted_while_another_runs(module_notebook: NotebookPage, panel: Locator, label: str, line: str) -> None:
    notebook = module_notebook
    cell, running = begun(notebook, panel, f"%%sandbox\n{COMPUTE}")
    from_palette(notebook, label)
    notebook.page.wait_for_function(
        "line => window.jupyterapp.shell.currentWidget.content.activeCell.model.sharedModel.getSource() === `${line}\\n`", arg=line
    )
    assert notebook.is_running(cell), notebook.error(cell)
    running.get_by_role("button", name="Cancel").click()
    answer(notebook, "Cancel it")
    failed(notebook, cell, "cancelled from the side panel")
