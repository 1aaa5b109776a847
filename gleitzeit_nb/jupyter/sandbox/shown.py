"""What a sandboxed run showed, as a notebook shows it: drawn by us, or a picture that was checked. Nothing of the code's is live."""

from __future__ import annotations

import base64
import html
from typing import Any

from gleitzeit_nb.core.displays import Display, Table
from gleitzeit_nb.core.pictures import Picture
from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.jupyter.display.quiet import quiet_lines
from gleitzeit_nb.rendering.displays import as_text


def mime_bundle(shown: Display) -> dict[str, Any]:
    """By type, for `publish_display_data`. `text/html` is ours, or the code's own where the cell trusts it."""
    bundle: dict[str, Any] = {"text/plain": as_text(shown)}
    if shown.html is not None:
        return bundle | {"text/html": shown.html}
    if shown.table is not None:
        bundle["text/html"] = table_html(shown.table)
    elif shown.picture is not None:
        bundle |= _picture(shown.picture)
    return bundle


def _picture(picture: Picture) -> dict[str, str]:
    data = base64.b64encode(picture.data).decode("ascii")
    if picture.kind == "svg":  # as an image a browser runs no script in it and fetches nothing for it; as its own type it might
        return {"text/html": f'<img alt="SVG" src="data:image/svg+xml;base64,{data}">'}
    return {f"image/{picture.kind}": data}


def table_html(table: Table) -> str:
    """Escaped cell by cell; the look is the notebook's own for tables."""
    head, *lines = table.drawn()
    labelled = table.labels is not None
    rows = "".join(f"<tr>{''.join(_cell(cell, head=labelled and not place) for place, cell in enumerate(line))}</tr>" for line in lines)
    names = "".join(_cell(cell, head=True) for cell in head)
    note = quiet_lines([table.shape()])
    return f'<table class="dataframe"><thead><tr>{names}</tr></thead><tbody>{rows}</tbody></table>{note}'


def _cell(text: str, *, head: bool) -> str:
    name, shown = "th" if head else "td", html.escape(one_line(text))
    if "$" in text or "\\" in text:  # as code, where no formula is typeset
        shown = f'<code style="font:inherit">{shown}</code>'
    return f"<{name}>{shown}</{name}>"
