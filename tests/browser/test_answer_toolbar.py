"""The toolbar over an answer, in a real JupyterLab and Notebook 7: what it offers, does to the notebook, and leaves alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.accessibility import violations
from tests.support.fake_ollama import FakeOllama
from tests.support.kernel import serving
from tests.support.lab import LabServer, NotebookPage, running_lab
from tests.support.watched_page import WatchedPage

WAIT_MS = 60_000
ANSWER = """A first_line with an under_score and a # sign.

```python
import math
print(math.floor(math.pi))
```

In a shell:

```bash
ls -l
```

- in a list

  ```python
  print("later")
  ```

The end."""
FIRST, SECOND = "import math\nprint(math.floor(math.pi))", 'print("later")'
NOTEBOOK = {"nbformat": 4, "nbformat_minor": 4, "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}}}
HOSTILE = "<img src=x onerror=__pwned=1>"


def saved(markdown: str, metadata: object) -> dict[str, Any]:
    """A cell with an answer, as a file may hold it."""
    output = {"output_type": "display_data", "data": {"text/markdown": markdown, "text/plain": markdown}, "metadata": metadata}
    return {"cell_type": "code", "metadata": {}, "execution_count": 1, "outputs": [output], "source": "%%llm\nhi"}


def setting_up(*servers: FakeOllama) -> str:
    instances = [{"id": server.id, "url": server.url} for server in servers]
    return f"%load_ext gleitzeit_nb\nfrom gleitzeit_nb import configure\nconfigure(ollama_config={{'instances': {instances!r}}})"


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[FakeOllama, FakeOllama]]:
    with serving(FakeOllama("north")) as north, serving(FakeOllama("south")) as south:
        yield north, south


@pytest.fixture(scope="module")
def notebook(servers: tuple[FakeOllama, FakeOllama], lab: LabServer, watched: WatchedPage) -> NotebookPage:
    lab.write_notebook("answers.ipynb", [setting_up(*servers), "%%llm --instance north\nA question?"])
    watched.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened = NotebookPage(watched.page, lab, "answers.ipynb")
    opened.execute("apputils:change-theme", {"theme": "JupyterLab Light"})
    opened.run(0)
    return opened


@pytest.fixture(autouse=True)
def _as_scripted(servers: tuple[FakeOllama, FakeOllama], watched: WatchedPage) -> Iterator[None]:
    for server in servers:
        server.token_s = 0.0
        server.tokens = lambda _body: ANSWER.splitlines(keepends=True)
    yield
    assert watched.acted() == {}


@pytest.fixture
def answered(module_notebook: NotebookPage) -> NotebookPage:
    """The notebook with its two first cells, the second answered, and none below."""
    module_notebook.page.evaluate(
        """() => {
            const { content } = window.jupyterapp.shell.currentWidget;
            const { sharedModel } = content.model;
            if (content.widgets.length > 2) sharedModel.deleteCellRange(2, content.widgets.length);
            sharedModel.getCell(1).setSource('%%llm --instance north\\nA question?');
        }"""
    )
    module_notebook.run(1)
    return module_notebook


def answer(notebook: NotebookPage, cell: int = 1) -> Locator:
    return notebook.output(cell).locator(".gz-AnswerOutput")


def toolbar(notebook: NotebookPage, cell: int = 1) -> Locator:
    """The answer's toolbar, with the pointer over the answer."""
    answer(notebook, cell).locator(".jp-RenderedMarkdown p").first.hover()
    return answer(notebook, cell).locator(".gz-AnswerBar:not(.gz-BlockBar)")


def choose(notebook: NotebookPage, button: str, item: str) -> None:
    toolbar(notebook).get_by_role("button", name=button).click()
    notebook.page.locator(".lm-Menu-item", has_text=item).click()


def menu(notebook: NotebookPage, button: str) -> list[str]:
    toolbar(notebook).get_by_role("button", name=button).click()
    labels = notebook.page.locator(".lm-Menu-itemLabel").all_inner_texts()
    notebook.page.keyboard.press("Escape")
    return labels


