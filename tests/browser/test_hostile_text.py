"""Hostile answers, output and names in a real JupyterLab; in the notebook that it saves; and in pages that are made from that.

One notebook is filled once. Each test looks at one of its forms: as it ran, reopened, exported by nbconvert, as the demo's page.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, Locator, Route, expect

from tests.support.fake_ollama import FakeOllama, status
from tests.support.hostile import ANSI, NAME, SHORT_NAME, Hostile, answers, pieces
from tests.support.kernel import serving
from tests.support.lab import LabServer, NotebookPage, running_lab
from tests.support.watched_page import ANSWER_TAGS, Trap, WatchedPage

WAIT_MS = 60_000
LONGEST_PAUSE_S = 5.0  # of the page, on a machine that is busy with other things
LONG = "\n\n".join(f"Sentence {number}: the quick brown fox jumps over the lazy dog." for number in range(3400))
ONE_LINE = "x" * 10_000_000
FORMULA = " mjx-container"
WORD_JOINER = "\u2060"

CODE = """%%sandbox --no-fail
import sys
class Value:
    def __repr__(self):
        return "value " + text
    def _repr_html_(self):
        return text
    _repr_markdown_ = _repr_latex_ = _repr_svg_ = _repr_javascript_ = _repr_html_
text = {text!r}
print("stdout", text)
print("stderr", text, file=sys.stderr)
Value()"""
FAILING_CODE = "%%sandbox\ntext = {text!r}\nraise type(text[:60], (Exception,), {{}})(text)"
LISTINGS = "%llm models\n%llm ps\n%gleitzeit status\n%gleitzeit config"
BAD_ID = "configure(ollama_config={'instances': [{'id': name, 'url': 'http://127.0.0.1:9'}]})"


@dataclass
class Filled:
    """The notebook after its cells ran, by their indices: those that show an answer, and the others by name."""

    notebook: NotebookPage
    path: Path
    cases: dict[int, Hostile] = field(default_factory=dict)
    others: dict[str, int] = field(default_factory=dict)

    def run(self, name: str, source: str) -> None:
        """A cell that may fail."""
        self.others[name] = cell = self.notebook.add(source)
        self.notebook.start(cell)
        self.notebook.wait_for_end(cell)


@pytest.fixture(scope="module")
def trap() -> Iterator[Trap]:
    with Trap.set() as waiting:
        yield waiting


@pytest.fixture(scope="module")
def server() -> Iterator[FakeOllama]:
    with serving(FakeOllama("hostile", ["llama3.2:latest", f"{NAME}:latest", f"b{ANSI}:latest"], token_s=0.002)) as listening:
        yield listening


@pytest.fixture(scope="module")
def spare() -> Iterator[FakeOllama]:
    with serving(FakeOllama("spare", [f"{NAME}:latest"])) as listening:
        yield listening


@pytest.fixture(scope="module")
def filled(server: FakeOllama, spare: FakeOllama, trap: Trap, lab: LabServer, watched: WatchedPage) -> Filled:
    instances = [{"id": each.id, "url": each.url, "tags": [NAME]} for each in (server, spare)]
    modes = {"restricted": {"allow_weaker": True}, "docker-hostile": {"type": "docker", "image": "no/such:image", "label": SHORT_NAME}}
    load = f"%load_ext gleitzeit_nb\nfrom gleitzeit_nb import configure\nname = {NAME!r}\n"
    load += f"configure(ollama_config={{'instances': {instances!r}}}, python_config={{'modes': {modes!r}}})"
    lab.write_notebook("hostile_text.ipynb", [load])
    notebook = NotebookPage(watched.page, lab, "hostile_text.ipynb")
    notebook.run(0)
    filled = Filled(notebook, lab.root / "hostile_text.ipynb")
    for case in answers(trap.url):
        server.tokens = lambda _body, text=case.text: pieces(text)  # type: ignore[misc]
        cell = notebook.add(f"%%llm -m llama3.2 -o kept\n{case.name}")
        notebook.run(cell)
        filled.cases[cell] = case
    _run_others(filled, server)
    notebook.save()
    return filled


def _run_others(filled: Filled, server: FakeOllama) -> None:
    """Names, errors, and output of the sandbox."""
    text = "\n".join([*(case.text for case in filled.cases.values()), ANSI])
    server.tokens = lambda _body: [{"thinking": text}, "hi"]
    filled.run("thoughts", "%%llm -m llama3.2 --instance hostile --think\nhi")
    server.tokens = lambda _body: [{"tool_calls": [{"function": {"name": text[:200], "arguments": {NAME: text}}}]}, "hi"]
    filled.run("tool calls", "def look(): ...")
    filled.run("tool calls", "%%llm -m llama3.2 --instance hostile --tools look --allow-tools look --max-rounds 1\nhi")
    filled.run("vectors", "%%llm -m llama3.2 --instance hostile --embed --raw\n" + text)
    server.tokens = lambda _body: ["hi"]
    filled.run("output", CODE.format(text=text))
    filled.run("failing code", FAILING_CODE.format(text=text))
    filled.run("hostile model", "%%llm -m {name} --instance hostile\nhi")
    filled.run("no such model", "%%llm -m {name}2\nhi")
    filled.run("no such option", "%%llm --deadline {name}\nhi")
    filled.run("no such instance", "%gleitzeit drain <img/src=x/onerror=__pwned=1>")
    filled.run("no such id", BAD_ID)
    server.faults = [status(400, text)]
    filled.run("rejected", "%%llm -m {name} --instance hostile\nhi")
    server.faults = [status(500, text)]
    filled.run("failed over", "%%llm -m {name} --prefer hostile\nhi")
    server.fault = status(500, text)
    filled.run("all failed", "%%llm -m {name} --instance hostile\nhi")
    server.fault = None
    _run_in_other_forms(filled, server, text)
    filled.run("hostile mode", "%%sandbox --mode docker-hostile\n1")
    filled.run("listings", LISTINGS)
    filled.run("dashboard", "%gleitzeit dashboard")
    expect(filled.notebook.output(filled.others["dashboard"]).locator(".gz-dash").first).to_be_visible(timeout=WAIT_MS)


def _run_in_other_forms(filled: Filled, server: FakeOllama, text: str) -> None:
    """The same answer in columns, as a job's output and value, as an explanation, and in a conversation with a hostile name."""
    server.tokens = lambda _body: pieces(text, 2000)
    filled.run("columns", "%%llm -m llama3.2 --instance hostile -n 2\nhi")
    filled.run("failing columns", "%%llm -m {name}2 --instance hostile -n 2\nhi")
    filled.run("job", "%%llm -m llama3.2 --instance hostile --bg -o job\nhi {name}")
    filled.run("job's value", "job.result(60)\njob")
    filled.run("job of code", f"%%sandbox --bg --no-fail -o code\ntext = {text!r}\nprint(text)\nraise ValueError(text)")
    filled.run("end of that job", "import contextlib\nwith contextlib.suppress(Exception): code.result(60)\ncode")
    filled.run("jobs", "%llm jobs")
    filled.run("error", f"text = {text!r}\nraise type('Bad' + name[:40], (Exception,), {{}})(text)")
    filled.run("explanation", "%llm fix -m llama3.2 --instance hostile --ask {name}")
    filled.run("what is sent", "%llm fix --show")
    filled.run("no such thread", "%%llm -m llama3.2 --thread {name}\nhi")
    filled.run("thread", "%%llm -m llama3.2 --instance hostile --thread talk\n{name}")
    filled.run("history", "%llm history talk")
    filled.run("no such session", "%%sandbox --session {name}\n1")
    filled.run("receipts", "%llm receipts")
    server.tokens = lambda _body: ["hi"]


