"""`%%llm` as a person sees it: cells of one notebook in a real JupyterLab, answered by a scripted server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, expect

from tests.support.fake_ollama import FakeOllama, Fault, Kind
from tests.support.lab import NotebookPage
from tests.support.waiting import wait_until
from tests.support.watched_page import WatchedPage

WAIT_MS = 30_000
WAIT_S = WAIT_MS / 1000
IDLE_AGAIN_S = 3.0  # half a second on an idle machine

ANSWER = """# Three colors

Here are **three** of *many*:

- red
- green, as in `#00ff00`

1. first
2. second

```python
print("a color")
```

| name | hex |
|--|--|
| blue | `#0000ff` |

Area: $a^2$. That was **all**."""
BEHIND_ANOTHER = """
from gleitzeit_nb.runtime import get_runtime
runtime = get_runtime()
other = runtime.submit(runtime.engine.pool.chat("llama3.2", "the one before"))
get_ipython().run_cell_magic("llm", "", "hi")
"""


@pytest.fixture(scope="module")
def max_concurrent() -> int:
    return 1


@pytest.fixture(autouse=True)
def _as_scripted(server: FakeOllama, watched: WatchedPage) -> Iterator[None]:
    server.token_s, server.load_s, server.fault, server.abandoned = 0.0, 0.0, None, 0
    server.tokens = lambda _body: ANSWER.splitlines(keepends=True)
    yield
    assert watched.acted() == {}


def answer(notebook: NotebookPage, cell: int) -> Locator:
    return notebook.output(cell).locator(".jp-RenderedMarkdown")


def prompt(notebook: NotebookPage, cell: int) -> Locator:
    return notebook.page.locator(".jp-Notebook-cell").nth(cell).locator(".jp-InputPrompt")


def test_an_answer_grows_while_the_cell_runs_and_ends_rendered(module_notebook: NotebookPage, server: FakeOllama) -> None:
    server.token_s = 0.15
    notebook = module_notebook
    cell = notebook.add("%%llm\nName three colors.")
    notebook.start(cell)
    lengths = grown(notebook, cell)
    assert len(lengths) >= 4, lengths
    assert lengths == sorted(lengths), lengths
    shown = answer(notebook, cell)
    expect(shown.locator("h1")).to_have_text("Three colors¶")
    expect(shown.locator("strong").first).to_have_text("three")
    expect(shown.locator("em")).to_have_text("many")
    expect(shown.locator("ul > li")).to_have_text(["red", "green, as in #00ff00"])
    expect(shown.locator("ol > li")).to_have_count(2)
    expect(shown.locator("pre")).to_contain_text('print("a color")')
    expect(shown.locator("td").first).to_have_text("blue")
    expect(shown.locator("mjx-container")).to_have_count(1)
    expect(notebook.output(cell)).to_contain_text("scripted · llama3.2")
    footer = notebook.output(cell).get_by_text("scripted · llama3.2").bounding_box()
    box = shown.bounding_box()
    assert footer is not None
    assert box is not None
    assert footer["y"] >= box["y"] + box["height"] - 1


def grown(notebook: NotebookPage, cell: int) -> list[int]:
    """The different lengths of the shown text, as seen while the cell's prompt says that it runs."""
    lengths: list[int] = notebook.page.evaluate(
        """async cell => {
            const { model, node } = window.jupyterapp.shell.currentWidget.content.widgets[cell];
            const lengths = [];
            for (const began = performance.now(); performance.now() - began < 60000; ) {
                const running = node.querySelector('.jp-InputPrompt').textContent.includes('[*]');
                if (!running && model.executionCount !== null) return lengths;
                const length = node.querySelector('.jp-RenderedMarkdown')?.textContent.length ?? 0;
                if (running && length && length !== lengths.at(-1)) lengths.push(length);
                await new Promise(resolve => setTimeout(resolve, 15));
            }
            throw new Error('the cell did not end');
        }""",
        cell,
    )
    return lengths