def sources(notebook: NotebookPage) -> list[str]:
    found: list[str] = notebook.page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.content.widgets.map(cell => cell.model.sharedModel.getSource())"
    )
    return found


def copied(notebook: NotebookPage) -> str:
    return str(notebook.page.evaluate("() => navigator.clipboard.readText()"))


def test_the_toolbar_appears_under_the_pointer_and_moves_nothing(answered: NotebookPage) -> None:
    answered.page.mouse.move(1, 1)
    bar = answer(answered).locator(".gz-AnswerBar:not(.gz-BlockBar)")
    expect(bar).to_have_css("opacity", "0")
    before = answered.output(1).bounding_box()
    expect(toolbar(answered)).to_have_css("opacity", "1")
    expect(answer(answered).locator(".gz-BlockBar:not(.gz-mod-waiting)")).to_have_count(0)  # until the pointer is on a block
    assert answered.output(1).bounding_box() == before
    expect(answered.page.get_by_role("toolbar", name="Answer of llama3.2 on north")).to_have_count(1)
    names = ["Copy the answer", "Insert the code below", "Run the code in the sandbox", "Ask again"]
    assert [button.get_attribute("aria-label") for button in bar.get_by_role("button").all()] == names
    expect(bar.locator("[aria-disabled=true]")).to_have_count(0)


def test_what_is_copied_is_what_the_model_wrote(answered: NotebookPage) -> None:
    toolbar(answered).get_by_role("button", name="Copy the answer").click()
    expect(toolbar(answered).get_by_role("button", name="Copied")).to_be_visible()
    expect(answer(answered).get_by_role("status")).to_have_text("Copied")
    assert copied(answered) == ANSWER


def test_blocks_are_inserted_one_or_all_and_undo_takes_them_back(answered: NotebookPage) -> None:
    assert menu(answered, "Insert the code below") == [
        "All, each in a cell",
        "1: python, 2 lines: import math",
        "2: bash, 1 line: ls -l",
        '3: python, 1 line: print("later")',
    ]
    choose(answered, "Insert the code below", "3: python")
    assert sources(answered)[2:] == [SECOND]
    answered.execute("notebook:undo-cell-action")
    expect(answered.page.locator(".jp-Notebook-cell")).to_have_count(2)
    choose(answered, "Insert the code below", "All")
    assert sources(answered)[2:] == [FIRST, "%%bash\nls -l", SECOND]
    expect(answered.page.locator(".jp-Notebook-cell").nth(2)).to_have_class(re.compile(r"\bjp-mod-active\b"))
    assert answered.is_running(2)  # nothing was run


def test_code_runs_in_the_sandbox_in_one_cell_below(answered: NotebookPage) -> None:
    choose(answered, "Run the code in the sandbox", "All, as one program")
    expect(answered.output(2)).to_contain_text("later", timeout=WAIT_MS)
    answered.wait_for_kernel()
    assert sources(answered)[2:] == [f"%%sandbox\n{FIRST}\n\n{SECOND}"]
    expect(answered.output(2)).to_contain_text("3")
    choose(answered, "Run the code in the sandbox", "All, as one program")
    answered.wait_for_kernel()
    assert len(sources(answered)) == 3  # the same cell ran again


def test_a_block_has_buttons_of_its_own(answered: NotebookPage) -> None:
    blocks = answer(answered).locator("pre")
    blocks.nth(2).hover()
    bar = answer(answered).get_by_role("toolbar", name="Block of code")
    bar.get_by_role("button", name="Copy this code").click()
    expect(bar.get_by_role("button", name="Copied")).to_be_visible()
    assert copied(answered) == SECOND
    blocks.nth(1).hover()
    expect(bar.get_by_role("button", name="Run this code in the sandbox")).to_have_attribute("aria-disabled", "true")
    blocks.nth(2).hover()
    bar.get_by_role("button", name="Run this code in the sandbox").click()
    expect(answered.output(2)).to_contain_text("later", timeout=WAIT_MS)
    answered.wait_for_kernel()
    assert sources(answered)[2:] == [f"%%sandbox\n{SECOND}"]