def shown(region: Locator) -> str:
    """What a reader sees who scrolls there, without regard to line ends: what is out of sight has no text."""
    region.first.scroll_into_view_if_needed()
    expect(region.first).not_to_have_text("", use_inner_text=True, timeout=WAIT_MS)
    return " ".join(" ".join(region.all_inner_texts()).replace(WORD_JOINER, "").split())


def assert_answers_are_text(filled: Filled, output_of: Callable[[int], Locator]) -> None:
    missing = {}
    for cell, case in filled.cases.items():
        region = output_of(cell).locator(".jp-RenderedMarkdown")
        expect(region).to_have_count(1, timeout=WAIT_MS)
        assert WatchedPage.faults(region, ANSWER_TAGS + FORMULA) == [], case.name
        text = shown(region)
        words = (f"first-{case.name}", f"last-{case.name}", *case.seen)
        missing[case.name] = [word for word in words if " ".join(word.split()) not in text]
    assert {name: words for name, words in missing.items() if words} == {}


def assert_others_are_text(filled: Filled, output_of: Callable[[int], Locator], *, in_lab: bool = False) -> None:
    """JupyterLab makes links of addresses and paths in printed text, whoever printed it."""
    outputs = {name: output_of(cell).locator(".jp-OutputArea-output") for name, cell in filled.others.items()}
    found = {name: WatchedPage.faults(output, links_in="pre" if in_lab else "") for name, output in outputs.items()}
    assert {name: faults for name, faults in found.items() if faults} == {}


