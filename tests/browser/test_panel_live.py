"""The side panel on the real thing: the extension in a kernel, and two embedded instances with the real small model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.support.lab import NotebookPage
from tests.support.model import model_cache

__all__ = ["model_cache"]

WAIT_MS = 60_000

INSTANCES = """
from gleitzeit_nb import EmbeddedInstance, configure
north, south = EmbeddedInstance.launch("north"), EmbeddedInstance.launch("south")
configure(ollama_config={"instances": [north.instance, south.instance]})
"""
ASK = "%%llm -m smollm2:135m --prefer north --no-stream --option temperature=0 --option num_predict=8\nName three colors."
UNTIL_DRAINED = """
import time
from gleitzeit_nb.runtime import current_runtime
def draining():
    return [view.id for view in current_runtime().engine.snapshot().instances if view.draining]
end = time.monotonic() + 60  # so that a second try finds a kernel that is free
while not draining() and time.monotonic() < end: time.sleep(0.05)
print("the panel drained", draining())
"""
LOSE = "north.kill()"
STOP = "south.stop()"


@pytest.fixture(scope="module")
def lab_environment(model_cache: Path) -> dict[str, str]:
    return {"GLEITZEIT_CACHE_DIR": str(model_cache)}


def test_the_button_loads_the_extension(open_notebook: Callable[[list[str]], NotebookPage]) -> None:
    notebook = open_notebook(["print('get_ipython' in globals(), 'llm' in get_ipython().magics_manager.magics['cell'])"])
    panel = notebook.show_panel()
    panel.get_by_role("button", name="Load gleitzeit_nb").click(timeout=WAIT_MS)
    expect(panel.get_by_text("Nothing asked yet")).to_be_visible(timeout=WAIT_MS)
    assert notebook.source(0) == "%load_ext gleitzeit_nb"  # as a cell of the notebook, which the next start runs too
    notebook.run(1)
    expect(notebook.output(1)).to_contain_text("True True")


def test_the_panel_shows_and_steers_real_instances(open_notebook: Callable[[list[str]], NotebookPage]) -> None:
    notebook = open_notebook(["%load_ext gleitzeit_nb", INSTANCES, ASK, LOSE, ASK, UNTIL_DRAINED, STOP])
    panel = notebook.show_panel()
    north, south = (panel.locator(f"[data-instance={name}]") for name in ("north", "south"))
    for cell in (0, 1, 2):
        notebook.run(cell)
    expect(north).to_contain_text("OK", timeout=WAIT_MS)
    expect(south).to_contain_text("OK", timeout=WAIT_MS)
    expect(panel.locator(".gz-Instances")).to_contain_text("smollm2:135m", timeout=WAIT_MS)
    notebook.run(3)
    notebook.run(4)
    expect(panel.locator(".gz-Failovers")).to_contain_text("north → south", timeout=WAIT_MS)
    notebook.start(5)  # ends only when the panel's command has come in while it runs
    expect(panel.get_by_text("kernel busy")).to_be_visible(timeout=WAIT_MS)
    panel.get_by_role("button", name="Actions for south").press("Enter")  # the row above changes its height meanwhile
    notebook.page.locator(".lm-Menu-itemLabel", has_text="Drain south").click()
    expect(south).to_contain_text("Draining", timeout=WAIT_MS)
    expect(notebook.output(5)).to_contain_text("the panel drained ['south']", timeout=WAIT_MS)
    notebook.run(6)
