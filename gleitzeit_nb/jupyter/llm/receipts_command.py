"""`%llm receipts`: what became of the last requests, as a table that is also a value."""

from __future__ import annotations

import argparse
import html
import json
from typing import TYPE_CHECKING, Any

from gleitzeit_nb.core.receipts import Receipt
from gleitzeit_nb.jupyter.arguments import MagicParser
from gleitzeit_nb.rendering.receipts import HEAD, row_of, text_of

if TYPE_CHECKING:
    from gleitzeit_nb.jupyter.front import Front

SHOWN = 20
_STYLE = "text-align:left;white-space:nowrap"


class ReceiptTable(tuple[Receipt, ...]):
    """Receipts, newest first, that show themselves as a table."""

    __slots__ = ()

    def __repr__(self) -> str:
        return text_of(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        plain = {"text/plain": text_of(self)}
        return {**plain, "text/html": _table(self)} if self else plain


def _table(receipts: ReceiptTable) -> str:
    head = "".join(f'<th scope="col" style="{_STYLE}">{html.escape(word)}</th>' for word in HEAD)
    rows = ("".join(f'<td style="{_STYLE}">{html.escape(word)}</td>' for word in row_of(each)) for each in receipts)
    body = "".join(f"<tr>{cells}</tr>" for cells in rows)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div role="region" aria-label="Receipts" tabindex="0" style="overflow-x: auto">{table}</div>'  # the keyboard scrolls it, too


def receipts_parser() -> MagicParser:
    parser = MagicParser("%llm receipts", "What became of the last requests, newest first; the value is the list of them.")
    parser.add_argument("count", metavar="N", nargs="?", type=_count, default=SHOWN, help=f"how many; default: {SHOWN}")
    parser.add_argument("--failed", action="store_true", help="only those that ended without an answer")
    parser.add_argument("--json", action="store_true", help="print them as JSON, with all that is known")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number greater than 0")
    return int(text)


def look_at_receipts(front: Front, line: str) -> ReceiptTable | None:
    """`line` is what stands behind the command."""
    parser = receipts_parser()
    args = parser.read(line)
    if args.help:
        print(parser.format_help())  # noqa: T201
        return None
    found = ReceiptTable(front.engine.pool.receipts(args.count, failed=args.failed))
    if args.failed and not found and not args.json:
        print("No request has failed.")  # noqa: T201
        return None
    if not args.json:
        return found
    print(json.dumps([each.to_dict() for each in found], indent=2))  # noqa: T201
    return None