def test_in_the_running_notebook_everything_stays_text(filled: Filled, watched: WatchedPage, lab: LabServer, trap: Trap) -> None:
    assert_answers_are_text(filled, filled.notebook.output)
    assert_others_are_text(filled, filled.notebook.output, in_lab=True)
    assert watched.acted() == {}
    assert watched.foreign(lab.url) == []
    assert trap.visits == []


def test_links_that_jupyterlab_finds_in_output_run_nothing(filled: Filled, watched: WatchedPage) -> None:
    output = filled.notebook.output(filled.others["output"])
    links = output.locator("pre a[href^='data:']")
    assert links.count() > 0
    for number in range(links.count()):
        links.nth(number).click()
    assert [page.url for page in watched.page.context.pages if page.url.startswith("data:")] == []
    assert watched.acted() == {}


def test_output_of_the_sandbox_is_shown_as_it_was_printed(filled: Filled) -> None:
    text = shown(filled.notebook.output(filled.others["output"]))
    for name in ("stdout", "stderr", "value"):
        assert f"{name} first-elements <script>" in text
    assert "red ␛]0;owned␇ ␛]8;;javascript:alert(1)" in text
    assert shown(filled.notebook.output(filled.others["failing code"])).count("last-elements") >= 1


def test_thoughts_are_collapsed_and_open_as_they_were_written(filled: Filled) -> None:
    thoughts = filled.notebook.output(filled.others["thoughts"]).locator("details")
    expect(thoughts).to_have_count(1)
    assert thoughts.locator("pre").is_hidden()
    thoughts.locator("summary").click()
    text = shown(thoughts.locator("pre"))
    assert "first-elements <script>" in text
    assert "␛]0;owned␇" in text
    thoughts.locator("summary").click()


def test_calls_and_vectors_show_hostile_words_as_they_are(filled: Filled) -> None:
    assert "failed: first-elements <script>" in shown(filled.notebook.output(filled.others["tool calls"]))
    assert "<img src=x onerror=" in shown(filled.notebook.output(filled.others["vectors"]))


def test_columns_jobs_and_explanations_show_hostile_words_as_they_are(filled: Filled) -> None:
    for name in ("columns", "job", "job's value", "explanation"):
        assert "first-elements <script>" in shown(filled.notebook.output(filled.others[name])), name
    assert shown(filled.notebook.output(filled.others["columns"])).count("last-unclosed") == 2
    assert "stdout" not in shown(filled.notebook.output(filled.others["end of that job"]))
    assert "first-elements <script>" in shown(filled.notebook.output(filled.others["end of that job"]))
    assert "<img src=x onerror=" in shown(filled.notebook.output(filled.others["history"]))


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("no such model", "ModelNotFoundError"),
        ("no such option", "UsageError"),
        ("no such instance", "UsageError"),
        ("rejected", "RequestRejectedError"),
        ("all failed", "AllInstancesFailedError"),
        ("hostile mode", "ImageMissingError|SandboxUnavailableError"),
        ("failing code", "RunFailedError"),
    ],
)
def test_an_error_with_hostile_words_is_short_text(filled: Filled, name: str, error: str) -> None:
    lines = filled.notebook.error(filled.others[name])
    assert lines[0].split(":")[0] in error.split("|")
    assert len(lines) <= 6, lines


def test_an_instance_cannot_have_a_hostile_id(filled: Filled) -> None:
    assert any(line.startswith("ConfigError: ") for line in filled.notebook.error(filled.others["no such id"]))


def test_names_are_shown_as_they_are(filled: Filled) -> None:
    for name in ("hostile model", "no such model", "listings", "dashboard"):
        assert "<img src=x onerror=" in shown(filled.notebook.output(filled.others[name])), name


def test_the_reopened_notebook_is_trusted_and_still_harmless(filled: Filled, browser: Browser, lab: LabServer, trap: Trap) -> None:
    with WatchedPage.opened(browser) as again:
        notebook = NotebookPage(again.page, lab, filled.path.name)
        trusted = again.page.evaluate("() => window.jupyterapp.shell.currentWidget.content.widgets.map(cell => cell.model.trusted)")
        assert all(trusted)
        assert_answers_are_text(filled, notebook.output)
        assert_others_are_text(filled, notebook.output, in_lab=True)
        assert again.acted() == {}
        assert again.foreign(lab.url) == []
        assert trap.visits == []