def test_another_instance_is_named_in_the_cell_and_answers(answered: NotebookPage) -> None:
    expect(answered.page.locator(".gz-StatusItem")).to_contain_text("2/2", timeout=WAIT_MS)  # the page knows the instances
    assert menu(answered, "Ask again") == ["Run the cell again as it is", "Ask south"]
    choose(answered, "Ask again", "Ask south")
    expect(answered.output(1)).to_contain_text("south · llama3.2", timeout=WAIT_MS)
    answered.wait_for_kernel()
    assert sources(answered) == [sources(answered)[0], "%%llm --instance south\nA question?"]
    expect(answered.page.get_by_role("toolbar", name="Answer of llama3.2 on south")).to_have_count(1)


def test_the_keyboard_reaches_every_button(answered: NotebookPage) -> None:
    page = answered.page
    focused = "() => document.activeElement.getAttribute('aria-label')"
    tab_to(answered, "Copy the answer")
    expect(answer(answered).locator(".gz-AnswerBar:not(.gz-BlockBar)")).to_have_css("opacity", "1")
    page.keyboard.press("Enter")
    expect(answer(answered).get_by_role("status")).to_have_text("Copied")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == "Insert the code below"
    page.keyboard.press("b")  # which would insert a cell, if JupyterLab took it
    page.keyboard.press("ArrowUp")  # and this one leave the cell
    assert page.evaluate(focused) == "Insert the code below"
    expect(page.locator(".jp-Notebook-cell")).to_have_count(2)
    page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.model.sharedModel.setMetadata('touched', 1); }")
    expect(page.locator(".lm-TabBar-tab.jp-mod-dirty")).to_have_count(1)
    page.keyboard.press("Control+S")  # which is JupyterLab's, here too
    expect(page.locator(".lm-TabBar-tab.jp-mod-dirty")).to_have_count(0, timeout=WAIT_MS)
    page.keyboard.press("Enter")  # a menu, at its first item
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator(".jp-Notebook-cell")).to_have_count(3)
    assert sources(answered)[2] == FIRST


def tab_to(notebook: NotebookPage, button: str) -> None:
    """From the answered cell, without the pointer."""
    notebook.page.mouse.move(1, 1)
    notebook.page.locator(".jp-Notebook-cell").nth(1).focus()
    for _ in range(14):
        notebook.page.keyboard.press("Tab")
        if notebook.page.evaluate("() => document.activeElement.getAttribute('aria-label')") == button:
            return
    raise AssertionError(f"the Tab key does not come to {button!r}")


def test_the_keyboard_goes_from_block_to_block(answered: NotebookPage) -> None:
    page = answered.page
    tab_to(answered, "Copy this code")
    bar = answer(answered).locator(".gz-BlockBar")
    expect(bar).to_have_css("opacity", "1")
    expect(bar).to_have_attribute("aria-label", "Block of code 1: python, 2 lines: import math")
    assert stands_at(answered, 0)
    for key, block, index in (
        ("ArrowDown", "2: bash", 1),
        ("ArrowDown", "3: python", 2),
        ("ArrowDown", "1: python", 0),
        ("ArrowUp", "3: python", 2),
    ):
        page.keyboard.press(key)
        expect(bar).to_have_attribute("aria-label", re.compile(f"^Block of code {block}"))
        assert stands_at(answered, index)
        expect(bar.get_by_role("button", name="Copy this code")).to_be_focused()
    answer(answered).locator("pre").first.hover()  # the pointer does not take it away from the keyboard
    expect(bar).to_have_attribute("aria-label", re.compile("^Block of code 3"))
    page.keyboard.press("Enter")
    expect(answer(answered).get_by_role("status")).to_have_text("Copied")
    assert copied(answered) == SECOND
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator(".jp-Notebook-cell")).to_have_count(3)
    assert sources(answered)[2] == SECOND
    page.mouse.move(1, 1)
    expect(bar).to_have_css("opacity", "0")


def stands_at(notebook: NotebookPage, index: int) -> bool:
    """Whether the small toolbar is at the upper edge of this block."""
    notebook.page.wait_for_timeout(50)
    tops = [part.bounding_box() for part in (answer(notebook).locator("pre").nth(index), answer(notebook).locator(".gz-BlockBar"))]
    return tops[0] is not None and tops[1] is not None and abs(tops[0]["y"] - tops[1]["y"]) < 8


