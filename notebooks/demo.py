"""Run the quickstart for real and show what came of it; or open it in JupyterLab.

python notebooks/demo.py             execute, print each answer, write the executed notebook and an HTML page
python notebooks/demo.py --lab       the same notebook, live, in JupyterLab
python notebooks/demo.py --update    also store the outputs that the notebook tests compare
python notebooks/demo.py 02_pool_under_fire.ipynb    another notebook than the quickstart
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

HERE = Path(__file__).resolve().parent
QUICKSTART = HERE / "01_quickstart.ipynb"
OUTPUT = HERE.parent / "build" / "demo"
CELL_TIMEOUT_S = 120
WIDTH = 140
SHOWN_LINES = 24  # the dashboard fits
SHOWN_SOURCE = 10
WIDGET_TYPE = "application/vnd.jupyter.widget-view+json"
# The page is a picture: nothing in it may run, and nothing may be fetched.
PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("notebook", nargs="?", default=QUICKSTART.name, help="one beside this file (default: %(default)s)")
    parser.add_argument("--lab", action="store_true", help="open the notebook in JupyterLab instead of executing it")
    parser.add_argument("--update", action="store_true", help="store the compared outputs in the notebook itself")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="where the executed notebook and the page go")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _leave)
    os.environ.setdefault("GLEITZEIT_CONFIG", str(HERE / "demo.yaml"))
    try:
        isolated = prepare()
        if options.lab:
            return open_lab(HERE / options.notebook)
        return execute(HERE / options.notebook, isolated, options.output, update=options.update)
    except KeyboardInterrupt:
        print("\nInterrupted; everything that the demo started has been stopped.")
        return 130


def _leave(number: int, frame: object) -> None:
    raise KeyboardInterrupt


# -- before --------------------------------------------------------------------------------------------------------------------


def prepare() -> bool:
    """Fetch the model, settle and name the isolation, list what else is there. Returns whether the sandbox can be had."""
    from gleitzeit_nb.cli.terminal import ProgressBar
    from gleitzeit_nb.config import load
    from gleitzeit_nb.embedded import DEFAULT_MODEL, fetch
    from gleitzeit_nb.errors import GleitzeitError

    try:
        config = load()
        path = fetch(DEFAULT_MODEL, ProgressBar(f"Model        fetching {DEFAULT_MODEL}"))
    except GleitzeitError as error:
        sys.exit(str(error))
    say("Model", f"{DEFAULT_MODEL}, for demonstration: a real model, but a tiny one that gets facts wrong")
    say("", f"in {path.parents[1]}, sha256 checked")
    asyncio.run(list_others(config.discovery_urls))
    return asyncio.run(settle_isolation(config.sandbox))


async def list_others(urls: Sequence[str]) -> None:
    """Name an Ollama that answers here. It joins only when asked for."""
    from gleitzeit_nb.llm.discovery import discover

    found = await discover(urls)
    joins = os.environ.get("GLEITZEIT_DEMO_OLLAMA") == "1"
    for instance in found:
        say("Ollama", f"found at {instance.url}; " + ("joins" if joins else "left alone (GLEITZEIT_DEMO_OLLAMA=1 lets it join)"))
    if not found:
        say("Ollama", "none found at its usual address; the demo brings its own two instances")
    os.environ["GLEITZEIT_DEMO_JOINING"] = " ".join(instance.url for instance in found) if joins else ""


async def settle_isolation(settings: Any) -> bool:
    """Say what will hold the untrusted code and why. A Docker daemon without our image gets one first."""
    from gleitzeit_nb.errors import ImageMissingError, SandboxError
    from gleitzeit_nb.sandbox import Sandbox, images

    async with Sandbox(settings) as sandbox:
        try:
            await sandbox.check("docker-sandbox")
        except ImageMissingError:
            say("Sandbox", "a Docker daemon answers; building its base image (once, about a minute) …")
            try:
                await images.build(progress=lambda line: say("", line))
            except SandboxError as error:
                say("", f"not built: {_first_sentence(error)}")
        except SandboxError as error:
            say("Sandbox", f"no docker-sandbox: {_first_sentence(error)}")
    async with Sandbox(settings) as sandbox:
        try:
            mode, reason = await sandbox.resolve_default()
        except SandboxError as error:
            say("Sandbox", "none can be had here, so its cells will show the refusal:", *str(error).splitlines())
            return False
        isolation, _, weaker = reason.partition("; weaker: ")
        say("Sandbox", f"runs as {mode}: {isolation}")
        if weaker:
            say("", f"weaker than it could be, which notebooks/demo.yaml allows: {weaker}")
        return True


def say(label: str, *lines: str) -> None:
    """A label and what there is to say about it, beside it."""
    for line in lines:
        print(folded(line, f"{label:13}", " " * 15), flush=True)
        label = ""


def folded(line: str, first: str, others: str) -> str:
    """A long line in several, the later ones set in. Paths and addresses stay whole."""
    others += line[: len(line) - len(line.lstrip())]
    keep = {"replace_whitespace": False, "break_long_words": False, "break_on_hyphens": False}
    return textwrap.fill(line, WIDTH, initial_indent=first, subsequent_indent=others, **keep) or first.rstrip()


def _first_sentence(error: Exception) -> str:
    return str(error).partition("\n")[0].partition(". ")[0].rstrip(".")


# -- in JupyterLab -------------------------------------------------------------------------------------------------------------


def open_lab(notebook: Path) -> int:
    """Serve a copy, so that playing with it changes nothing in the repository. Replaces this process."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    copy = OUTPUT / "lab" / notebook.name
    copy.parent.mkdir(exist_ok=True)
    shutil.copy(notebook, copy)
    say("JupyterLab", f"opens {_shown(copy)}; Ctrl-C twice stops it")
    # Of what it logs only the address matters, and that is no mere information to it.
    command = [sys.executable, "-m", "jupyterlab", str(copy), "--LabApp.news_url=None", "--log-level=WARN"]
    if os.getuid() == 0:
        command.append("--allow-root")
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or sys.platform == "darwin"):
        command.append("--no-browser")
    os.execv(sys.executable, command)


