"""`explain`: who would answer, and why not the others."""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from gleitzeit_nb.cli.terminal import is_terminal, say

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from gleitzeit_nb.core.explanation import Explanation


def add_commands(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    explain = commands.add_parser("explain", help="who would answer a prompt now, and why not the others")
    explain.add_argument("-m", "--model", default="", help="(the configured one, else the only or the first warm one)")
    explain.add_argument("-t", "--tags", default="", help="comma-separated; all must match")
    explain.add_argument("--instance", metavar="ID", help="this instance or nobody")
    explain.add_argument("--strategy", metavar="NAME", help="(the configured one)")
    explain.add_argument("--json", action="store_true")
    explain.set_defaults(verb=_explain)


def _explain(arguments: argparse.Namespace) -> int:
    explanation = asyncio.run(_ask(arguments))
    said = json.dumps(asdict(explanation), indent=2, ensure_ascii=not is_terminal()) if arguments.json else str(explanation)
    say(said)
    return 0 if explanation.picked else 1


async def _ask(arguments: argparse.Namespace) -> Explanation:
    from gleitzeit_nb.config import load
    from gleitzeit_nb.engine import Engine

    async with Engine(load()) as engine:
        tags = [name for name in map(str.strip, arguments.tags.split(",")) if name]
        return engine.pool.explain(arguments.model, tags=tags, instance=arguments.instance, strategy=arguments.strategy)
