"""`gleitzeit-nb`: arguments in, engine calls, text or JSON out.

Exit codes: 0 it worked; 1 it did not, and the message says why; 2 the arguments make no sense; 130 interrupted. `run` passes on the
code's own exit code (see `cli.run`).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from gleitzeit_nb.cli.terminal import complain, say, untroubled
from gleitzeit_nb.errors import GleitzeitError, UsageError

DESCRIPTION = "A pool of Ollama servers and a hardened Python sandbox: the parts of gleitzeit_nb that need no notebook."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. SystemExit only for --help, --version and arguments that make no sense."""
    arguments = parser().parse_args(argv)
    try:
        with untroubled():
            return int(arguments.verb(arguments))
    except UsageError as error:
        complain(f"gleitzeit-nb: {error}")
        return 2
    except GleitzeitError as error:
        complain(f"gleitzeit-nb: {error}")
        return 1
    except KeyboardInterrupt:
        complain("interrupted")
        return 130


def parser() -> argparse.ArgumentParser:
    from gleitzeit_nb.cli import ask, containers, embedded, explain, images, receipts, run, selfcheck, settings, state, upkeep

    root = argparse.ArgumentParser("gleitzeit-nb", description=DESCRIPTION)
    root.add_argument("--version", action=_Version)
    commands = root.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for module in (ask, run, explain, upkeep, state, receipts, settings, images, containers, selfcheck, embedded):
        module.add_commands(commands)
    return root


class _Version(argparse.Action):
    """Asks the installed package only when it is wanted."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from gleitzeit_nb import __version__

        say(f"gleitzeit-nb {__version__}")
        parser.exit()