def test_quiet_shows_nothing(module_notebook: NotebookPage) -> None:
    cell = module_notebook.add("%%llm -q -o silent\nName three colors.")
    module_notebook.run(cell)
    expect(module_notebook.output(cell).locator(".jp-OutputArea-child")).to_have_count(0)
    after = module_notebook.add("print(len(silent.text))")
    module_notebook.run(after)
    expect(module_notebook.output(after)).to_have_text(str(len(ANSWER)))


def test_the_wait_for_a_model_is_told_until_the_answer_comes(module_notebook: NotebookPage, server: FakeOllama) -> None:
    server.loaded.clear()
    server.models.append("mixtral:latest")
    server.load_s = 3.0
    cell = module_notebook.add("%%llm -m mixtral\nhi")
    module_notebook.start(cell)
    expect(answer(module_notebook, cell)).to_contain_text("loading mixtral on scripted", timeout=WAIT_MS)
    expect(prompt(module_notebook, cell)).to_have_text("[*]:")
    expect(answer(module_notebook, cell)).to_contain_text("Three colors", timeout=WAIT_MS)
    expect(answer(module_notebook, cell)).not_to_contain_text("loading")
    module_notebook.wait_for_kernel()


def test_the_place_in_the_queue_is_told(module_notebook: NotebookPage, server: FakeOllama) -> None:
    server.token_s = 0.08
    cell = module_notebook.add(BEHIND_ANOTHER)
    module_notebook.start(cell)
    expect(answer(module_notebook, cell)).to_contain_text("queued 1st", timeout=WAIT_MS)
    expect(answer(module_notebook, cell)).to_contain_text("That was all", timeout=WAIT_MS)
    module_notebook.wait_for_kernel()


def test_interrupt_keeps_the_part_and_frees_the_kernel(module_notebook: NotebookPage, server: FakeOllama) -> None:
    server.token_s = 0.2
    server.tokens = lambda _body: [f"word{number} " for number in range(1000)]
    cell = module_notebook.add("%%llm\nCount.")
    module_notebook.start(cell)
    expect(answer(module_notebook, cell)).to_contain_text("word3", timeout=WAIT_MS)
    idle_after_s = module_notebook.interrupt()
    print(f"idle {idle_after_s:.3f} s after the interrupt")
    assert idle_after_s < IDLE_AGAIN_S
    expect(answer(module_notebook, cell)).to_contain_text("word3")
    expect(answer(module_notebook, cell)).to_contain_text("(interrupted)")
    lines = module_notebook.error(cell)
    assert lines[0].startswith("KeyboardInterrupt: interrupted")
    assert len(lines) <= 3, lines
    wait_until(lambda: server.abandoned == 1, WAIT_S, "the server to see its client go")
    server.token_s = 0.0
    server.tokens = lambda _body: ["still ", "there"]
    following = module_notebook.add("%%llm\nAnd now?")
    module_notebook.run(following)
    expect(answer(module_notebook, following)).to_have_text("still there")


def test_interrupt_while_nothing_has_come_yet(module_notebook: NotebookPage, server: FakeOllama) -> None:
    server.fault = Fault(Kind.HANG_BEFORE_HEADERS)
    cell = module_notebook.add("%%llm\nhi")
    module_notebook.start(cell)
    expect(answer(module_notebook, cell)).to_contain_text("scripted, ", timeout=WAIT_MS)
    idle_after_s = module_notebook.interrupt()
    print(f"idle {idle_after_s:.3f} s after the interrupt")
    assert idle_after_s < IDLE_AGAIN_S
    expect(answer(module_notebook, cell)).to_have_text("(interrupted)")
    wait_until(lambda: server.abandoned == 1, WAIT_S, "the server to see its client go")


def test_a_failure_is_a_few_lines_that_say_what_to_do(module_notebook: NotebookPage) -> None:
    cell = module_notebook.add("%%llm -m no-such-model\nhi")
    module_notebook.start(cell)
    expect(module_notebook.output(cell)).to_contain_text("ModelNotFoundError", timeout=WAIT_MS)
    module_notebook.wait_for_kernel()
    lines = module_notebook.error(cell)
    assert 3 <= len(lines) <= 6, lines
    assert "%tb" in lines[-1]
