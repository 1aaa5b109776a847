"""`receipts`: what a file of receipts comes to."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gleitzeit_nb.cli.terminal import complain, is_terminal, say

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_commands(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    receipts = commands.add_parser("receipts", help="what a file of receipts comes to, by instance and model")
    receipts.add_argument("files", nargs="+", type=Path, metavar="FILE", help="as `receipts.file` of the configuration names it")
    receipts.add_argument("--json", action="store_true", help="as JSON")
    receipts.set_defaults(verb=_receipts)


def _receipts(arguments: argparse.Namespace) -> int:
    from gleitzeit_nb.core.receipt_summary import summarise
    from gleitzeit_nb.rendering.receipts import summary_text

    strange: list[str] = []
    summaries = summarise(_read(arguments.files, strange))
    if arguments.json:
        say(json.dumps([each.to_dict() for each in summaries], indent=2, ensure_ascii=not is_terminal()))
    else:
        say(summary_text(summaries))
    if strange:
        complain(f"{len(strange)} lines are no receipts and were left out; the first is {strange[0]}")
    return 0


def _read(files: Sequence[Path], strange: list[str]) -> Iterator[dict[str, Any]]:
    """The receipts of all files, line by line; where lines stand that are none is added to `strange`."""
    from gleitzeit_nb.core.receipt_summary import is_receipt
    from gleitzeit_nb.errors import UsageError

    for file in files:
        try:
            with file.open(encoding="utf-8", errors="replace") as lines:
                for number, line in enumerate(lines, 1):
                    value = _decoded(line)
                    if is_receipt(value):
                        yield value
                    elif line.strip():
                        strange.append(f"{file}, line {number}")
        except OSError as error:
            raise UsageError(f"{file} cannot be read: {error}") from error


def _decoded(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
