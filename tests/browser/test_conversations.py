"""Several answers side by side, conversations and explained errors, as a person sees them in a real JupyterLab."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.support.fake_ollama import FakeOllama
from tests.support.hostile import answers as hostile_answers
from tests.support.kernel import serving
from tests.support.lab import LabServer, NotebookPage
from tests.support.waiting import wait_until
from tests.support.watched_page import WatchedPage

WAIT_MS = 30_000
ANSWER = """## A name

Take **Small Eye**, or:

1. *Pocket* scope
2. `mini-1`

```python
print("a telescope")
```

| name | price |
|--|--:|
| Tiny | $5$ |

That is all."""


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[FakeOllama, FakeOllama]]:
    with serving(FakeOllama("north")) as north, serving(FakeOllama("south")) as south:
        for server in (north, south):
            server.loaded["llama3.2:latest"] = 1
        yield north, south


@pytest.fixture(scope="module")
def notebook(servers: tuple[FakeOllama, FakeOllama], lab: LabServer, watched: WatchedPage) -> NotebookPage:
    instances = [{"id": each.id, "url": each.url, "max_concurrent": 2} for each in servers]
    load = f"%load_ext gleitzeit_nb\nfrom gleitzeit_nb import configure\nconfigure(ollama_config={{'instances': {instances!r}}})"
    lab.write_notebook("conversations.ipynb", [load])
    opened = NotebookPage(watched.page, lab, "conversations.ipynb")
    opened.execute("apputils:change-theme", {"theme": "JupyterLab Light"})
    opened.run(0)
    return opened


@pytest.fixture(autouse=True)
def _as_scripted(servers: tuple[FakeOllama, FakeOllama], watched: WatchedPage) -> Iterator[None]:
    for server in servers:
        server.token_s, server.fault = 0.0, None
        server.tokens = lambda _body: ANSWER.splitlines(keepends=True)
    yield
    assert watched.acted() == {}


def columns(notebook: NotebookPage, cell: int) -> Locator:
    return notebook.output(cell).locator("section")


def test_answers_grow_side_by_side_and_each_says_who_gave_it(
    module_notebook: NotebookPage, servers: tuple[FakeOllama, FakeOllama], project_root: Path
) -> None:
    for server in servers:
        server.token_s = 0.15
    notebook = module_notebook
    cell = notebook.add("%%llm -n 3 -o answers\nA name for a small telescope?")
    notebook.start(cell)
    lengths = grown(notebook, cell)
    assert len(lengths) >= 4, lengths
    shown = columns(notebook, cell)
    expect(shown).to_have_count(3)
    for place in range(3):
        column = shown.nth(place)
        expect(column).to_contain_text("That is all.")
        expect(column.locator("strong").nth(1)).to_have_text("A name")
        expect(column.locator("ol > li")).to_have_text(["Pocket scope", "mini-1"])
        expect(column.locator("pre")).to_have_text('print("a telescope")')
        expect(column.locator("td").nth(1)).to_have_text("$5$")  # a formula stays as it was written
        expect(column).to_contain_text("llama3.2 ·")
        assert column.get_attribute("aria-label") == f"Answer {place + 1} of 3"
    assert {text.split("✓ ")[1].split(" ")[0] for text in shown.all_inner_texts()} == {"north", "south"}
    tops = {round(box["y"]) for box in boxes(shown)}
    assert len(tops) == 1, tops
    expect(notebook.output(cell)).to_contain_text("3 answers · ")
    picture(notebook, cell, project_root, "answers-light")
    notebook.execute("apputils:change-theme", {"theme": "JupyterLab Dark"})
    expect(notebook.page.locator("body")).to_have_attribute("data-jp-theme-light", "false")
    picture(notebook, cell, project_root, "answers-dark")
    notebook.execute("apputils:change-theme", {"theme": "JupyterLab Light"})
    expect(notebook.page.locator("body")).to_have_attribute("data-jp-theme-light", "true")


def boxes(shown: Locator) -> list[dict[str, Any]]:
    found = [shown.nth(place).bounding_box() for place in range(shown.count())]
    return [dict(box) for box in found if box is not None]


def picture(notebook: NotebookPage, cell: int, project_root: Path, name: str) -> None:
    pictures = project_root / ".cache" / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    output = notebook.output(cell)
    output.scroll_into_view_if_needed()
    output.screenshot(path=pictures / f"{name}.png")


def grown(notebook: NotebookPage, cell: int) -> list[int]:
    """The different lengths of what the columns hold, as seen while the cell runs."""
    lengths: list[int] = notebook.page.evaluate(
        """async cell => {
            const { model, node } = window.jupyterapp.shell.currentWidget.content.widgets[cell];
            const lengths = [];
            for (const began = performance.now(); performance.now() - began < 60000; ) {
                if (model.executionCount !== null) return lengths;
                const length = [...node.querySelectorAll('section')].map(each => each.textContent.length).reduce((a, b) => a + b, 0);
                if (length && length !== lengths.at(-1)) lengths.push(length);
                await new Promise(resolve => setTimeout(resolve, 15));
            }
            throw new Error('the cell did not end');
        }""",
        cell,
    )
    return lengths


def test_columns_wrap_where_the_page_is_narrow(module_notebook: NotebookPage) -> None:
    notebook = module_notebook
    cell = notebook.add("%%llm -n 3\nAgain?")
    notebook.run(cell)
    shown = columns(notebook, cell)
    expect(shown).to_have_count(3)
    notebook.page.set_viewport_size({"width": 800, "height": 900})
    try:
        wait_until(lambda: len({round(box["y"]) for box in boxes(shown)}) > 1, 30, "the columns to wrap")
        output = notebook.output(cell).bounding_box()
        assert output is not None
        assert all(box["x"] + box["width"] <= output["x"] + output["width"] + 1 for box in boxes(shown))
    finally:
        notebook.page.set_viewport_size({"width": 1400, "height": 900})


def test_an_interrupt_ends_all_columns_and_keeps_them(module_notebook: NotebookPage, servers: tuple[FakeOllama, FakeOllama]) -> None:
    for server in servers:
        server.token_s, server.abandoned = 0.2, 0
        server.tokens = lambda _body: [f"word{number} " for number in range(1000)]
    cell = module_notebook.add("%%llm -n 2\nCount.")
    module_notebook.start(cell)
    for place in range(2):
        expect(columns(module_notebook, cell).nth(place)).to_contain_text("word3", timeout=WAIT_MS)
    module_notebook.interrupt()
    for place in range(2):
        expect(columns(module_notebook, cell).nth(place)).to_contain_text("■ interrupted")
        expect(columns(module_notebook, cell).nth(place)).to_contain_text("word3")
    wait_until(lambda: sum(server.abandoned for server in servers) == 2, 30, "the servers to see their clients go")


def test_a_hostile_answer_does_nothing_in_a_column(module_notebook: NotebookPage, servers: tuple[FakeOllama, FakeOllama]) -> None:
    for case in hostile_answers("http://127.0.0.1:9"):
        for server in servers:
            server.tokens = lambda _body, text=case.text: [text]
        cell = module_notebook.add(f"%%llm -n 2\n{case.name}")
        module_notebook.run(cell)
        expect(columns(module_notebook, cell).first).to_contain_text(f"last-{case.name}")
        faults = module_notebook.page.evaluate(
            "cell => window.gzFaults(document.querySelectorAll('.jp-Notebook-cell')[cell].querySelector('section'), null, null)", cell
        )
        assert faults == [], case.name
        assert columns(module_notebook, cell).locator("mjx-container").count() == 0


def test_a_conversation_is_kept_shown_and_asked_again(
    module_notebook: NotebookPage, servers: tuple[FakeOllama, FakeOllama], project_root: Path
) -> None:
    def last(body: Mapping[str, Any]) -> list[str]:
        return [f"I was told {len(body['messages'])} messages, *the last* of them: ", str(body["messages"][-1]["content"])]

    for server in servers:
        server.tokens = last
    notebook = module_notebook
    first = notebook.add("%%llm --thread trip\nWhere to?")
    notebook.run(first)
    second = notebook.add("%%llm --thread trip\nAnd **how**?")
    notebook.run(second)
    expect(notebook.output(second)).to_contain_text("thread trip, turn 2")
    expect(notebook.output(second)).to_contain_text("I was told 3 messages")
    notebook.run(second)  # JupyterLab names its cells, so this asks the same turn again
    expect(notebook.output(second)).to_contain_text("I was told 3 messages")
    expect(notebook.output(second)).to_contain_text("thread trip, turn 2")
    history = notebook.add("%llm history trip")
    notebook.run(history)
    shown = notebook.output(history).locator(".jp-RenderedMarkdown")
    expect(shown.locator("h4")).to_have_count(4)
    expect(shown.locator("blockquote").nth(2)).to_contain_text("And how?")
    picture(notebook, history, project_root, "history-light")
    listing = notebook.add("%llm history")
    notebook.run(listing)
    expect(notebook.output(listing).locator("th[scope=row]")).to_have_text(["trip"])


def test_an_error_is_explained_and_what_was_sent_can_be_unfolded(module_notebook: NotebookPage, project_root: Path) -> None:
    notebook = module_notebook
    failing = notebook.add("password = 'canary-77'\n1 / 0")
    notebook.start(failing)
    notebook.wait_for_end(failing)
    cell = notebook.add("%llm fix")
    notebook.run(cell)
    folded = notebook.output(cell).locator("details")
    expect(folded.locator("summary")).to_contain_text("sent to the model")
    expect(folded.locator("pre")).to_be_hidden()
    folded.locator("summary").click()
    expect(folded.locator("pre")).to_be_visible()
    expect(folded.locator("pre")).to_contain_text("ZeroDivisionError: division by zero")
    expect(folded.locator("pre")).to_contain_text("password = '***'")
    expect(notebook.output(cell)).not_to_contain_text("canary")
    expect(notebook.output(cell).locator(".jp-RenderedMarkdown")).to_contain_text("That is all.")
    picture(notebook, cell, project_root, "fix-light")
