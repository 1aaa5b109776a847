"""Run the quickstart for real and show what came of it; or open it in JupyterLab.

python notebooks/demo.py             execute, print each answer, write the executed notebook and an HTML page
python notebooks/demo.py --lab       the same notebook, live, in JupyterLab
python notebooks/demo.py --update    also store the outputs that the notebook tests compare
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

HERE = Path(__file__).resolve().parent
NOTEBOOK = HERE / "01_quickstart.ipynb"
OUTPUT = HERE.parent / "build" / "demo"
CELL_TIMEOUT_S = 120
SHOWN_LINES = 14
WIDGET_TYPE = "application/vnd.jupyter.widget-view+json"
# The page is a picture: nothing in it may run, and nothing may be fetched.
PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--lab", action="store_true", help="open the notebook in JupyterLab instead of executing it")
    parser.add_argument("--update", action="store_true", help="store the compared outputs in the notebook itself")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="where the executed notebook and the page go")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _leave)
    os.environ.setdefault("GLEITZEIT_CONFIG", str(HERE / "demo.yaml"))
    try:
        isolated = prepare()
        if options.lab:
            return open_lab()
        return execute(isolated, options.output, update=options.update)
    except KeyboardInterrupt:
        print("\nInterrupted; everything that the demo started has been stopped.")
        return 130


def _leave(number: int, frame: object) -> None:
    raise KeyboardInterrupt


# -- before --------------------------------------------------------------------------------------------------------------------


def prepare() -> bool:
    """Fetch the model, settle and name the isolation, list what else is there. Returns whether the sandbox can be had."""
    from gleitzeit_nb.cli import main as gleitzeit
    from gleitzeit_nb.config import load
    from gleitzeit_nb.errors import GleitzeitError

    status = gleitzeit(["embedded", "fetch"])
    if status:
        sys.exit(status)
    try:
        config = load()
    except GleitzeitError as error:
        sys.exit(str(error))
    asyncio.run(list_others(config.discovery_urls))
    return asyncio.run(settle_isolation(config.sandbox))


async def list_others(urls: Sequence[str]) -> None:
    """Name an Ollama that answers here. It joins only when asked for."""
    from gleitzeit_nb.llm.discovery import discover

    found = await discover(urls)
    joins = os.environ.get("GLEITZEIT_DEMO_OLLAMA") == "1"
    for instance in found:
        print(f"Ollama       found at {instance.url}; " + ("joins" if joins else "left alone (GLEITZEIT_DEMO_OLLAMA=1 lets it join)"))
    if not found:
        print("Ollama       none found at its usual address; the demo brings its own two instances")
    os.environ["GLEITZEIT_DEMO_JOINING"] = " ".join(instance.url for instance in found) if joins else ""


async def settle_isolation(settings: Any) -> bool:
    """Say what will hold the untrusted code and why. A Docker daemon without our image gets one first."""
    from gleitzeit_nb.errors import ImageMissingError, SandboxError
    from gleitzeit_nb.sandbox import Sandbox, images

    async with Sandbox(settings) as sandbox:
        try:
            await sandbox.check("docker-sandbox")
        except ImageMissingError:
            print("Sandbox      a Docker daemon answers; building its base image (once, about a minute) …", flush=True)
            try:
                await images.build(progress=lambda line: print(f"             {line}", flush=True))
            except SandboxError as error:
                print(f"             not built: {_first_line(error)}")
        except SandboxError as error:
            print(f"Sandbox      no docker-sandbox: {_first_line(error)}")
    async with Sandbox(settings) as sandbox:
        try:
            mode, reason = await sandbox.resolve_default()
        except SandboxError as error:
            print(f"Sandbox      none can be had here, so its cells will show the refusal:\n{error}")
            return False
        print(f"Sandbox      runs as {mode}: {reason}")
        return True


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


# -- in JupyterLab -------------------------------------------------------------------------------------------------------------


def open_lab() -> int:
    """Serve a copy, so that playing with it changes nothing in the repository. Replaces this process."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    copy = OUTPUT / "lab" / NOTEBOOK.name
    copy.parent.mkdir(exist_ok=True)
    shutil.copy(NOTEBOOK, copy)
    print(f"JupyterLab   opens {copy.relative_to(HERE.parent)}; stop it with Ctrl-C", flush=True)
    command = [sys.executable, "-m", "jupyterlab", str(copy), "--LabApp.news_url=None"]
    if os.getuid() == 0:
        command.append("--allow-root")
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or sys.platform == "darwin"):
        command.append("--no-browser")
    os.execv(sys.executable, command)


# -- executed ------------------------------------------------------------------------------------------------------------------


def execute(isolated: bool, output: Path, *, update: bool) -> int:
    """Run every cell in a real kernel and write what came of it. 0 only when the whole story held."""
    started = time.monotonic()
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    join_found(notebook)
    if not isolated:
        allow_refusals(notebook)
    failure = run_cells(notebook)
    if failure is not None:
        print(f"\nFAILED       {failure}", flush=True)
    write(notebook, output)
    print(f"\nWritten      {_shown(output / NOTEBOOK.name)} and {_shown(output / NOTEBOOK.with_suffix('.html').name)}")
    if failure is not None:
        return 1
    if update:
        store_outputs(notebook)
    print(f"Done         the whole story held, in {time.monotonic() - started:.0f} s; nothing that it started is left running")
    return 0


