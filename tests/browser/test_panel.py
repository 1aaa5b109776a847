"""The side panel against a kernel that speaks the control comm's protocol, without an engine behind it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from gleitzeit_nb.snapshot import SCHEMA_VERSION, FailoverView, InstanceView, ModeView, RunView, Snapshot, WarmModel
from tests.support.lab import NotebookPage, running_lab

HOSTILE = "<img src=x onerror=\"document.title='owned'\">"
WAIT_MS = 30_000

# The kernel's half of the protocol: hello brings snapshots, sent from a thread as the engine does, in the context of the message
# that asked (ipykernel hands a comm's messages to the subshell that it last published from); drain and resume change them.
KERNEL_SIDE = """
import contextvars, json, threading
snapshot = json.loads({snapshot!r})
heard, views = [], []

def publish():
    snapshot["seq"] += 1
    for view, context in views:
        context.copy().run(view.send, {{"type": "snapshot", "snapshot": snapshot}})

def on_open(comm, message):
    def on_message(message):
        data = message["content"]["data"]
        heard.append(data)
        if data["type"] == "hello":
            views.append((comm, contextvars.copy_context()))
        if data.get("instance") == "stubborn":
            comm.send({{"type": "error", "of": data["type"], "text": "It will not."}})
        for instance in snapshot["instances"]:
            if data.get("instance") == instance["id"]:
                instance["draining"] = data["type"] == "drain"
        threading.Thread(target=publish).start()
    comm.on_msg(on_message)

