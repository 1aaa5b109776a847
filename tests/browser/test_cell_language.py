"""How `%%llm` and `%%sandbox` cells look and feel while they are typed, in a real JupyterLab and Notebook 7."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.lab import LabServer, NotebookPage, running_lab
from tests.support.watched_page import WatchedPage

WAIT_MS = 30_000
PROSE = "It's a *fine* day, isn't it? That's $5, or $6. </b> is a tag & {name} a value, {{not}} one, {\"a\": 1} neither."
PROMPT = f"%%llm -m llama3.2 --tags gpu # don't wait\n# Title\n\n{PROSE}\n\n```python\ndef f(x):\n    return None\n```"
CODE = "import os\nfor x in range(3):\n    print(f'{x}', \"it's\")"
LLM, SANDBOX, PLAIN, STACKED, RAW, BROKEN, SCRATCH = range(7)
CELLS = [PROMPT, f"%%sandbox --in a\n{CODE}", CODE, "%%time\n%%llm\nIt's fine", "%%llm --raw\n{name}", f"pass\n{PROSE}", ""]


@dataclass(frozen=True)
class Token:
    text: str
    colour: str
    is_bold: bool
    is_slanted: bool


@pytest.fixture(scope="module")
def notebook(lab: LabServer, watched: WatchedPage) -> NotebookPage:
    lab.write_notebook("languages.ipynb", CELLS)
    opened = NotebookPage(watched.page, lab, "languages.ipynb")
    opened.execute("apputils:change-theme", {"theme": "JupyterLab Light"})
    expect(watched.page.locator("body[data-jp-theme-light=true]")).to_have_count(1, timeout=WAIT_MS)
    expect(language(opened, "llm")).to_have_count(3, timeout=WAIT_MS)
    expect(content(opened, LLM).get_by_text("def", exact=True)).to_have_css("font-weight", "700", timeout=WAIT_MS)  # all is loaded
    return opened


def language(notebook: NotebookPage, kind: str) -> Locator:
    return notebook.page.locator(f".jp-Notebook .cm-content[data-language=gleitzeit-{kind}]")


def content(notebook: NotebookPage, cell: int) -> Locator:
    return notebook.page.locator(".jp-Notebook-cell").nth(cell).locator(".cm-content")


def tokens(notebook: NotebookPage, cell: int, first_line: int = 0) -> list[Token]:
    """The pieces of text that are styled alike, from that line on."""
    found: list[list[Any]] = content(notebook, cell).evaluate(
        """(node, first) => [...node.querySelectorAll('.cm-line')].slice(first).flatMap(line => {
            const texts = document.createTreeWalker(line, NodeFilter.SHOW_TEXT), found = [];
            while (texts.nextNode()) {
                const style = getComputedStyle(texts.currentNode.parentElement);
                found.push([texts.currentNode.data, style.color, style.fontWeight >= 600, style.fontStyle === 'italic']);
            }
            return found;
        })""",
        first_line,
    )
    return [Token(*each) for each in found]


def colour(page: Page, variable: str) -> str:
    """What a theme's variable comes out as."""
    return str(
        page.evaluate(
            """variable => {
                const probe = document.body.appendChild(document.createElement('span'));
                probe.style.color = `var(${variable})`;
                const { color } = getComputedStyle(probe);
                probe.remove();
                return color;
            }""",
            variable,
        )
    )


def edit(notebook: NotebookPage, cell: int, text: str) -> Page:
    """Puts this text in the cell, and the cursor behind it."""
    page = notebook.page
    content(notebook, cell).click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(text)
    return page


def put(notebook: NotebookPage, cell: int, text: str) -> None:
    """The same from elsewhere, as by somebody who works in the same notebook."""
    notebook.page.evaluate(
        "([cell, text]) => { window.jupyterapp.shell.currentWidget.content.widgets[cell].model.sharedModel.setSource(text); }", [cell, text]
    )


def source(notebook: NotebookPage, cell: int) -> str:
    return str(
        notebook.page.evaluate("cell => window.jupyterapp.shell.currentWidget.content.widgets[cell].model.sharedModel.getSource()", cell)
    )


def test_a_prompt_is_shown_as_markdown_and_its_apostrophes_open_no_string(module_notebook: NotebookPage) -> None:
    notebook = module_notebook
    shown = tokens(notebook, LLM, first_line=1)
    assert any(token.text == "fine" and token.is_slanted for token in shown), shown
    assert any("Title" in token.text and token.is_bold for token in shown), shown
    assert any(token.text == "def" and token.is_bold for token in shown), shown
    red = {colour(notebook.page, name) for name in ("--jp-mirror-editor-string-color", "--jp-mirror-editor-error-color")}
    assert [token for token in shown if token.colour in red] == []
    # The same words in a cell of Python, without which the line above proved nothing.
    assert [token for token in tokens(notebook, BROKEN, first_line=1) if token.colour in red]