# -- executed ------------------------------------------------------------------------------------------------------------------


def execute(path: Path, isolated: bool, output: Path, *, update: bool) -> int:
    """Run every cell in a real kernel and write what came of it. 0 only when the whole story held."""
    started = time.monotonic()
    notebook = nbformat.read(path, as_version=4)
    join_found(notebook)
    if not isolated:
        expect_refusals(notebook)
    failure = run_cells(notebook)
    if failure is not None:
        print(f"\nFAILED       {failure}", flush=True)
    write(notebook, output / path.name)
    print(f"\nWritten      {_shown(output / path.name)} and {_shown(output / path.with_suffix('.html').name)}")
    if failure is not None:
        return 1
    if update:
        store_outputs(notebook, path)
    what = "the whole story held" if isolated else "the story held, without the sandbox, which this machine cannot have"
    print(f"Done         {what}; {time.monotonic() - started:.0f} s, and nothing that it started is left running")
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
            on_cell_executed=Teller(notebook).tell,
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
        )
        started: list[psutil.Process] = []
        client.on_cell_complete = lambda cell, cell_index: started.extend(_descendants(started))
        try:
            in_thread(lambda: client.execute(env=environment))
        except CellExecutionError as error:
            return f"{failed_cell(notebook)}: {error.ename}" + (f": {error.evalue}" if error.evalue else "")
        except DeadKernelError:
            return "the kernel died. What it had started ends with it"
        finally:
            left = stop_all(started)
        return f"still running after the kernel ended: {left}" if left else None


def in_thread(work: Callable[[], object]) -> None:
    """Run `work` beside the main thread, whose Ctrl-C nbclient would take for its own: here it ends the kernel, and so the work."""
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(work)
        try:
            future.result()
        except KeyboardInterrupt:
            while not future.done():  # again and again: the kernel may be about to start
                for process in _descendants(()):
                    with contextlib.suppress(psutil.NoSuchProcess):  # it ended by itself meanwhile
                        process.kill()
                wait([future], timeout=0.2)
            raise


def _descendants(known: Sequence[psutil.Process]) -> list[psutil.Process]:
    return [process for process in psutil.Process().children(recursive=True) if process not in known]


def stop_all(started: Sequence[psutil.Process]) -> str:
    """Everything started must end by itself within 5 s. What does not is killed, and named."""
    end, left = time.monotonic() + 5, list(started)
    while (left := [process for process in left if runs(process)]) and time.monotonic() < end:
        time.sleep(0.05)
    names = []
    for process in left:
        try:
            names.append(f"{process.pid} {process.name()}")
            process.kill()
        except psutil.NoSuchProcess:
            continue
    return ", ".join(names)


def runs(process: psutil.Process) -> bool:
    """A zombie has ended: where process 1 is no init, as in many a container, nobody ever collects it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def join_found(notebook: nbformat.NotebookNode) -> None:
    """Let the servers that were found, and asked for, take part, after the story's own two: these still answer its questions."""
    urls = os.environ.get("GLEITZEIT_DEMO_JOINING", "").split()
    if not urls:
        return
    source = "from gleitzeit_nb.runtime import get_runtime\nruntime = get_runtime()\n" + "".join(
        f'runtime.call(runtime.engine.pool.add_instance({{"id": "ollama-{number}", "url": "{url}", "priority": 9}}))\n'
        for number, url in enumerate(urls, 1)
    )
    at = next(index for index, cell in enumerate(notebook.cells) if cell.id == "launch")
    notebook.cells.insert(at + 1, nbformat.v4.new_code_cell(source, id="join"))


