"""The whole demo on the real small model; the sandbox as this machine has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.demo.demo_run import DemoRun
from tests.support.model import model_cache, smollm2_weights

__all__ = ["model_cache", "smollm2_weights"]


@pytest.fixture
def start(tmp_path: Path, smollm2_weights: Path) -> Iterator[Callable[..., DemoRun]]:
    """Starts the demo; whatever of it is left at the test's end is killed."""
    runs: list[DemoRun] = []

    def begin(**environment: str) -> DemoRun:
        folder = tmp_path / f"run{len(runs)}"
        folder.mkdir()
        runs.append(DemoRun(folder, **environment))
        return runs[-1]

    yield begin
    for run in runs:
        run.kill()