def test_the_magic_line_is_told_apart(module_notebook: NotebookPage) -> None:
    shown = {token.text.strip(): token for token in tokens(module_notebook, LLM)}
    assert shown["%%llm"].is_bold
    assert shown["-m"].colour == shown["--tags"].colour
    assert len({shown[text].colour for text in ("%%llm", "-m", "llama3.2")}) == 3
    assert shown["# don't wait"].is_slanted


def test_sandboxed_code_looks_like_any_python(module_notebook: NotebookPage) -> None:
    assert tokens(module_notebook, SANDBOX, first_line=1) == tokens(module_notebook, PLAIN)
    expect(language(module_notebook, "sandbox")).to_have_count(1)


def test_a_magic_above_does_not_hide_the_prompt(module_notebook: NotebookPage) -> None:
    assert [token.text for token in tokens(module_notebook, STACKED) if token.is_bold] == ["%%time", "%%llm"]


def test_what_the_kernel_inserts_is_marked(module_notebook: NotebookPage) -> None:
    prompt = content(module_notebook, LLM)
    assert prompt.locator(".gz-cm-field").all_inner_texts() == ["{name}"]
    assert prompt.locator(".gz-cm-escape").all_inner_texts() == ["{{", "}}"]
    assert prompt.locator(".gz-cm-refused").all_inner_texts() == ['{"a": 1}']
    assert content(module_notebook, RAW).locator("[class*=gz-cm-]").count() == 0


def test_the_language_follows_the_first_line_and_undo(module_notebook: NotebookPage) -> None:
    notebook = module_notebook
    page = edit(notebook, SCRATCH, "print('x')")
    here = content(notebook, SCRATCH)
    expect(here).to_have_attribute("data-language", "python")
    page.keyboard.press("Control+Home")
    page.wait_for_timeout(600)  # or undo would take both in one step
    page.keyboard.type("%%ll")
    expect(here).to_have_attribute("data-language", "python")
    page.keyboard.type("m ")
    expect(here).to_have_attribute("data-language", "gleitzeit-llm")
    for _ in "%%llm ":
        page.keyboard.press("Backspace")
    expect(here).to_have_attribute("data-language", "python")
    page.keyboard.insert_text("%%sandbox\n")
    expect(here).to_have_attribute("data-language", "gleitzeit-sandbox")
    page.keyboard.press("Control+Z")
    expect(here).to_have_attribute("data-language", "python")
    page.keyboard.press("Control+Shift+Z")
    expect(here).to_have_attribute("data-language", "gleitzeit-sandbox")
    assert source(notebook, SCRATCH) == "%%sandbox\nprint('x')"


def test_the_language_follows_an_edit_from_elsewhere(module_notebook: NotebookPage) -> None:
    notebook = module_notebook
    for text, kind in (("%%llm\nhi", "gleitzeit-llm"), ("x = 1", "python"), ("\n%%sandbox\nx", "gleitzeit-sandbox")):
        put(notebook, SCRATCH, text)
        expect(content(notebook, SCRATCH)).to_have_attribute("data-language", kind)


def test_a_prompt_of_a_book_is_typed_without_delay(module_notebook: NotebookPage) -> None:
    """Against a cell of Python of the same length, in the same page."""
    notebook = module_notebook
    text = ("It's *one* of {many} lines, with `code` and the like.\n" * 5 + "\n") * 1200
    took = {}
    for kind, first in (("python", ""), ("gleitzeit-llm", "%%llm\n")):
        put(notebook, SCRATCH, f"{first}# {text}")
        expect(content(notebook, SCRATCH)).to_have_attribute("data-language", kind)
        took[kind] = float(
            notebook.page.evaluate(
                """cell => {
                    const { editor } = window.jupyterapp.shell.currentWidget.content.widgets[cell].editor;
                    const began = performance.now();
                    for (let count = 0; count < 50; count++) {
                        const at = editor.state.doc.length / 2 | 0;
                        editor.dispatch({ changes: { from: at, insert: 'x' } });
                    }
                    return performance.now() - began;
                }""",
                SCRATCH,
            )
        )
    put(notebook, SCRATCH, "")
    print(f"50 keystrokes in 320 kB: {took}")
    assert took["gleitzeit-llm"] < 10 * took["python"] + 500


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_the_magic_line_can_be_read_in_both_themes(module_notebook: NotebookPage, theme: str) -> None:
    notebook = module_notebook
    notebook.execute("apputils:change-theme", {"theme": theme})
    expect(notebook.page.locator(f"body[data-jp-theme-name='{theme}']")).to_have_count(1, timeout=WAIT_MS)
    background = content(notebook, LLM).evaluate("node => getComputedStyle(node.closest('.jp-InputArea-editor')).backgroundColor")
    shown = {token.text.strip(): token.colour for token in tokens(notebook, LLM)}
    found = {text: contrast(shown[text], background) for text in ("%%llm", "-m", "llama3.2", "{name}")}
    assert min(found.values()) >= 4.5, found


