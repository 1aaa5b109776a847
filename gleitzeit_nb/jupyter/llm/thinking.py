"""A model's thoughts below its answer: collapsed, and only ever text."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from gleitzeit_nb.core.plain import clean, one_line
from gleitzeit_nb.jupyter.display.quiet import QUIET

if TYPE_CHECKING:
    from gleitzeit_nb.jupyter.front import Front

MOST_CHARS = 100_000
_TEXT_STYLE = "white-space:pre-wrap;overflow-wrap:anywhere;word-break:normal;font-size:inherit;color:inherit"


def show_thinking(front: Front, text: str) -> None:
    """Publish it: collapsed where HTML is shown, else as one line."""
    if not text.strip():
        return
    bundle = thinking_bundle(text)
    if not front.in_kernel:
        print(bundle["text/plain"])  # noqa: T201
        return
    from IPython.display import publish_display_data

    publish_display_data(data=bundle)  # type: ignore[no-untyped-call]


def thinking_bundle(text: str) -> dict[str, str]:
    """The display's data. Nothing of the text is markup: it is cleaned, escaped, and preformatted (where no formula is typeset)."""
    head = f"thinking, {len(text):,} characters"
    return folded(head, text) | {"text/plain": f"({head}: {one_line(text)})"}


def folded(head: str, text: str) -> dict[str, str]:
    """A display that shows its head, and its text when that is asked for."""
    shown = clean(text[:MOST_CHARS]).strip() + (f"\n… {len(text) - MOST_CHARS:,} more" if len(text) > MOST_CHARS else "")
    body = f'<pre style="{_TEXT_STYLE}">{html.escape(shown)}</pre>'
    return {
        "text/html": f'<details style="{QUIET}"><summary>{html.escape(head)}</summary>{body}</details>',
        "text/plain": f"({head})\n{shown}",
    }
