"""What Binder does with `binder/`, as an ordinary user in an environment of its own; only conda's part is left out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Page, expect

from tests.support.lab import READY_MS, LabServer, NotebookPage, running_lab

USER_ID = 54321  # nobody's; when the suite runs as an ordinary user, that one is it
STORY_MS = 420_000
NOTEBOOK = "notebooks/01_quickstart.ipynb"


class Image(NamedTuple):
    """What would be Binder's image: the repository's files, built by postBuild. `as_user`: begins a command of the ordinary user."""

    repository: Path
    environment: dict[str, str]
    as_user: list[str]


@pytest.fixture(scope="module")
def image(project_root: Path) -> Iterator[Image]:
    root = Path(tempfile.mkdtemp(prefix="gleitzeit-binder-"))  # not below pytest's folder, which is closed to other users
    try:
        yield _built(project_root, root)
    finally:
        shutil.rmtree(root)


def _built(project_root: Path, root: Path) -> Image:
    repository, home = root / "repository", root / "home"
    tracked = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in filter(None, subprocess.run(tracked, cwd=project_root, check=True, capture_output=True, text=True).stdout.split("\0")):
        if (project_root / name).exists():
            (repository / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(project_root / name, repository / name)
    home.mkdir()
    python, as_user = sys.executable, []
    if os.geteuid() == 0:
        python, as_user = "/usr/bin/python3", ["setpriv", f"--reuid={USER_ID}", f"--regid={USER_ID}", "--clear-groups"]
    subprocess.run([python, "-m", "venv", "--without-pip", root / "python"], check=True)
    subprocess.run([sys.executable, "-m", "pip", "--python", root / "python" / "bin" / "python", "install", "--quiet", "pip"], check=True)
    if as_user:
        subprocess.run(["chown", "-R", f"{USER_ID}:{USER_ID}", root], check=True)
    dropped = ("XDG_", "GLEITZEIT", "JUPYTER", "IPYTHON", "VIRTUAL_ENV", "DOCKER")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    environment |= {"HOME": str(home), "PATH": f"{root}/python/bin:/usr/bin:/bin", "DOCKER_HOST": f"unix://{root}/no-docker"}
    build = [*as_user, "bash", "binder/postBuild"]
    built = subprocess.run(build, cwd=repository, env=environment, check=False, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return Image(repository, environment, as_user)


@pytest.fixture
def started(image: Image) -> Iterator[LabServer]:
    """Asked for before the page, which must be gone before its server is."""
    outside = {name: "" for name in os.environ if name.startswith(("XDG_", "GLEITZEIT", "JUPYTER", "IPYTHON"))}
    start = [*image.as_user, "bash", "binder/start", "jupyter-lab"]
    with running_lab(image.repository, {**outside, **image.environment}, start=start) as lab:
        yield lab


@pytest.mark.timeout(900)
def test_a_visitor_finds_the_quickstart_that_runs_and_the_panel_that_shows_it(started: LabServer, page: Page) -> None:
    notebook = NotebookPage(page, started, NOTEBOOK)
    panel = notebook.show_panel()
    expect(panel).to_contain_text("Load gleitzeit_nb", timeout=READY_MS)
    notebook.execute("notebook:run-all-cells")
    table = panel.get_by_role("table", name="Ollama instances")
    expect(table.get_by_role("rowheader", name="north")).to_be_visible(timeout=READY_MS)
    cells = "window.jupyterapp.shell.currentWidget.content.widgets"
    last = page.evaluate(f"() => {cells}.findLastIndex(cell => cell.model.type === 'code')")
    notebook.output(last).get_by_text("alive: []").wait_for(timeout=STORY_MS)
    assert [line for cell in range(last) for line in notebook.error(cell)] == []
    assert page.locator(".jp-OutputArea-output").get_by_text("restricted ·").count() > 3  # each footer says what isolated it