def contrast(foreground: str, background: str) -> float:
    """WCAG's ratio of two colours as the browser writes them; a translucent one is laid over the other."""

    def channels(colour: str) -> list[float]:
        scale = 255 if colour.startswith("color(srgb") else 1  # as mixed colours are written
        red, green, blue, *alpha = (float(part) for part in re.findall(r"[\d.]+", colour.removeprefix("color(srgb")))
        return [red * scale, green * scale, blue * scale, *alpha]

    def luminance(rgb: list[float]) -> float:
        linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in (each / 255 for each in rgb)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    front, back = channels(foreground), channels(background)
    alpha = front[3] if len(front) > 3 else 1.0
    mixed = [alpha * one + (1 - alpha) * other for one, other in zip(front[:3], back[:3], strict=True)]
    lighter, darker = sorted((luminance(mixed), luminance(back[:3])), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_a_console_does_the_same(module_notebook: NotebookPage) -> None:
    page = module_notebook.page
    page.evaluate(
        "() => { void window.jupyterapp.commands.execute('console:create', {kernelPreference: {name: 'python3'}, activate: true}); }"
    )
    prompt = page.locator(".jp-CodeConsole-promptCell .cm-content")
    prompt.wait_for(timeout=WAIT_MS)
    page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'", timeout=WAIT_MS
    )
    prompt.click()
    page.keyboard.insert_text("%%llm\nIt's prose")
    expect(prompt).to_have_attribute("data-language", "gleitzeit-llm", timeout=WAIT_MS)
    page.evaluate("() => { window.jupyterapp.shell.currentWidget.close(); }")
    expect(page.locator(".jp-CodeConsole")).to_have_count(0, timeout=WAIT_MS)


def test_prose_is_typed_as_in_a_markdown_cell(module_notebook: NotebookPage) -> None:
    notebook = module_notebook
    page = edit(notebook, SCRATCH, "%%llm")
    page.keyboard.press("Enter")
    page.keyboard.type("Answer in class X(", delay=0)
    page.keyboard.type("), and then for each:")
    page.keyboard.press("Enter")
    page.keyboard.type("- it's one")
    page.keyboard.press("Enter")
    page.keyboard.type("two")
    assert source(notebook, SCRATCH) == "%%llm\nAnswer in class X(), and then for each:\n- it's one\n- two"


def test_sandboxed_code_is_indented_as_python(module_notebook: NotebookPage) -> None:
    notebook = module_notebook
    page = edit(notebook, SCRATCH, "%%sandbox")
    page.keyboard.press("Enter")
    page.keyboard.type("if True:")
    page.keyboard.press("Enter")
    page.keyboard.type("pass")
    assert source(notebook, SCRATCH) == "%%sandbox\nif True:\n    pass"


def test_a_long_prompt_wraps_and_code_does_not(module_notebook: NotebookPage) -> None:
    expect(content(module_notebook, LLM)).to_have_css("white-space-collapse", "break-spaces")
    expect(content(module_notebook, SANDBOX)).to_have_css("white-space-collapse", "preserve")


def test_cells_of_another_language_are_left_alone(module_notebook: NotebookPage) -> None:
    notebook = module_notebook
    here = content(notebook, STACKED)
    speak = """([cell, mime]) => { window.jupyterapp.shell.currentWidget.content.widgets[cell].model.mimeType = mime; }"""
    notebook.page.evaluate(speak, [STACKED, "text/x-rsrc"])
    expect(here).not_to_have_attribute("data-language", "gleitzeit-llm")
    notebook.page.evaluate(speak, [STACKED, "text/x-ipython"])
    expect(here).to_have_attribute("data-language", "gleitzeit-llm")


def test_a_file_of_python_is_left_alone(lab: LabServer, module_notebook: NotebookPage) -> None:
    (lab.root / "looks_like.py").write_text("%%llm\nIt's prose")
    page = module_notebook.page
    page.evaluate("() => { void window.jupyterapp.commands.execute('docmanager:open', {path: 'looks_like.py'}); }")
    expect(page.locator(".jp-FileEditor .cm-content")).to_have_attribute("data-language", "python", timeout=WAIT_MS)
    page.evaluate("() => { void window.jupyterapp.commands.execute('application:close'); }")
    expect(page.locator(".jp-FileEditor")).to_have_count(0)


def test_notebook_7_does_the_same(page: Page, tmp_path: Path) -> None:
    root = tmp_path / "notebooks"
    root.mkdir()
    with running_lab(root, {}, "notebook") as server:
        server.write_notebook("seven.ipynb", CELLS)
        notebook = NotebookPage(page, server, "seven.ipynb")
        expect(language(notebook, "llm")).to_have_count(3, timeout=WAIT_MS)
        expect(content(notebook, LLM).get_by_text("def", exact=True)).to_have_css("font-weight", "700", timeout=WAIT_MS)
        assert any(token.text == "fine" and token.is_slanted for token in tokens(notebook, LLM))
        expect(language(notebook, "sandbox")).to_have_count(1)
