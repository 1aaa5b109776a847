"""Every strategy has its page and its picture, and the picture is what the code does."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from gleitzeit_nb.core.strategies import STRATEGIES

PAGES = Path(__file__).resolve().parents[2] / "docs" / "strategies"


@pytest.fixture(scope="module")
def draw() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw", PAGES / "draw.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_that_of_the_code() -> None:
    page = (PAGES / "README.md").read_text()
    assert [line for name, each in STRATEGIES.items() if (line := f"| [`{name}`]({name}.md) | {each.doc} |") not in page] == []
    assert {path.stem for path in PAGES.glob("*.md")} == {*STRATEGIES, "README"}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_picture_is_what_the_code_does(draw: ModuleType, strategy: str) -> None:
    drawn = draw.picture(strategy)
    assert (PAGES / f"{strategy}.svg").read_text() == drawn, "python docs/strategies/draw.py draws it anew"
    assert f"({strategy}.svg)" in (PAGES / f"{strategy}.md").read_text()
