"""`status` and `doctor`: what there is, and what is missing."""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from gleitzeit_nb.cli.terminal import is_terminal, say

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from gleitzeit_nb.doctor import Finding
    from gleitzeit_nb.snapshot import Snapshot


def add_commands(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    status = commands.add_parser("status", help="the instances and the sandbox as they are now")
    status.add_argument("--json", action="store_true", help="the whole snapshot as JSON")
    status.set_defaults(verb=_status)
    doctor = commands.add_parser("doctor", help="what is there, what is missing, and what to do about it")
    doctor.add_argument("--json", action="store_true")
    doctor.set_defaults(verb=_doctor)


def _status(arguments: argparse.Namespace) -> int:
    from gleitzeit_nb.rendering.text import status_text

    snapshot = asyncio.run(_snapshot())
    if arguments.json:
        say(json.dumps(snapshot.to_dict(), indent=2, ensure_ascii=not is_terminal()))
    else:
        say(status_text(snapshot))
    return 0


async def _snapshot() -> Snapshot:
    from gleitzeit_nb.config import load
    from gleitzeit_nb.engine import Engine

    async with Engine(load()) as engine:
        return engine.snapshot()


def _doctor(arguments: argparse.Namespace) -> int:
    findings = asyncio.run(_examine())
    if arguments.json:
        say(json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=not is_terminal()))
    else:
        from gleitzeit_nb.rendering.text import findings_text

        say(findings_text(findings))
    return 0


async def _examine() -> list[Finding]:
    from gleitzeit_nb.config import load
    from gleitzeit_nb.engine import Engine

    async with Engine(load()) as engine:
        return await engine.doctor()
