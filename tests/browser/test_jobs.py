"""Background jobs as a person sees them: the output of one cell moves while another one runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, expect

from tests.support.fake_ollama import FakeOllama
from tests.support.lab import NotebookPage
from tests.support.watched_page import WatchedPage

WAIT_MS = 30_000
TRAINING = """
import sys, time
for step in range(100):
    print("step", step, flush=True)
    time.sleep(0.2)
    if step == 2:
        print("careful", file=sys.stderr)
"""


@pytest.fixture(autouse=True)
def _as_scripted(server: FakeOllama, watched: WatchedPage) -> Iterator[None]:
    server.token_s = 0.1
    server.tokens = lambda _body: [f"word{number} " for number in range(80)]
    yield
    assert watched.acted() == {}


def answer(notebook: NotebookPage, cell: int) -> Locator:
    return notebook.output(cell).locator(".jp-RenderedMarkdown").first


def lengths_while_running(notebook: NotebookPage, cell: int, other: int) -> list[int]:
    """The different lengths of a cell's answer, as long as the other cell's prompt says that it runs."""
    found: list[int] = notebook.page.evaluate(
        """async ([cell, other]) => {
            const { widgets } = window.jupyterapp.shell.currentWidget.content;
            const lengths = [];
            for (const began = performance.now(); performance.now() - began < 30000; ) {
                if (widgets[other].model.executionCount !== null) return lengths;
                const length = widgets[cell].node.querySelector('.jp-RenderedMarkdown')?.textContent.length ?? 0;
                if (length && length !== lengths.at(-1)) lengths.push(length);
                await new Promise(resolve => setTimeout(resolve, 15));
            }
            throw new Error('the other cell did not end');
        }""",
        [cell, other],
    )
    return found


def test_its_answer_grows_while_another_cell_runs(module_notebook: NotebookPage) -> None:
    notebook = module_notebook
    cell = notebook.add("%%llm --bg -o job\nA long story, please.")
    notebook.run(cell)
    other = notebook.add("import time\ntime.sleep(2)\nprint('the other cell')")
    notebook.start(other)
    lengths = lengths_while_running(notebook, cell, other)
    assert len(lengths) >= 5, lengths
    assert lengths == sorted(lengths)
    expect(notebook.output(cell)).to_contain_text("▸ job 1 · ")
    expect(notebook.output(other)).to_have_text("the other cell")
    expect(answer(notebook, cell)).to_contain_text("word79", timeout=WAIT_MS)
    expect(notebook.output(cell)).to_contain_text("✓ job 1 · scripted · llama3.2 · 80 tokens", timeout=WAIT_MS)
    again = notebook.add("job")
    notebook.run(again)
    expect(answer(notebook, again)).to_contain_text("word79")


def test_a_run_moves_too_and_is_cancelled_from_another_cell(module_notebook: NotebookPage) -> None:
    notebook = module_notebook
    cell = notebook.add(f"%%sandbox --bg -o training\n{TRAINING}")
    notebook.start(cell)
    notebook.wait_for_end(cell)
    if notebook.error(cell):
        pytest.skip("\n".join(notebook.error(cell)))
    expect(notebook.output(cell)).to_contain_text("step 4", timeout=WAIT_MS)
    listing = notebook.add("%llm jobs")
    notebook.run(listing)
    expect(notebook.output(listing)).to_contain_text("running, ")
    ending = notebook.add("%llm jobs cancel --all")
    notebook.run(ending)
    expect(notebook.output(cell)).to_contain_text("■ job 2 · cancelled after", timeout=WAIT_MS)
    expect(notebook.output(cell)).to_contain_text("step 4")


@pytest.mark.parametrize("is_active", [False, True], ids=["the cell that is read is active", "the growing one is"])
def test_what_one_reads_below_a_growing_answer_stays_where_it_is(
    module_notebook: NotebookPage, server: FakeOllama, is_active: bool
) -> None:
    server.token_s = 0.03
    server.tokens = lambda _body: [f"Line {number}.\n\n" for number in range(120)]
    notebook = module_notebook
    above = notebook.add("%%llm --bg -o job\nMany lines.")
    read = notebook.add("print('\\n'.join(f'row {number}' for number in range(150)))")
    for cell in (read, above) if is_active else (above, read):
        notebook.run(cell)
    moved = notebook.page.evaluate(
        """async ([above, read]) => {
            const { content } = window.jupyterapp.shell.currentWidget;
            const target = content.widgets[read].node.querySelector('.jp-OutputArea-output');
            const height = () => content.widgets[above].node.offsetHeight;
            target.scrollIntoView({ block: 'start' });
            await new Promise(resolve => setTimeout(resolve, 300));
            const place = target.getBoundingClientRect().top, begun = height();
            let most = 0, grown = 0;
            for (const began = performance.now(); performance.now() - began < 3000; ) {
                most = Math.max(most, Math.abs(target.getBoundingClientRect().top - place));
                grown = height() - begun;
                await new Promise(resolve => requestAnimationFrame(resolve));
            }
            return { most, grown };
        }""",
        [above, read],
    )
    notebook.run(notebook.add("job.cancel()"))
    assert moved["grown"] > 500
    assert moved["most"] < 5, "px"
