"""The notebooks run with the demo's configuration, and show final answers only: nbval cannot compare a display that is updated."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

CONFIGURATION = Path(__file__).with_name("demo.yaml")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup() -> Generator[None, None, None]:
    """The first cell's set-up starts the notebook's kernel, which inherits these."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLEITZEIT_CONFIG", str(CONFIGURATION))
        patch.setenv("GLEITZEIT_NB_STREAM", "0")
        return (yield)
