"""The dashboard: what it gives to which reader; and in a real kernel, that it moves while a cell blocks and is steered meanwhile."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gleitzeit_nb.jupyter.dashboard.live import WIDGET_VIEW, Dashboard
from tests.support.fake_ollama import FakeOllama
from tests.support.front_end import FrontEnd
from tests.support.kernel import TRAFFIC, instances, running_kernel, serving
from tests.support.shell import Shell
from tests.support.snapshots import HOSTILE, hostile

pytest.importorskip("ipykernel", reason="ipykernel is not installed")

VIEW = "application/vnd.jupyter.widget-view+json"
DRAINED = """
import time
from gleitzeit_nb.runtime import get_runtime
end = time.monotonic() + 50
def draining():
    return [view.id for view in get_runtime().engine.snapshot().instances if view.draining]
while not draining() and time.monotonic() < end:
    time.sleep(0.02)
print("drained", draining())
"""


def widgets() -> dict[str, Any]:
    """Every widget of this process that was not closed."""
    import ipywidgets

    found: dict[str, Any] = dict(ipywidgets.widgets.widget._instances)
    return found


def test_a_terminal_gets_text_alone_and_nothing_is_watched(shell: Shell) -> None:
    dashboard = Dashboard(shell.runtime, in_kernel=False)
    assert set(dashboard._repr_mimebundle_()) == {"text/plain"}
    assert dashboard._repr_mimebundle_()["text/plain"].startswith("Pool: 3 up, 1 down\n")
    assert shell.engine.watched == 0
    assert repr(dashboard).startswith("<Dashboard live: 3 of 4 instances up")
    dashboard.close()


def test_several_dashboards_live_beside_each_other_and_end_alone(shell: Shell) -> None:
    one, two = Dashboard(shell.runtime, in_kernel=True), Dashboard(shell.runtime, in_kernel=True)
    models = {each._repr_mimebundle_()[VIEW]["model_id"] for each in (one, two)}
    assert len(models) == 2
    assert shell.engine.watched == 2
    one.close()
    one.close()
    assert (one.closed, two.closed, shell.engine.watched) == (True, False, 1)
    assert set(one._repr_mimebundle_()) == {"text/plain", "text/html"}, "what was closed is still a picture"
    two.close()
    assert shell.engine.watched == 0


def test_hostile_names_reach_the_widgets_as_text(shell: Shell) -> None:
    shell.engine.show(hostile())
    dashboard = Dashboard(shell.runtime, in_kernel=True)
    bundle = dashboard._repr_mimebundle_()
    state = {model: widget.get_state() for model, widget in widgets().items()}
    assert bundle[VIEW]["model_id"] in state
    texts = [str(each.get("value")) for each in state.values() if each["_view_name"] == "HTMLView"]
    assert any("&lt;script&gt;" in text for text in texts)
    assert not any(HOSTILE in text or "<script" in text or "<img" in text for text in texts)
    dashboard.close()


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[FakeOllama, FakeOllama]]:
    with serving(FakeOllama("north", token_s=0.05)) as north, serving(FakeOllama("south", token_s=0.05)) as south:
        yield north, south


@pytest.fixture
def front_end(servers: tuple[FakeOllama, FakeOllama], project_root: Path) -> Iterator[FrontEnd]:
    with running_kernel(project_root, instances(*servers)) as kernel:
        yield FrontEnd(kernel)


@pytest.fixture
def picture(front_end: FrontEnd) -> str:
    """A dashboard is shown: the comm of its picture."""
    front_end.run("%gleitzeit dashboard")
    made = [
        h.content["comm_id"]
        for h in front_end.heard
        if h.kind == "comm_open" and h.content["data"].get("state", {}).get("_view_name") == "HTMLView"
    ]
    [comm] = [comm for comm in made if any("gz-live" in h.content["data"]["state"]["value"] for h in front_end.values(comm))]
    return str(comm)


def test_it_is_shown_as_a_widget_as_html_and_as_text(front_end: FrontEnd) -> None:
    name = front_end.start("%gleitzeit dashboard")
    front_end.until(lambda: front_end.ended(name), "the dashboard")
    data = front_end.result(name)
    assert data["text/plain"].startswith("Pool: 2 up\n")
    assert "Ollama instances" in data["text/plain"]
    assert "<table>" in data["text/html"]
    assert "2 of 2 instances up" in data["text/html"]
    assert front_end.widget(_view_name="VBoxView") == data[VIEW]["model_id"]


def test_it_moves_while_a_cell_blocks_four_times_a_second_at_most(front_end: FrontEnd, picture: str) -> None:
    front_end.run(TRAFFIC)
    before = len(front_end.values(picture))
    name = front_end.start("done = runtime.submit(traffic(3)); time.sleep(3)")
    front_end.until(lambda: front_end.ended(name), "the blocking cell")
    during = front_end.values(picture)[before:]
    took = during[-1].at - during[0].at
    assert len(during) >= 5, "in three busy seconds"
    assert len(during) <= 4 * took + 2
    shown = [h.content["data"]["state"]["value"] for h in during]
    assert any(re.search(r"[1-9]\d* in flight", markup) for markup in shown)


def test_the_same_picture_is_never_sent_twice(front_end: FrontEnd, picture: str) -> None:
    front_end.run(f"{TRAFFIC}\nruntime.call(traffic(1))")
    front_end.listen(2)
    shown = [h.content["data"]["state"]["value"] for h in front_end.values(picture)]
    assert len(shown) > 2
    assert all(one != other for one, other in pairwise(shown))


def test_a_tick_is_one_message(front_end: FrontEnd, picture: str) -> None:
    front_end.run(TRAFFIC)
    begun = time.monotonic()
    front_end.run("runtime.call(traffic(1.5))")
    messages = [h for h in front_end.heard if h.at > begun and h.kind == "comm_msg"]
    assert {h.content["comm_id"] for h in messages} == {picture}
    assert all(set(h.content["data"]["state"]) == {"value"} for h in messages)


def test_its_buttons_work_while_a_cell_runs(front_end: FrontEnd, picture: str) -> None:
    if front_end.subshell is None:
        pytest.skip("this ipykernel has no subshells: clicks wait for the end of the cell")
    name = front_end.start(DRAINED)
    front_end.until(lambda: any(h.parent == name and h.kind == "execute_input" for h in front_end.heard), "the cell to run")
    front_end.set(front_end.widget(description="Instance"), index=1)
    front_end.click(front_end.widget(description="Drain"))
    front_end.until(lambda: front_end.ended(name), "the cell that waits for the click")
    assert any(h.parent == name and h.content.get("text") == "drained ['south']\n" for h in front_end.heard)
    front_end.until(lambda: "Draining" in front_end.values(picture)[-1].content["data"]["state"]["value"], "the picture to show it")
    front_end.click(front_end.widget(description="Resume"))
    front_end.until(lambda: "Draining" not in front_end.values(picture)[-1].content["data"]["state"]["value"], "the picture after resume")


def test_pause_holds_the_picture_still_and_says_so(front_end: FrontEnd, picture: str) -> None:
    front_end.run(TRAFFIC)
    pause = front_end.widget(description="Pause")
    front_end.set(pause, value=True)
    front_end.until(lambda: ">paused<" in front_end.values(picture)[-1].content["data"]["state"]["value"], "the word paused")
    held = len(front_end.values(picture))
    front_end.run("runtime.call(traffic(1.2))")
    front_end.listen(0.6)
    assert len(front_end.values(picture)) == held
    front_end.set(pause, value=False)
    front_end.until(lambda: ">live<" in front_end.values(picture)[-1].content["data"]["state"]["value"], "the word live")


def test_asked_for_twice_it_is_the_same_widgets(front_end: FrontEnd, picture: str) -> None:
    name = front_end.start("%gleitzeit dashboard")
    front_end.until(lambda: front_end.ended(name), "the second view")
    assert front_end.result(name)[VIEW]["model_id"] == front_end.widget(_view_name="VBoxView")
    assert [h.kind for h in front_end.heard if h.parent == name and h.kind == "comm_open"] == []


def test_an_end_of_the_engine_is_told_and_a_new_dashboard_follows_the_next_engine(front_end: FrontEnd, picture: str) -> None:
    front_end.run("from gleitzeit_nb.runtime import get_runtime; get_runtime().close()")
    assert ">stopped<" in front_end.values(picture)[-1].content["data"]["state"]["value"]
    name = front_end.start("%gleitzeit dashboard")
    front_end.until(lambda: front_end.ended(name), "the next dashboard")
    assert front_end.result(name)[VIEW]["model_id"] == front_end.widget(_view_name="VBoxView")
    front_end.run(f"{TRAFFIC}\nruntime.call(traffic(1))")


def test_unloading_takes_it_away(front_end: FrontEnd, picture: str) -> None:
    front_end.run("%unload_ext gleitzeit_nb")
    front_end.listen(0.5)
    made = {h.content["comm_id"] for h in front_end.heard if h.kind == "comm_open"}
    closed = {h.content["comm_id"] for h in front_end.heard if h.kind == "comm_close"}
    pictures = {comm for comm in made if comm == picture or front_end.values(comm)}
    assert picture in closed
    assert pictures <= closed
    assert front_end.run("import threading; print([t.name for t in threading.enumerate() if 'gleitzeit' in t.name])") == "[]\n"


def test_an_exported_page_shows_the_still_picture(shell: Shell) -> None:
    """The widget stands beside it in the saved notebook, without its state."""
    nbformat = pytest.importorskip("nbformat")
    nbconvert = pytest.importorskip("nbconvert")
    bundle = Dashboard(shell.runtime, in_kernel=True)._repr_mimebundle_()
    assert WIDGET_VIEW in bundle
    output = nbformat.v4.new_output("display_data", bundle)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("%gleitzeit dashboard", outputs=[output])])
    page, _ = nbconvert.HTMLExporter().from_notebook_node(notebook)
    assert 'aria-label="Gleitzeit dashboard"' in page
    assert "gpu-1" in page
    assert "widget-view" not in page
