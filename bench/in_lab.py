"""What is measured in a real JupyterLab, in Chromium, with a real kernel."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from bench.promises import Promise
from tests.support.lab import CHROMIUM_FLAGS, LabServer, running_lab

CHROMIUM = "chromium"


async def measured_in_lab(what: str, measure: Callable[[LabServer, Page], Iterator[Promise]]) -> AsyncIterator[Promise]:
    """What `measure` finds on a page of a server that has no notebook yet. `what`: named where there is no browser."""
    if not shutil.which(CHROMIUM):
        print(f"{what}: not measured, there is no chromium")
        return
    promises = _measured(measure)
    with ThreadPoolExecutor(max_workers=1) as thread:  # Playwright's synchronous face wants one thread, without a loop
        while (promise := await asyncio.get_running_loop().run_in_executor(thread, next, promises, None)) is not None:
            yield promise


def _measured(measure: Callable[[LabServer, Page], Iterator[Promise]]) -> Iterator[Promise]:
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "notebooks"
        root.mkdir()
        lab = stack.enter_context(running_lab(root, {"XDG_CONFIG_HOME": str(root.parent / "settings")}))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=shutil.which(CHROMIUM), headless=True, args=list(CHROMIUM_FLAGS))
        stack.callback(browser.close)
        yield from measure(lab, browser.new_page(viewport={"width": 1400, "height": 900}))
