"""`config show` and `config check`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from gleitzeit_nb.cli.terminal import say

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_commands(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    group = commands.add_parser("config", help="what is configured, and from where").add_subparsers(required=True, metavar="VERB")
    show = group.add_parser("show", help="every setting as it counts now, keys masked")
    show.add_argument("--json", action="store_true", help="as JSON instead of YAML")
    show.set_defaults(verb=_show)
    check = group.add_parser("check", help="whether a file is a valid configuration, and what it may say untrusted")
    check.add_argument("file", type=Path)
    check.set_defaults(verb=_check)


def _show(arguments: argparse.Namespace) -> int:
    from gleitzeit_nb.config import load

    said = load().describe()
    if arguments.json:
        say(json.dumps(said, indent=2, ensure_ascii=False))
        return 0
    import yaml

    sources = said.pop("sources")
    say("\n".join(["# later ones count more:", *(f"#   {source}" for source in sources)]))
    say(yaml.safe_dump(said, sort_keys=False, allow_unicode=True), end="")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from gleitzeit_nb.config import check_file

    refusal = check_file(arguments.file)
    say(f"{arguments.file} is a valid configuration.")
    if refusal:
        say(f"As a file of a working directory (%gleitzeit config use) it would be refused:\n{refusal}")
    return 0