def expect_refusals(notebook: nbformat.NotebookNode) -> None:
    """Without any sandbox its cells show why, those that look at their results are left out, and the rest of the story goes on."""
    of_sandbox = [cell for cell in notebook.cells if "sandbox" in cell.metadata.get("tags", [])]
    for cell in of_sandbox:
        cell.metadata["tags"] = [*cell.metadata["tags"], "raises-exception"]
    results = [cell for cell in of_sandbox if cell.id.endswith("-check")]
    notebook.cells = [cell for cell in notebook.cells if cell not in results]


def failed_cell(notebook: nbformat.NotebookNode) -> str:
    """The cell that ended the run: number and first line."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.get("execution_count")]
    return f"[{cells[-1].execution_count}] {cells[-1].source.splitlines()[0]}" if cells else "a cell"


class Teller:
    """Prints the story as plain text: headings, what was asked, what was answered. A cell of Python that says nothing is passed over."""

    def __init__(self, notebook: nbformat.NotebookNode) -> None:
        self._cells = notebook.cells
        self._headed = 0
        self._errors: set[str] = set()

    def tell(self, cell: nbformat.NotebookNode, cell_index: int, execute_reply: object) -> None:
        if cell.cell_type != "code":
            return
        self._tell_headings(cell_index)
        lines = [line for output in cell.outputs for line in self._answer(output)]
        if not lines and not cell.source.startswith("%"):
            return
        print("\n".join(question(cell)))
        for number, line in enumerate(lines[:SHOWN_LINES]):
            print(folded(line, "    " if number else "  → ", "      "))
        if len(lines) > SHOWN_LINES:
            print(f"    … {len(lines) - SHOWN_LINES} more lines in the page")
        sys.stdout.flush()

    def _tell_headings(self, until: int) -> None:
        for cell in self._cells[self._headed : until]:
            if cell.cell_type == "markdown" and cell.source.startswith("## "):
                print(f"\n── {cell.source.splitlines()[0].lstrip('# ')} ──")
        self._headed = until

    def _answer(self, output: nbformat.NotebookNode) -> list[str]:
        """A refusal that was told already is not told again."""
        text = output_text(output)
        if output.output_type == "error":
            if text in self._errors:
                return [f"{output.ename}, as above"]
            self._errors.add(text)
        return text.splitlines()


def question(cell: nbformat.NotebookNode) -> list[str]:
    """A magic is shown with its cell, since that is what was asked; of Python, the first line tells enough."""
    first, *rest = cell.source.splitlines()
    shown = rest[:SHOWN_SOURCE] if first.startswith("%%") else []
    if len(rest) > len(shown):
        shown = [*shown, "…"] if first.startswith("%%") else []
        first += "" if first.startswith("%%") else " …"
    return [f"\n[{cell.get('execution_count') or ' '}] {first}", *(f"    {line}".rstrip() for line in shown)]


def output_text(output: nbformat.NotebookNode) -> str:
    """One output as a terminal would show it."""
    if output.output_type == "stream":
        return str(output.text)
    if output.output_type == "error":
        return f"{output.ename}: {output.evalue}"
    data = output.get("data", {})
    return str(data.get("text/plain", ""))


# -- written -------------------------------------------------------------------------------------------------------------------


def write(notebook: nbformat.NotebookNode, to: Path) -> None:
    """The executed notebook, and a page of it that needs neither network nor scripts."""
    to.parent.mkdir(parents=True, exist_ok=True)
    for cell in notebook.cells:
        for each in cell.get("outputs", []):
            each.get("data", {}).pop(WIDGET_TYPE, None)  # the still picture beside it is what a reader can show
    nbformat.write(notebook, to)
    to.with_suffix(".html").write_text(page(notebook), encoding="utf-8")


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
    style = document.new_tag("style")
    style.string = ".jp-RenderedMarkdown pre { font-family: monospace; }"  # nbconvert's own leaves code of an answer in the text's font
    document.head.append(style)
    if document.title is not None:
        document.title.string = f"Gleitzeit: {notebook.cells[0].source.splitlines()[0].lstrip('# ')}"
    return str(document)


def store_outputs(executed: nbformat.NotebookNode, path: Path) -> None:
    """Keep in the repository's notebook only what the tests compare: outputs of cells that are not ignored, without clocks."""
    notebook = nbformat.read(path, as_version=4)
    ran = {cell.id: cell for cell in executed.cells if cell.cell_type == "code"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.execution_count = ran[cell.id].execution_count
            cell.outputs = [] if "nbval-ignore-output" in cell.metadata.get("tags", []) else ran[cell.id].outputs
    nbformat.write(notebook, path)


def _shown(path: Path) -> str:
    return os.path.relpath(path)


if __name__ == "__main__":
    sys.exit(main())
