"""Lines that tell of an answer or a run without speaking as loud as it."""

from __future__ import annotations

import html
from collections.abc import Iterable

QUIET = "color:var(--jp-ui-font-color2,#616161);font-size:var(--jp-ui-font-size1,13px)"


def quiet_lines(lines: Iterable[str]) -> str:
    """As HTML, one below the other; text only."""
    return "".join(f'<div style="{QUIET}">{html.escape(line)}</div>' for line in lines)