def test_notebook_7_shows_the_same_and_does_nothing_else(filled: Filled, browser: Browser, lab: LabServer, trap: Trap) -> None:
    with running_lab(lab.root, {}, "notebook") as seven, WatchedPage.opened(browser) as page:
        notebook = NotebookPage(page.page, seven, filled.path.name)
        assert_answers_are_text(filled, notebook.output)
        assert_others_are_text(filled, notebook.output, in_lab=True)
        # The dashboard's widget ended with the kernel that is not this server's: its picture stands in its place.
        dashboard = notebook.output(filled.others["dashboard"])
        expect(dashboard.locator(".gz-StillDashboard .gz-dash caption", has_text="Ollama instances")).to_be_visible(timeout=WAIT_MS)
        expect(dashboard.get_by_text("Error displaying widget")).to_be_hidden()
        acted = {**page.acted(), "errors": [error for error in page.errors if "widget model not found" not in error]}
        assert {name: sign for name, sign in acted.items() if sign} == {}
        assert page.foreign(seven.url) == []
        assert trap.visits == []


# -- pages made from the saved notebook ---------------------------------------------------------------------------------------


def nbconverted(notebook: nbformat.NotebookNode) -> str:
    from nbconvert import HTMLExporter

    return str(HTMLExporter().from_notebook_node(notebook)[0])


def demo_page(notebook: nbformat.NotebookNode) -> str:
    from notebooks.demo import page

    return page(notebook)


def without_outputs(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    bare = copy.deepcopy(notebook)
    for cell in bare.cells:
        cell.outputs = []
    return bare


def opened_file(page: WatchedPage, path: Path, html: str) -> WatchedPage:
    """The page as a file without a network: what it asks for is noted and refused."""

    def refuse(route: Route) -> None:
        route.abort()

    path.write_text(html, encoding="utf-8")
    page.page.route("http*://**", refuse)
    page.page.goto(path.as_uri(), timeout=WAIT_MS)
    return page


@pytest.mark.parametrize("made_by", [nbconverted, demo_page])
def test_a_page_made_from_it_is_harmless(
    filled: Filled, browser: Browser, trap: Trap, tmp_path: Path, made_by: Callable[[nbformat.NotebookNode], str]
) -> None:
    saved = nbformat.read(filled.path, as_version=4)
    with WatchedPage.opened(browser) as plain:
        opened_file(plain, tmp_path / "plain.html", made_by(without_outputs(saved)))
        own = plain.faults(plain.page.locator("html"))
    with WatchedPage.opened(browser) as page:
        opened_file(page, tmp_path / "page.html", made_by(saved))

        def output_of(cell: int) -> Locator:
            return page.page.locator(".jp-CodeCell").nth(cell).locator(".jp-Cell-outputWrapper")

        assert_answers_are_text(filled, output_of)
        assert_others_are_text(filled, output_of)
        assert page.faults(page.page.locator("html")) == own
        assert page.acted() == {}
        assert set(page.foreign("file:")) <= set(plain.foreign("file:"))
        assert trap.visits == []
    if made_by is demo_page:
        assert plain.foreign("file:") == []


# -- much text ----------------------------------------------------------------------------------------------------------------


def test_an_answer_of_200_kb_loses_nothing(filled: Filled, server: FakeOllama) -> None:
    server.fault = None
    server.tokens = lambda _body: pieces(LONG, 250)
    cell = filled.notebook.add("%%llm -m llama3.2 -o long --instance hostile\nlong")
    filled.notebook.run(cell)
    assert shown(filled.notebook.output(cell).locator(".jp-RenderedMarkdown")) == " ".join(LONG.split())


def test_ten_megabytes_in_one_line_leave_the_page_responsive(filled: Filled, server: FakeOllama) -> None:
    server.fault = None
    server.tokens = lambda _body: pieces(ONE_LINE, 50_000)
    notebook = filled.notebook
    cell = notebook.add("%%llm -m llama3.2 -o line --instance hostile\nline")
    notebook.page.evaluate(
        """() => {
            window.gzPause = 0;
            let before = performance.now();
            setInterval(() => {
                const now = performance.now();
                window.gzPause = Math.max(window.gzPause, now - before);
                before = now;
            }, 20);
        }"""
    )
    notebook.run(cell)
    text = shown(notebook.output(cell).locator(".jp-RenderedMarkdown"))
    longest_pause_s = notebook.page.evaluate("() => window.gzPause") / 1000
    print(f"the page's longest pause: {longest_pause_s:.2f} s")
    assert longest_pause_s < LONGEST_PAUSE_S
    assert text.count("x") > 200_000
    assert "more characters are not shown here" in text
    after = notebook.add("print(len(line.text))")
    notebook.run(after)
    expect(notebook.output(after)).to_have_text(str(len(ONE_LINE)))
