"""What axe-core finds wrong with a part of a page. It comes with the packages that build the JupyterLab extension, and is not shipped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page

AXE = Path(__file__).resolve().parent.parent.parent / "labextension" / "node_modules" / "axe-core" / "axe.min.js"
# WCAG 2.2 A and AA, and what axe's makers hold for good practice.
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def violations(page: Page, selector: str) -> list[str]:
    """One line for each element in `selector` that breaks a rule."""
    if not AXE.is_file():
        assert os.environ.get("CI", "").lower() != "true", f"{AXE} is missing"
        pytest.skip("axe-core is not there: python labextension/build.py check")
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE.read_text())
    found = page.evaluate(
        """async ([selector, rules]) => {
            const { violations } = await window.axe.run(selector, { runOnly: rules, resultTypes: ['violations'] });
            return violations.flatMap(({ id, nodes }) => nodes.map(node => `${id}: ${node.html.slice(0, 200)} ${node.failureSummary}`));
        }""",
        [selector, RULES],
    )
    return [str(line) for line in found]