def run_cells(notebook: nbformat.NotebookNode) -> str | None:
    """Execute in place, printing each cell as it ends. Returns one line on what failed, or None."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "GLEITZEIT_NB_STREAM": "0", "IPYTHONDIR": folder}
        client = NotebookClient(
            notebook,
            timeout=CELL_TIMEOUT_S,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            store_widget_state=False,
            on_cell_executed=show_cell,
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
        )
        started: list[psutil.Process] = []
        client.on_cell_complete = lambda cell, cell_index: started.extend(_descendants(started))
        try:
            client.execute(env=environment)
        except CellExecutionError as error:
            if error.ename == "KeyboardInterrupt":
                raise KeyboardInterrupt from error  # the terminal's Ctrl-C reached the cell, and was meant for the demo
            return f"a cell failed: {error.ename}: {error.evalue}"
        except DeadKernelError:
            return "the kernel died. What it had started ends with it"
        finally:
            left = stop_all(started)
        return f"still running after the kernel ended: {left}" if left else None


def _descendants(known: Sequence[psutil.Process]) -> list[psutil.Process]:
    return [process for process in psutil.Process().children(recursive=True) if process not in known]


def stop_all(started: Sequence[psutil.Process]) -> str:
    """Everything started must be gone by itself within 5 s. What is not is killed, and named."""
    _, left = psutil.wait_procs(started, timeout=5)
    names = []
    for process in left:
        try:
            names.append(f"{process.pid} {process.name()}")
            process.kill()
        except psutil.NoSuchProcess:
            continue
    return ", ".join(names)


def join_found(notebook: nbformat.NotebookNode) -> None:
    """Let the servers that were found, and asked for, take part: one more cell after the story has its own two."""
    urls = os.environ.get("GLEITZEIT_DEMO_JOINING", "").split()
    if not urls:
        return
    source = "from gleitzeit_nb.runtime import get_runtime\nruntime = get_runtime()\n" + "".join(
        f'runtime.call(runtime.engine.pool.add_instance({{"id": "ollama-{number}", "url": "{url}"}}))\n'
        for number, url in enumerate(urls, 1)
    )
    at = next(index for index, cell in enumerate(notebook.cells) if cell.id == "launch")
    notebook.cells.insert(at + 1, nbformat.v4.new_code_cell(source, id="join"))


def allow_refusals(notebook: nbformat.NotebookNode) -> None:
    """Without any sandbox its cells show why, and the rest of the story goes on."""
    for cell in notebook.cells:
        if "sandbox" in cell.metadata.get("tags", []):
            cell.metadata["tags"] = [*cell.metadata["tags"], "raises-exception"]


def show_cell(cell: nbformat.NotebookNode, cell_index: int, execute_reply: object) -> None:
    """Print a cell's first line and what it answered, as plain text."""
    if cell.cell_type != "code":
        return
    print(f"\n[{cell.get('execution_count') or ' '}] {cell.source.splitlines()[0]}")
    lines = [line for output in cell.outputs for line in output_text(output).splitlines()]
    for line in lines[:SHOWN_LINES]:
        print(f"    {line[:160]}")
    if len(lines) > SHOWN_LINES:
        print(f"    … {len(lines) - SHOWN_LINES} more lines in the page")
    sys.stdout.flush()


def output_text(output: nbformat.NotebookNode) -> str:
    """One output as a terminal would show it."""
    if output.output_type == "stream":
        return str(output.text)
    if output.output_type == "error":
        return f"{output.ename}: {output.evalue}"
    data = output.get("data", {})
    return str(data.get("text/plain", ""))


# -- written -------------------------------------------------------------------------------------------------------------------


def write(notebook: nbformat.NotebookNode, output: Path) -> None:
    """The executed notebook, and a page of it that needs neither network nor scripts."""
    output.mkdir(parents=True, exist_ok=True)
    for cell in notebook.cells:
        for each in cell.get("outputs", []):
            each.get("data", {}).pop(WIDGET_TYPE, None)  # the still picture beside it is what a reader can show
    nbformat.write(notebook, output / NOTEBOOK.name)
    (output / NOTEBOOK.with_suffix(".html").name).write_text(page(notebook), encoding="utf-8")


def page(notebook: nbformat.NotebookNode) -> str:
    """HTML without a script, a foreign address or a way to fetch one."""
    from bs4 import BeautifulSoup
    from nbconvert import HTMLExporter

    html, _ = HTMLExporter(template_name="lab", embed_images=False).from_notebook_node(notebook)
    document = BeautifulSoup(html, "html.parser")
    for element in document.find_all(["script", "link", "iframe", "object", "embed", "base"]):
        element.decompose()
    assert document.head is not None
    policy = document.new_tag("meta", attrs={"http-equiv": "Content-Security-Policy", "content": PAGE_POLICY})
    document.head.insert(0, policy)
    if document.title is not None:
        document.title.string = "Gleitzeit quickstart"
    return str(document)


def store_outputs(executed: nbformat.NotebookNode) -> None:
    """Keep in the repository's notebook only what the tests compare: outputs of cells that are not ignored, without clocks."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    ran = {cell.id: cell for cell in executed.cells if cell.cell_type == "code"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.execution_count = ran[cell.id].execution_count
            cell.outputs = [] if "nbval-ignore-output" in cell.metadata.get("tags", []) else ran[cell.id].outputs
    nbformat.write(notebook, NOTEBOOK)


def _shown(path: Path) -> str:
    return os.path.relpath(path)


if __name__ == "__main__":
    sys.exit(main())
