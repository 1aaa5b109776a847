"""A saved notebook of hostile answers, names and outputs, exported by nbconvert as it is: no page of it may act."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.jupyter.html_check import Page
from tests.support.fake_ollama import FakeOllama
from tests.support.kernel import Kernel, Run, instances, running_kernel, serving

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
nbconvert = pytest.importorskip("nbconvert", reason="nbconvert is not installed")
bs4 = pytest.importorskip("bs4", reason="beautifulsoup4 is not installed")

HOSTILE = """<script>alert(1)</script> <img src=x onerror=alert(1)> ![a](http://e.invalid/a.png) [b](javascript:alert(1))

`$$` <div onclick=x> `$$` `<script>alert(2)</script>` $\\href{javascript:alert(1)}{x}$

- a

  ```html
  <script>alert(3)</script>
  ```

```mermaid
graph TD; A-->B
```

| <b>a</b> | `<i>` |
|---|---|
| <style>*{display:none}</style> | \x1b[31m\u202e |
"""


@pytest.fixture(scope="module")
def kernel(project_root: Path) -> Iterator[Kernel]:
    with serving(FakeOllama("north", tokens=lambda _body: [HOSTILE])) as server, running_kernel(project_root, instances(server)) as running:
        yield running


def saved(run: Run) -> list[Any]:
    """The outputs as a front end saves them: an updated display replaces the one before."""
    outputs: list[Any] = []
    for _, message in run.messages:
        kind = message["msg_type"]
        if kind == "update_display_data":
            outputs[-1] = nbformat.v4.output_from_msg({**message, "header": {**message["header"], "msg_type": "display_data"}})
        elif kind in ("display_data", "execute_result", "stream", "error"):
            outputs.append(nbformat.v4.output_from_msg(message))
    return outputs


def exported(*runs: Run) -> list[str]:
    """The markup of every output area in nbconvert's default page."""
    book = nbformat.v4.new_notebook()
    book.cells = [nbformat.v4.new_code_cell("…", outputs=saved(run)) for run in runs]
    html, _ = nbconvert.HTMLExporter().from_notebook_node(book)
    return [area.decode_contents() for area in bs4.BeautifulSoup(html, "html.parser").select(".jp-OutputArea-output")]


def test_an_exported_answer_can_do_nothing(kernel: Kernel) -> None:
    areas = exported(kernel.run("%%llm\nhi"))
    assert len(areas) == 2
    found = [Page(area) for area in areas]
    assert [fault for page in found for fault in page.faults + page.math_faults() if not fault.startswith("<div style=")] == []
    assert "alert(1)" in "".join(found[0].visible)


def test_an_exported_failure_can_do_nothing(kernel: Kernel) -> None:
    areas = exported(kernel.run("%%llm -m '<script>alert(1)</script>'\nhi"), kernel.run("%%llm\n{'<script>alert(1)</script>'"))
    assert [fault for area in areas for fault in Page(area).faults] == []


def test_exported_sandbox_output_is_text(kernel: Kernel) -> None:
    code = (
        "import sys",
        "print('<script>alert(1)</script>\\x1b]8;;javascript:x\\x07')",
        "sys.stderr.write('<img src=x>')",
        "raise ValueError('<b>')",
    )
    run = kernel.run("\n".join(("%%sandbox --no-fail", *code)))
    if run.error:
        pytest.skip(f"no sandbox can be had here: {run.error['evalue']}")
    faults = [fault for area in exported(run) for fault in Page(area).faults if not fault.startswith("<div style=")]
    assert faults == []
    assert "\x1b" not in run.stream("stdout")
