"""The table of docs/security.md that says which checks prove each line: `python -m gleitzeit_nb.sandbox.selfcheck.page FILE` renews it."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from gleitzeit_nb.sandbox.selfcheck.catalogue import CHECKS
from gleitzeit_nb.sandbox.selfcheck.check import Check, Form

BEGIN, END = "<!-- checks: begin -->", "<!-- checks: end -->"
FORMS: tuple[Form, ...] = ("docker", "restricted", "weaker", "local")


def anchors(page: str) -> list[str]:
    """The lines that promise something, in their order."""
    return re.findall(r'<a id="([\w-]+)"></a>', page)


def table(page: str) -> str:
    """A row per line of promise: how many checks hold for each form of a mode, and their names."""
    rows = ["| line | containers | restricted | weaker | local | checks |", "|---|--:|--:|--:|--:|---|"]
    for anchor in anchors(page):
        checks = [check for check in CHECKS if check.proves == anchor]
        counts = " | ".join(_count(checks, form) for form in FORMS)
        names = ", ".join(f"`{check.name}`" for check in checks)
        rows.append(f"| [{anchor}](#{anchor}) | {counts} | {names} |")
    return "\n".join(rows)


def _count(checks: Sequence[Check], form: Form) -> str:
    return str(sum(form in check.forms for check in checks) or "–")


def renewed(page: str) -> str:
    """The page with its table as it should be. ValueError where it has no place for one."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{table(page)}\n\n{END}{after}"


def main(arguments: Sequence[str]) -> int:
    for name in arguments:
        path = Path(name)
        path.write_text(renewed(path.read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
