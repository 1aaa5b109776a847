"""`--thread` and `--no-history` of `%%llm`: with which conversation of the notebook a cell goes on."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gleitzeit_nb.core.threads import DEFAULT_THREAD, NAME_RULE, is_name
from gleitzeit_nb.errors import UsageError

if TYPE_CHECKING:
    from gleitzeit_nb.jupyter.arguments import MagicParser


def add_thread_options(parser: MagicParser) -> None:
    add_thread_option(parser, f"go on with this conversation, or begin it; without a name: {DEFAULT_THREAD}")
    parser.add_argument("--no-history", action="store_true", help="without a conversation, though %%config GleitzeitNB.thread names one")


def add_thread_option(parser: MagicParser, text: str) -> None:
    """`--thread` alone; `text`: what it is for."""
    parser.section("conversation")
    parser.add_argument("--thread", nargs="?", const=DEFAULT_THREAD, type=thread_name, metavar="NAME", offers="thread", help=text)


def thread_name(text: str) -> str:
    """For an option or argument that names a thread."""
    if not is_name(text):
        raise argparse.ArgumentTypeError(f"{text[:60]!r} is no name for a thread: {NAME_RULE}")
    return text


def thread_of(args: argparse.Namespace, configured: str) -> str:
    """The name of the cell's conversation; "": it has none. `configured`: where the line says nothing."""
    if args.no_history and args.thread is not None:
        raise UsageError("%%llm: --thread and --no-history say opposite things.\nKeep the one that you mean.")
    if args.no_history:
        return ""
    named: str | None = args.thread
    return named if named is not None else configured
