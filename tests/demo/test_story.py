"""The story as a newcomer sees it: told to its end, written down, and nothing left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.demo.demo_run import DemoRun

Start = Callable[..., DemoRun]


def test_the_demo_tells_the_whole_story_and_leaves_nothing_running(start: Start, chromium: str) -> None:
    run = start()
    assert run.end() == 0, run.text
    assert "runs as docker-sandbox" in run.text or "runs as restricted" in run.text
    for turning_point in ("answered by the survivor: True", "memory   oom", "forever  timeout", "ordered: [1.25, 2.0, 3.5]"):
        assert turning_point in run.text
    assert run.leftovers() == []
    page_file = run.folder / "01_quickstart.html"
    asked, text = opened_in_a_browser(page_file, chromium)
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert "<script" not in page_file.read_text().lower()
    assert "Name three colors" in text
    assert "ollama instances" in text.lower()
    written = run.text + (run.folder / "01_quickstart.ipynb").read_text() + page_file.read_text()
    assert "Bearer" not in written
    assert "api_key" not in written


def opened_in_a_browser(page_file: Path, chromium: str) -> tuple[list[str], str]:
    """(every address that the page asked for, its text)."""
    from playwright.sync_api import sync_playwright

    asked: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(page_file.as_uri())
        text = page.inner_text("body")
        browser.close()
    return asked, text


def test_without_docker_the_sandbox_is_restricted_and_the_demo_says_so(start: Start) -> None:
    run = start(DOCKER_HOST="unix:///nonexistent/docker.sock")
    assert run.end() == 0, run.text
    assert "no docker-sandbox:" in run.text
    assert "runs as restricted" in run.text


def test_where_no_sandbox_can_be_had_its_cells_show_the_refusal_and_the_demo_ends_well(start: Start, tmp_path: Path) -> None:
    strict = tmp_path / "strict.yaml"
    strict.write_text("python:\n  modes:\n    restricted: {enabled: false}\nollama:\n  model: smollm2:135m\n")
    run = start(DOCKER_HOST="unix:///nonexistent/docker.sock", GLEITZEIT_CONFIG=str(strict))
    assert run.end() == 0, run.text
    assert "none can be had here" in run.text
    assert "SandboxUnavailableError" in run.text
    assert "answered by the survivor: True" in run.text


def test_a_broken_configuration_is_named_before_anything_starts(start: Start, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("ollama:\n  instanzes: []\n")
    run = start(GLEITZEIT_CONFIG=str(broken))
    assert run.end() == 1
    assert "broken.yaml:2" in run.text
    assert "instances" in run.text
    assert "Traceback" not in run.text


@pytest.mark.parametrize("point", ["[2] from gleitzeit_nb import", "[9] victim"])
def test_an_interrupt_stops_everything_within_seconds(start: Start, point: str) -> None:
    run = start()
    run.until(point)
    run.interrupt()
    assert run.end(limit_s=10) == 130, run.text
    assert "Interrupted" in run.text
    assert run.leftovers() == []
