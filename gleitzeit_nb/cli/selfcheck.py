"""`selfcheck`: whether this machine's sandbox keeps what the page on security promises."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gleitzeit_nb.cli.terminal import complain, is_terminal, say
from gleitzeit_nb.errors import UsageError

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from gleitzeit_nb.sandbox.selfcheck.report import Report

EXIT_CODES = "Exit codes: 0 all is as promised; 1 something is not; 2 a mode or check that was named cannot be had; 130 interrupted."


def add_commands(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("selfcheck", help="try every promise of the sandbox on this machine", epilog=EXIT_CODES)
    parser.add_argument("--mode", action="append", default=[], metavar="MODE", help="a configured mode; default: all that isolate")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="one area or check; may be given again")
    parser.add_argument("--fresh", action="store_true", help="each run in a worker that has never run anything")
    parser.add_argument("--weaken", action="store_true", help="also take each protection away once, to see its checks fail (Docker)")
    parser.add_argument("--limit", type=float, default=60.0, metavar="S", help="seconds for one check (60)")
    parser.add_argument("--brief", action="store_true", help="show only what is not as it should be")
    parser.add_argument("--json", action="store_true", help="everything as JSON")
    parser.set_defaults(verb=_selfcheck)


def _selfcheck(arguments: argparse.Namespace) -> int:
    from gleitzeit_nb.config import load
    from gleitzeit_nb.sandbox.selfcheck.session import SelfCheck, Wanted

    if not arguments.limit > 0:
        raise UsageError(f"--limit takes seconds, more than 0, and {arguments.limit:g} was given.\nFor example: --limit 60")
    wanted = Wanted(tuple(arguments.mode), tuple(arguments.only), arguments.fresh, arguments.weaken, arguments.limit)
    checking = SelfCheck(load().sandbox, wanted, _progress)
    try:
        with _quiet():
            asyncio.run(checking.run())
    except KeyboardInterrupt:
        _show(checking.report, arguments)
        raise
    _show(checking.report, arguments)
    return checking.report.exit_code


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Guests that checks have broken on purpose say so in the log, which is no news here."""
    logger = logging.getLogger("gleitzeit_nb.sandbox")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _show(report: Report, arguments: argparse.Namespace) -> None:
    if sys.stderr.isatty():
        complain("\r\x1b[K", end="")
    if arguments.json:
        from gleitzeit_nb.sandbox.selfcheck.report import document

        say(json.dumps(document(report), indent=2, ensure_ascii=not is_terminal()))
    else:
        from gleitzeit_nb.rendering.selfcheck import report_text

        say(report_text(report, brief=arguments.brief))


def _progress(what: str, done: int, of: int) -> None:
    """One line that redraws itself; nothing where nobody watches."""
    if sys.stderr.isatty():
        complain(f"\r\x1b[K{what}: {done} of {of}", end="")
