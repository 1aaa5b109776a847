"""Harmless Markdown as HTML of our own, for the places where a front end draws no Markdown, such as columns.

Only the tags written here come out; every text is escaped, and none is typeset: formulas stand as they were written.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import TYPE_CHECKING

from gleitzeit_nb.jupyter.markdown.links import harmless_url
from gleitzeit_nb.jupyter.markdown.parser import parser

if TYPE_CHECKING:
    from markdown_it.token import Token

_TAGS = {
    "blockquote": "blockquote",
    "bullet_list": "ul",
    "list_item": "li",
    "table": "table",
    "thead": "thead",
    "tbody": "tbody",
    "tr": "tr",
    "strong": "strong",
    "em": "em",
    "s": "del",
}
_EMPTY = {"hr": "<hr>", "softbreak": "\n", "hardbreak": "<br>"}
_ALIGNED = ("text-align:left", "text-align:right", "text-align:center")
_PREFORMATTED = (
    "white-space:pre-wrap;overflow-wrap:anywhere;word-break:normal;"
    "margin:0 0 1em;padding:6px 8px;background:var(--jp-layout-color2,#f5f5f5)"
)
_BARE = "background:none;padding:0"
_UNDRAWN = f"font:inherit;color:inherit;{_BARE}"  # code that looks like text


def html_of(markdown: str) -> str:
    """`markdown` is what `harmless` made. Headings become bold paragraphs: the notebook's own outline is not the model's."""
    return "".join(_written(parser().parse(markdown)))


def _written(tokens: Iterable[Token]) -> Iterable[str]:
    for token in tokens:
        if token.type == "inline":
            yield from _written(token.children or ())
        elif token.type.endswith("_open"):
            yield _opened(token)
        elif token.type.endswith("_close"):
            yield _closed(token)
        elif token.type in _EMPTY:
            yield _EMPTY[token.type]
        elif token.type in ("fence", "code_block"):
            yield f'<pre style="{_PREFORMATTED}"><code style="{_BARE}">{html.escape(token.content)}</code></pre>'
        elif token.type == "code_inline":
            yield f"<code>{html.escape(token.content)}</code>"
        else:  # text; and whatever else there may be, which is only text here
            yield _text(str(token.meta["raw"]) if "raw" in token.meta else token.content)


def _text(text: str) -> str:
    """As code, where no formula is typeset, if there is anything in it that could begin one."""
    shown = html.escape(text)
    return f'<code style="{_UNDRAWN}">{shown}</code>' if "$" in text or "\\" in text else shown


def _opened(token: Token) -> str:
    kind = token.type.removesuffix("_open")
    if kind == "paragraph":
        return "" if token.hidden else "<p>"
    if kind == "heading":
        return "<p><strong>"
    if kind == "ordered_list":
        start = str(token.attrs.get("start", 1))
        return f'<ol start="{start}">' if start.isdecimal() else "<ol>"
    if kind in ("th", "td"):
        style = str(token.attrs.get("style", ""))
        return f'<{kind} style="{style}">' if style in _ALIGNED else f"<{kind}>"
    if kind == "link":
        address = harmless_url(str(token.attrs.get("href", "")))
        href = "" if address is None else f' href="{html.escape(address)}" target="_blank" rel="noopener noreferrer"'
        return f"<a{href}>"
    return f"<{_TAGS[kind]}>"


def _closed(token: Token) -> str:
    kind = token.type.removesuffix("_close")
    if kind == "paragraph":
        return "" if token.hidden else "</p>"
    closers = {"heading": "</strong></p>", "ordered_list": "</ol>", "th": "</th>", "td": "</td>", "link": "</a>"}
    return closers.get(kind) or f"</{_TAGS[kind]}>"
