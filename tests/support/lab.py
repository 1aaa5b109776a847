"""A real JupyterLab server in a folder of its own, and a notebook page in it as a test drives it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from playwright.sync_api import Locator, Page

from tests.support.waiting import wait_until

TOKEN = "only-for-this-test"
EXTENSION = Path(__file__).resolve().parent.parent.parent / "gleitzeit_nb" / "labextension"
START_S = 90
READY_MS = 90_000
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
Application = Literal["lab", "notebook"]
# The same option has another owner in each, and each serves notebooks under another path.
APPLICATIONS: dict[Application, tuple[str, str]] = {
    "lab": ("--LabApp.expose_app_in_browser=True", "lab/tree"),
    "notebook": ("--JupyterNotebookApp.expose_app_in_browser=True", "notebooks"),
}


class LabServer:
    """One `jupyter lab` (or `jupyter notebook`) on loopback, whose files lie in `root`."""

    def __init__(self, root: Path, port: int, application: Application = "lab") -> None:
        self.root = root
        self.application = application
        self.url = f"http://127.0.0.1:{port}"

    def write_notebook(self, name: str, cells: list[str], *, kernel: str = "python3") -> None:
        sources = [
            {"cell_type": "code", "id": f"cell-{index}", "metadata": {}, "execution_count": None, "outputs": [], "source": cell}
            for index, cell in enumerate(cells)
        ]
        metadata = {"kernelspec": {"name": kernel, "display_name": kernel, "language": "python"}}
        document = {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": sources}
        (self.root / name).write_text(json.dumps(document))

    def stop_kernels(self) -> None:
        """End what notebooks left running."""
        for kernel in json.loads(self._ask("GET", "api/kernels")):
            self._ask("DELETE", f"api/kernels/{kernel['id']}")

    def save_settings(self, plugin: str, raw: str) -> None:
        """What a person has set, as text that need not be valid. Pages that are open do not hear of it."""
        self._ask("PUT", f"lab/api/settings/{plugin}", json.dumps({"raw": raw}).encode())

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        headers = {"Authorization": f"token {TOKEN}"}
        request = urllib.request.Request(f"{self.url}/{path}", body, headers, method=method)
        with urllib.request.urlopen(request, timeout=START_S) as answer:
            return bytes(answer.read())

    def address(self, name: str) -> str:
        return f"{self.url}/{APPLICATIONS[self.application][1]}/{quote(name)}?token={TOKEN}&reset"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running_lab(
    root: Path, environment: Mapping[str, str], application: Application = "lab", start: Sequence[str] = ()
) -> Iterator[LabServer]:
    """Starts the server with `environment` on top of this process's, and stops it with its kernels.

    `start`: what starts it instead of this environment's own Jupyter, which then serves the extension of the tree under test.
    """
    server = LabServer(root, free_port(), application)
    command = [
        *(start or [str(Path(sys.executable).parent / f"jupyter-{application}"), "--allow-root"]),
        "--no-browser",
        "--ip=127.0.0.1",
        f"--port={server.url.rpartition(':')[2]}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={TOKEN}",
        f"--ServerApp.root_dir={root}",
        APPLICATIONS[application][0],
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    log = root.parent / "jupyterlab.log"
    served = {} if start else {"JUPYTER_PATH": str(_with_this_extension(root.parent / "jupyter"))}
    variables = {**os.environ, **served, **environment}
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=root, env=variables, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        wait_until(lambda: process.poll() is not None or _answers(server.url), START_S, "JupyterLab to answer")
        assert process.poll() is None, log.read_text(errors="replace")
        server.save_settings("@jupyterlab/apputils-extension:notification", '{"fetchNews": "false"}')  # else it asks, over every picture
        yield server
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _with_this_extension(data: Path) -> Path:
    """Jupyter data in which the extension is that of the tree under test, whatever the environment has linked."""
    link = data / "labextensions" / "gleitzeit-nb"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(EXTENSION)
    return data


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/api?token={TOKEN}", timeout=2):
            return True
    except OSError:
        return False


class NotebookPage:
    """A notebook opened in JupyterLab."""

    def __init__(self, page: Page, server: LabServer, name: str) -> None:
        self.page = page
        page.goto(server.address(name))
        page.locator("#jupyterlab-splash").wait_for(state="detached", timeout=READY_MS)
        page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for(timeout=READY_MS)
        self.wait_for_kernel()

    def _shell(self, expression: str) -> Any:
        return self.page.evaluate(f"() => {{ const widget = window.jupyterapp.shell.currentWidget; return {expression}; }}")

    def wait_for_kernel(self) -> None:
        self.page.wait_for_function(
            "() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'", timeout=READY_MS
        )

    def start(self, cell: int) -> None:
        """Runs a cell and does not wait for it."""
        self._shell(f"(widget.content.activeCellIndex = {cell}, null)")
        self.page.evaluate(
            """cell => {
                const { commands, shell } = window.jupyterapp;
                shell.currentWidget.content.widgets[cell].model.executionCount = null;  // so that its end can be seen
                void commands.execute('notebook:run-cell');
            }""",
            cell,
        )

    def run(self, cell: int) -> None:
        """Runs a cell to its end, which must not be an error."""
        self.start(cell)
        self.wait_for_end(cell)
        assert self.error(cell) == [], "\n".join(self.error(cell))

    def error(self, cell: int) -> list[str]:
        """The lines of the error that the cell shows; none when it shows none. How they look to a person: without colours."""
        traces = self._shell(
            f"(widget.content.widgets[{cell}].model.outputs?.toJSON() ?? []).filter(each => each.output_type === 'error')"
            ".flatMap(each => each.traceback)"
        )
        return [_COLOUR.sub("", line) for trace in traces for line in str(trace).split("\n")]

    def is_running(self, cell: int) -> bool:
        return bool(self._shell(f"widget.content.widgets[{cell}].model.executionCount === null"))

    def wait_for_end(self, cell: int) -> None:
        """Waits for a started cell's end, however it ends."""
        self.page.wait_for_function(
            "cell => window.jupyterapp.shell.currentWidget.content.widgets[cell].model.executionCount !== null",
            arg=cell,
            timeout=READY_MS,
        )
        self.wait_for_kernel()

    def output(self, cell: int) -> Locator:
        return self.page.locator(".jp-Notebook-cell").nth(cell).locator(".jp-Cell-outputArea")

    def source(self, cell: int) -> str:
        return str(self._shell(f"widget.content.widgets[{cell}].model.sharedModel.getSource()"))

    def add(self, source: str) -> int:
        """A further code cell at the end; its index."""
        self.page.evaluate(
            "source => { window.jupyterapp.shell.currentWidget.content.model.sharedModel.addCell({cell_type: 'code', source}); }", source
        )
        return int(self._shell("widget.content.widgets.length")) - 1

    def interrupt(self) -> float:
        """Interrupts the running active cell as the button does. Seconds until the cell had ended and the kernel was idle."""
        elapsed_ms = self.page.evaluate(
            """async () => {
                const { commands, shell: { currentWidget: { content, sessionContext } } } = window.jupyterapp;
                const began = performance.now();
                void commands.execute('notebook:interrupt-kernel');
                while (content.activeCell.model.executionCount === null || sessionContext.session.kernel.status !== 'idle') {
                    if (performance.now() - began > 30000) throw new Error('the cell did not end');
                    await new Promise(resolve => setTimeout(resolve, 10));
                }
                return performance.now() - began;
            }"""
        )
        return float(elapsed_ms) / 1000

    def reload(self) -> None:
        """As a person does, who is asked nothing. Returns when its notebook is there again; its kernel may be busy."""
        self.page.reload()
        self.page.locator("#jupyterlab-splash").wait_for(state="detached", timeout=READY_MS)
        self.page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for(timeout=READY_MS)

    def save(self) -> None:
        self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")

    def execute(self, command: str, arguments: dict[str, Any] | None = None) -> None:
        self.page.evaluate("([name, args]) => { void window.jupyterapp.commands.execute(name, args); }", [command, arguments or {}])

    def show_panel(self) -> Locator:
        """The side panel, opened."""
        self.execute("gleitzeit:show-panel")
        panel = self.page.locator("#gleitzeit-nb-panel")
        panel.wait_for(state="visible", timeout=READY_MS)
        return panel

    def set_panel_width(self, width: int) -> None:
        """Drags the edge of JupyterLab's left side there."""
        panel, mouse = self.page.locator("#gleitzeit-nb-panel"), self.page.mouse
        box = panel.bounding_box()
        assert box is not None
        mouse.move(box["x"] + box["width"] + 2, box["y"] + 300)
        mouse.down()
        mouse.move(box["x"] + width + 20, box["y"] + 300, steps=4)
        mouse.move(box["x"] + width + 2, box["y"] + 300, steps=4)
        mouse.up()
        self.page.wait_for_function(
            "width => Math.abs(document.getElementById('gleitzeit-nb-panel').clientWidth - width) < 4", arg=width, timeout=READY_MS
        )
