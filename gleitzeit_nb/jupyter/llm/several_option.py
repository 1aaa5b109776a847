"""`-n`: for how many answers at once a cell asks, and what does not go with it."""

from __future__ import annotations

import argparse

from gleitzeit_nb.errors import UsageError

MOST_ANSWERS = 8  # more would stand in no row, and fill a pool that others use too
_FOR_ONE = {"tools": "tools run", "allow_tools": "tools run", "run": "code runs", "run_mode": "code runs", "run_with": "code runs"}


def several(text: str) -> int:
    """The type of the option's value."""
    if not text.isdecimal() or not 1 <= int(text) <= MOST_ANSWERS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MOST_ANSWERS}")
    return int(text)


def refuse_several(args: argparse.Namespace) -> None:
    """Raises UsageError for what only a single answer can do."""
    for name, what in _FOR_ONE.items():
        if args.answers is not None and getattr(args, name, None) not in (None, False):
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"%%llm: -n asks for several answers at once, and {what} for one.\nLeave out -n, or {option}.")