def test_while_an_answer_arrives_it_can_be_copied_and_no_more(answered: NotebookPage, servers: tuple[FakeOllama, FakeOllama]) -> None:
    servers[0].token_s = 0.2
    servers[0].tokens = lambda _body: ["```python\nx = 1\n", *(f"word{number} " for number in range(500))]
    answered.start(1)
    expect(answer(answered)).to_contain_text("word2", timeout=WAIT_MS)
    answer(answered).hover()
    bar = answer(answered).locator(".gz-AnswerBar").first
    expect(bar.locator("[aria-disabled=true]")).to_have_count(3)
    bar.get_by_role("button", name="Copy the answer").click()
    expect(bar.get_by_role("button", name="Copied")).to_be_visible()
    assert copied(answered).startswith("```python\nx = 1\nword0")
    answered.interrupt()
    answer(answered).hover()
    expect(bar.locator("[aria-disabled=true]")).to_have_count(0)
    bar.get_by_role("button", name="Copy the answer").click()
    expect(bar.get_by_role("button", name="Copied")).to_be_visible()
    assert "interrupted" not in copied(answered)


def test_answers_side_by_side_have_one_toolbar(answered: NotebookPage) -> None:
    cell = answered.add("%%llm -n 2\nA question?")
    answered.run(cell)
    answer(answered, cell).locator("pre").first.hover()
    bar = answered.page.get_by_role("toolbar", name="Answers of llama3.2")
    bar.get_by_role("button", name="Insert the code below").click()
    assert answered.page.locator(".lm-Menu-item").count() == 7
    answered.page.keyboard.press("Escape")
    answer(answered, cell).locator("pre").first.hover()
    answer(answered, cell).get_by_role("toolbar", name="Block of code").get_by_role("button", name="Insert this code below").click()
    assert sources(answered)[cell + 1 :] == [FIRST]


def test_axe_finds_nothing(answered: NotebookPage) -> None:
    answer(answered).locator("pre").first.hover()
    expect(answer(answered).get_by_role("toolbar")).to_have_count(2)
    assert violations(answered.page, ".gz-AnswerLayer") == []


def test_nothing_of_it_is_saved(answered: NotebookPage, lab: LabServer) -> None:
    toolbar(answered).get_by_role("button", name="Copy the answer").click()
    answered.save()
    expect(answered.page.locator(".jp-NotebookPanel .jp-mod-dirty, .lm-TabBar-tab.jp-mod-dirty")).to_have_count(0, timeout=WAIT_MS)
    document = json.loads((lab.root / "answers.ipynb").read_text())
    assert "gz-" not in json.dumps(document)
    assert [set(cell["metadata"]) - {"trusted"} for cell in document["cells"]] == [set(), set()]


def test_a_saved_answer_is_offered_as_it_is_seen(page: Page, lab: LabServer) -> None:
    ours = {"gleitzeit_nb": {"model": HOSTILE, "instance": "north"}}
    hidden = "<!--\n```python\nhidden()\n```\n-->\n\nText\n\n```python\nseen()\n```"
    cells = [saved(hidden, ours), saved("```python\nx\n```", {"gleitzeit_nb": "x"}), saved("```python\nx\n```", {})]
    (lab.root / "saved.ipynb").write_text(json.dumps({**NOTEBOOK, "cells": cells}))
    notebook = NotebookPage(page, lab, "saved.ipynb")
    expect(page.locator(".gz-AnswerOutput")).to_have_count(1, timeout=WAIT_MS)
    toolbar(notebook, 0).get_by_role("button", name="Insert the code below").click()
    assert sources(notebook)[1] == "seen()"
    expect(page.get_by_role("toolbar", name=f"Answer of {HOSTILE} on north")).to_have_count(1)
    assert page.evaluate("() => window.__pwned ?? null") is None