get_ipython().kernel.comm_manager.register_target("gleitzeit_nb.control", on_open)
"""


def instance(name: str, **changes: object) -> InstanceView:
    values: dict[str, object] = {
        "id": name,
        "url": f"http://{name}.test:11434",
        "tags": ("cpu",),
        "state": "healthy",
        "reason": "",
        "draining": False,
        "breaker": "closed",
        "retry_in_s": None,
        "in_flight": 2,
        "max_concurrent": 5,
        "latency_s": 0.12,
        "error_rate": 0.001,
        "total_requests": 9,
        "failed_requests": 0,
        "tokens_per_s": (1.0, 2.0),
        "warm": (WarmModel("llama3.2", 0.0),),
        "models": ("llama3.2",),
    }
    return InstanceView(**{**values, **changes})  # type: ignore[arg-type]


def snapshot(*instances: InstanceView, version: int = SCHEMA_VERSION) -> str:
    modes = (
        ModeView("docker-sandbox", "Sandbox", 3, True, True, 3, 1, 4, 5, 212_000_000, ""),
        ModeView("local", "Local", 1, False, None, 0, 0, 0, 0, None, "disabled"),
    )
    runs = (RunView("1", "llm", "llama3.2", "local", "running", 14.0, 312),)
    failovers = (FailoverView(1_700_000_000.0, "backup", "gpu-1", "no first token in 5 s", "llama3.2"),)
    value = Snapshot(version, 1, 1_700_000_000.0, instances, 2, 6, 63.0, modes, "docker-sandbox", 4, runs, failovers)
    return json.dumps(value.to_dict())


def cells(state: str) -> list[str]:
    return [KERNEL_SIDE.format(snapshot=state), "print([(each['type'], each.get('request', '')) for each in heard])"]


OpenNotebook = Callable[[list[str]], NotebookPage]


def row(panel: Locator, name: str) -> Locator:
    return panel.locator(f"[data-instance={name}]")


def choose(notebook: NotebookPage, panel: Locator, name: str, label: str) -> None:
    panel.get_by_role("button", name=f"Actions for {name}").click()
    notebook.page.locator(".lm-Menu-itemLabel", has_text=label).click()


def test_the_panel_fills_when_a_cell_makes_the_kernel_listen(open_notebook: OpenNotebook) -> None:
    broken = instance(
        "backup", breaker="open", state="unhealthy", reason="refused 5 times", retry_in_s=14.0, latency_s=None, error_rate=1.0
    )
    notebook = open_notebook(cells(snapshot(instance("local"), instance("gpu-2", draining=True), broken)))
    panel = notebook.show_panel()
    expect(panel.get_by_text("Not loaded in this kernel")).to_be_visible(timeout=WAIT_MS)
    notebook.run(0)
    expect(row(panel, "local")).to_contain_text("OK", timeout=WAIT_MS)
    expect(row(panel, "local")).to_contain_text("2/5")
    expect(row(panel, "local")).to_contain_text("120\u00a0ms")
    expect(row(panel, "gpu-2")).to_contain_text("Draining")
    expect(row(panel, "backup")).to_contain_text("Failed")
    expect(row(panel, "backup")).to_contain_text("retry in")
    expect(panel.locator(".gz-Summary")).to_contain_text("2/3")
    expect(panel.locator("[data-mode=local]")).to_contain_text("disabled")
    expect(panel.locator(".gz-Failovers")).to_contain_text("backup → gpu-1")
    expect(notebook.page.locator(".gz-StatusItem")).to_contain_text("2 queued")


def test_drain_and_resume_reach_the_kernel(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook(cells(snapshot(instance("local"))))
    notebook.run(0)
    panel = notebook.show_panel()
    expect(row(panel, "local")).to_contain_text("OK", timeout=WAIT_MS)
    choose(notebook, panel, "local", "Drain local")
    expect(row(panel, "local")).to_contain_text("Draining", timeout=WAIT_MS)
    choose(notebook, panel, "local", "Resume local")
    expect(row(panel, "local")).to_contain_text("OK", timeout=WAIT_MS)
    notebook.run(1)
    expected = "[('hello', ''), ('drain', 'r1'), ('resume', 'r2')]"
    expect(notebook.output(1)).to_contain_text(expected)


def test_a_refusal_is_shown_in_the_kernels_words(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook(cells(snapshot(instance("stubborn"))))
    notebook.run(0)
    panel = notebook.show_panel()
    expect(row(panel, "stubborn")).to_contain_text("OK", timeout=WAIT_MS)
    choose(notebook, panel, "stubborn", "Drain stubborn")
    expect(notebook.page.get_by_text("It will not.").first).to_be_visible(timeout=WAIT_MS)


def test_the_kernel_answers_the_panel_while_a_cell_runs(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook([*cells(snapshot(instance("local"))), "import time\nwhile not heard[1:]: time.sleep(0.05)"])
    notebook.run(0)
    panel = notebook.show_panel()
    expect(row(panel, "local")).to_contain_text("OK", timeout=WAIT_MS)
    notebook.start(2)  # ends only when the panel's word has come in while it runs
    expect(panel.get_by_text("kernel busy")).to_be_visible(timeout=WAIT_MS)
    choose(notebook, panel, "local", "Drain local")
    expect(row(panel, "local")).to_contain_text("Draining", timeout=WAIT_MS)
    notebook.wait_for_kernel()


def test_strings_of_the_kernel_stay_text(open_notebook: OpenNotebook) -> None:
    hostile = instance(HOSTILE, tags=(HOSTILE,), reason=HOSTILE, state="degraded", warm=(WarmModel(HOSTILE, None),))
    notebook = open_notebook(cells(snapshot(hostile)))
    notebook.run(0)
    panel = notebook.show_panel()
    expect(panel.locator(".gz-Instances th[scope=row]")).to_contain_text(HOSTILE, timeout=WAIT_MS)
    panel.get_by_role("button", name="Actions for").click()
    expect(notebook.page.locator(".lm-Menu-itemLabel").first).to_contain_text(HOSTILE)
    assert notebook.page.locator("#gleitzeit-nb-panel img, .lm-Menu img").count() == 0
    assert "owned" not in notebook.page.title()


def test_a_restart_clears_what_the_old_kernel_said(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook(cells(snapshot(instance("local"))))
    notebook.run(0)
    panel = notebook.show_panel()
    expect(row(panel, "local")).to_contain_text("OK", timeout=WAIT_MS)
    notebook.page.evaluate("() => { void window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart(); }")
    expect(panel.get_by_text("Not loaded in this kernel")).to_be_visible(timeout=WAIT_MS)
    assert row(panel, "local").count() == 0


def test_another_version_of_the_snapshot_is_named(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook(cells(snapshot(version=SCHEMA_VERSION + 1)))
    notebook.run(0)
    panel = notebook.show_panel()
    expect(panel.get_by_text("The kernel speaks another version")).to_be_visible(timeout=WAIT_MS)


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_the_panel_follows_the_theme(open_notebook: OpenNotebook, theme: str) -> None:
    notebook = open_notebook(cells(snapshot(instance("local"))))
    notebook.execute("apputils:change-theme", {"theme": theme})
    notebook.run(0)
    panel = notebook.show_panel()
    expect(row(panel, "local")).to_contain_text("OK", timeout=WAIT_MS)
    light = "light" if theme.endswith("Light") else "dark"
    expect(notebook.page.locator(f"body[data-jp-theme-light={'true' if light == 'light' else 'false'}]")).to_have_count(1, timeout=WAIT_MS)
    colours = panel.evaluate("node => { const s = getComputedStyle(node); return [s.color, s.backgroundColor]; }")
    foreground, background = (
        sum(int(part) for part in colour[4:-1].split(",")[:3]) for colour in (c.replace("rgba", "rgb") for c in colours)
    )
    assert abs(foreground - background) > 300, colours
    assert (foreground < background) == (light == "light"), colours


def test_notebook_7_shows_the_panel_too(page: Page, tmp_path: Path) -> None:
    root = tmp_path / "notebooks"
    root.mkdir()
    with running_lab(root, {}, "notebook") as server:
        server.write_notebook("seven.ipynb", cells(snapshot(instance("local"))))
        notebook = NotebookPage(page, server, "seven.ipynb")
        notebook.run(0)
        expect(row(notebook.show_panel(), "local")).to_contain_text("OK", timeout=WAIT_MS)
