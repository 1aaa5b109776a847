"""The daemon with an image, and each mode behind one callable."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gleitzeit_nb.core.execution import DOCKER_MODE
from gleitzeit_nb.errors import ImageMissingError
from gleitzeit_nb.sandbox import Sandbox, images
from tests.sandbox.subprocess_channel import SubprocessLauncher


@pytest.fixture(scope="session")
def docker_image(docker_daemon: Any) -> str:
    """The image that code runs in; made where this machine can make it."""
    try:
        return finished(images.default_image)
    except ImageMissingError as exc:
        if os.geteuid() != 0 or not shutil.which("debootstrap"):
            pytest.skip(f"{exc} (as root, with debootstrap)")
    return finished(images.build)


def finished(make: Callable[[], Coroutine[Any, Any, str]]) -> str:
    """On a loop and thread of its own: asynchronous fixtures ask for this one while theirs is running."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(make())).result()


@pytest_asyncio.fixture
async def docker_sandbox(docker_image: str) -> AsyncIterator[Sandbox]:
    async with Sandbox({"default_mode": DOCKER_MODE}) as sandbox:
        yield sandbox


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[SubprocessLauncher]:
    """Real guests without isolation; what a test leaves running is ended."""
    made = SubprocessLauncher(tmp_path)
    yield made
    for channel in made.channels:
        if channel.process.returncode is None:
            channel.process.kill()