def test_code_of_a_saved_answer_runs_in_a_new_kernel(page: Page, lab: LabServer) -> None:
    ours = {"gleitzeit_nb": {"model": "llama3.2", "instance": "north"}}
    document = {**NOTEBOOK, "cells": [saved("Text\n\n```python\nprint(6 * 7)\n```", ours)]}
    (lab.root / "new_kernel.ipynb").write_text(json.dumps(document))
    notebook = NotebookPage(page, lab, "new_kernel.ipynb")
    toolbar(notebook, 0).get_by_role("button", name="Run the code in the sandbox").click()
    cells = page.locator(".jp-Notebook-cell")
    expect(cells.filter(has_text="%%sandbox").locator(".jp-Cell-outputArea")).to_contain_text("42", timeout=WAIT_MS)
    expect(cells.first).to_contain_text("%load_ext gleitzeit_nb")
    notebook.wait_for_kernel()


def test_a_console_has_it_and_puts_code_into_its_prompt(
    page: Page, lab: LabServer, servers: tuple[FakeOllama, FakeOllama], project_root: Path
) -> None:
    lab.write_notebook("console.ipynb", ["1"])
    notebook = NotebookPage(page, lab, "console.ipynb")
    notebook.execute("console:create", {"kernelPreference": {"name": "python3"}, "activate": True})
    page.locator(".jp-CodeConsole-promptCell").wait_for(timeout=WAIT_MS)
    notebook.wait_for_kernel()
    for source in (setting_up(*servers), "%%llm --instance north\nA question?"):
        page.evaluate(f"source => {CONSOLE}.inject(source).then(() => null)", source)
    shown = page.locator(".jp-CodeConsole .gz-AnswerOutput")
    expect(shown).to_have_count(1, timeout=WAIT_MS)
    shown.locator("pre").nth(2).hover()
    expect(shown.get_by_role("toolbar", name="Block of code 3")).to_have_css("opacity", "1")
    page.screenshot(path=pictures(project_root) / "answer-console.png")
    assert violations(page, ".gz-AnswerLayer") == []
    shown.get_by_role("button", name="Insert this code into the prompt").click()
    assert prompt(page) == SECOND
    shown.locator("p").first.hover()
    shown.get_by_role("button", name="Insert the code into the prompt").click()
    page.locator(".lm-Menu-item", has_text="1: python").click()
    assert prompt(page) == f"{SECOND}\n\n{FIRST}"
    expect(page.locator(".jp-CodeConsole-promptCell .cm-content")).to_be_focused()
    shown.locator("p").first.hover()
    shown.get_by_role("button", name="Run the code in the sandbox").click()
    page.locator(".lm-Menu-item", has_text="2: python").click()
    expect(page.locator(".jp-CodeConsole-content .jp-CodeCell").last).to_contain_text("later", timeout=WAIT_MS)
    shown.locator("p").first.hover()
    shown.get_by_role("button", name="Ask again").click()
    page.locator(".lm-Menu-item", has_text="Ask south").click()
    expect(page.get_by_role("toolbar", name="Answer of llama3.2 on south")).to_have_count(1, timeout=WAIT_MS)
    assert prompt(page) == f"{SECOND}\n\n{FIRST}"


CONSOLE = "window.jupyterapp.shell.currentWidget.console"


def prompt(page: Page) -> str:
    return str(page.evaluate(f"() => {CONSOLE}.promptCell.model.sharedModel.getSource()"))


def pictures(project_root: Path) -> Path:
    folder = project_root / ".cache" / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_notebook_7_has_it_too(page: Page, tmp_path: Path, servers: tuple[FakeOllama, FakeOllama]) -> None:
    root = tmp_path / "notebooks"
    root.mkdir()
    with running_lab(root, {}, "notebook") as server:
        server.write_notebook("seven.ipynb", [setting_up(*servers), "%%llm --instance north\nA question?"])
        notebook = NotebookPage(page, server, "seven.ipynb")
        notebook.run(0)
        notebook.run(1)
        choose(notebook, "Insert the code below", "1: python")
        assert sources(notebook)[2:] == [FIRST]
        choose(notebook, "Ask again", "Ask south")
        expect(notebook.output(1)).to_contain_text("south · llama3.2", timeout=WAIT_MS)
        notebook.wait_for_kernel()
