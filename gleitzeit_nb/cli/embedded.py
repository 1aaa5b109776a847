"""`embedded serve` and `embedded fetch`: the small real model behind Ollama's API."""

from __future__ import annotations

import argparse
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from gleitzeit_nb.cli.terminal import ProgressBar, say

if TYPE_CHECKING:
    from argparse import _SubParsersAction

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 11434


def add_commands(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    group = commands.add_parser("embedded", help="a small real model, for machines without Ollama").add_subparsers(
        required=True, metavar="VERB"
    )
    serve = group.add_parser("serve", help="serve the model by Ollama's API until Ctrl-C")
    serve.add_argument("--host", default=DEFAULT_HOST, help="address to listen on (%(default)s)")
    serve.add_argument("--port", type=_port, default=DEFAULT_PORT, help="port; 0 takes any free one (%(default)s)")
    serve.add_argument("--model", help="a known model, or a path to a GGUF file (smollm2:135m)")
    serve.add_argument("--parallel", type=_count, default=1, help="requests that are answered at a time (%(default)s)")
    serve.add_argument("--threads", type=_count, help="threads of one model (half of the CPUs)")
    serve.add_argument(
        "--token",
        nargs="?",
        const="auto",
        metavar="env:NAME",
        help="what callers must send as bearer token: the value of a variable, or without NAME a random one, which is shown",
    )
    serve.set_defaults(verb=_serve)
    fetch = group.add_parser("fetch", help="get the model's weights, once, checked by their sha256")
    fetch.add_argument("--model", help="a known model (smollm2:135m)")
    fetch.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")
    fetch.set_defaults(verb=_fetch)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return port


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return count


def _serve(arguments: argparse.Namespace) -> int:
    from gleitzeit_nb.embedded import DEFAULT_MODEL, serve

    token = _token(arguments.token)
    model = arguments.model or DEFAULT_MODEL
    serve(
        model=model,
        host=arguments.host,
        port=arguments.port,
        parallel=arguments.parallel,
        threads=arguments.threads,
        token=token,
        announce=say,
        progress=ProgressBar(f"fetching {model}"),
    )
    return 0


def _token(given: str | None) -> str | None:
    """A token that is written out in the arguments is seen by every user of the machine: it is named, or made here."""
    from gleitzeit_nb.config import named_secret
    from gleitzeit_nb.errors import UsageError

    if given is None:
        return None
    if given == "auto":
        token = secrets.token_urlsafe(24)
        say(f"token: {token}")
        return token
    if not given.startswith("env:"):
        raise UsageError("--token takes env:NAME (the name of a variable), or no value at all: arguments are visible to every user")
    return named_secret(given, name="--token").reveal()


def _fetch(arguments: argparse.Namespace) -> int:
    from gleitzeit_nb.embedded import DEFAULT_MODEL, fetch

    model = arguments.model or DEFAULT_MODEL
    path: Path = fetch(model, None if arguments.quiet else ProgressBar(f"fetching {model}"))
    if not arguments.quiet:
        say(f"{model} is at {path}, and its sha256 is right")
    return 0
