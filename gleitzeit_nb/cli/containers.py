"""`containers list` and `containers prune`: what sandboxes have on the Docker daemon, and what they left there."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from gleitzeit_nb.cli.terminal import is_terminal, say
from gleitzeit_nb.rendering.columns import columns

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from docker import APIClient

    from gleitzeit_nb.sandbox.orphans import LabelledContainer
    from gleitzeit_nb.sandbox.ownership import Owner

UNKNOWN = "made on another boot, machine or in another container: whether it is in use cannot be seen from here, so it stays"


def add_commands(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    group = commands.add_parser("containers", help="the sandbox's containers on the Docker daemon").add_subparsers(
        required=True, metavar="VERB"
    )
    listing = group.add_parser("list", help="every container with our labels, whose it is, and whether its owner lives")
    listing.add_argument("--json", action="store_true")
    listing.set_defaults(verb=_list)
    prune = group.add_parser("prune", help="remove those whose owners have provably ended, and nothing else")
    prune.add_argument("--dry-run", action="store_true", help="only say which")
    prune.set_defaults(verb=_prune)


def _list(arguments: argparse.Namespace) -> int:
    from gleitzeit_nb.sandbox import orphans

    found = asyncio.run(_asked(orphans.labelled))
    if arguments.json:
        say(json.dumps([asdict(container) for container in found], indent=2, ensure_ascii=not is_terminal()))
    elif not found:
        say("The Docker daemon has no container of the sandbox's.")
    else:
        say(_as_table(found))
        if any(container.verdict == "unknown" for container in found):
            say(f"unknown: {UNKNOWN}.")
    return 0


def _prune(arguments: argparse.Namespace) -> int:
    from gleitzeit_nb.sandbox import orphans

    if arguments.dry_run:
        left = [container for container in asyncio.run(_asked(orphans.labelled)) if container.verdict == "orphan"]
    else:
        left = asyncio.run(_asked(orphans.sweep))
    if not left:
        say("Nothing was left behind.")
        return 0
    say(f"{'would remove' if arguments.dry_run else 'removed'} {len(left)}:\n{_as_table(left)}")
    return 0


async def _asked(question: Callable[[APIClient, Owner], list[LabelledContainer]]) -> list[LabelledContainer]:
    from gleitzeit_nb.sandbox.daemon import DockerDaemon
    from gleitzeit_nb.sandbox.ownership import Owner

    daemon = DockerDaemon()
    try:
        return await daemon.call("look for the sandbox's containers", lambda api: question(api, Owner.current()))
    finally:
        daemon.close()


def _as_table(containers: Sequence[LabelledContainer]) -> str:
    rows: list[Sequence[str]] = [("Container", "Name", "Image", "State", "Age", "Process", "Version", "Owner")]
    rows += [(one.id, one.name, one.image, one.state, _age(one.created_at), one.pid, one.version, one.verdict) for one in containers]
    return columns(rows)


def _age(created_at: float) -> str:
    seconds = max(0.0, time.time() - created_at)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
