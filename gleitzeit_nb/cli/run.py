"""`run`: one piece of untrusted code."""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gleitzeit_nb.cli.terminal import complain, is_terminal, say, shower
from gleitzeit_nb.core.limit_options import add_limits, limits_of
from gleitzeit_nb.core.network import summary
from gleitzeit_nb.core.plain import one_line, size_words

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from gleitzeit_nb.core.displays import Display
    from gleitzeit_nb.core.execution import ExecutionResult

_JSON = (str, int, float, bool, list, dict, type(None))

STATUS_CODES = {"ok": 0, "error": 1, "timeout": 124, "lost": 125, "killed": 130, "oom": 137}
"""What `run` exits with; "error" passes on the code's own exit code where it has one. 124 and 137 as timeout(1) and the shell do."""


def add_commands(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    run = commands.add_parser("run", help="run untrusted Python in the sandbox", description=f"Exit codes: {_codes()}.")
    add = run.add_argument
    add("file", help="the code, or - for standard input")
    add("--mode", help="docker-sandbox, restricted, … (the configured default)")
    add("--image", help="a container image with a python3")
    add("--requirements", action="append", metavar="WHAT", help="packages on top of it: a file, or one as seaborn==0.13.2")
    add("--volume", dest="volumes", action="append", metavar="HOST:GUEST[:rw]", help="a folder or file to mount, read-only unless :rw")
    add("--gpu", action="store_true", help="with the machine's GPUs (docker modes)")
    add("--allow", action="append", default=[], metavar="HOST", help="let it reach example.org, *.example.org, example.org:8443")
    add("--file", dest="files", action="append", default=[], metavar="PATH[:NAME]", help="a file, directory or pattern to pass in")
    add("--artifacts", metavar="DIR", help="write the files that the code leaves into this directory")
    add("--overwrite", action="store_true", help="also in place of files that are there")
    add("--json", action="store_true", help="the whole result as JSON, after the run")
    add_limits(run)
    run.set_defaults(verb=_run)


def _codes() -> str:
    return ", ".join(f"{status} {code}" for status, code in STATUS_CODES.items())


def _run(arguments: argparse.Namespace) -> int:
    code, name = _source(arguments.file)
    result = asyncio.run(_execute(code, name, arguments))
    if arguments.json:
        say(json.dumps(_plain(result), indent=2, ensure_ascii=not is_terminal()))
    else:
        _report(result)
    _save(result, arguments)
    return exit_code(result)


def _save(result: ExecutionResult, arguments: argparse.Namespace) -> None:
    """What the code left, and what of it could not be brought out."""
    from gleitzeit_nb.sandbox.artifacts import ArtifactFolder

    if arguments.artifacts:
        for saved in ArtifactFolder().save(arguments.artifacts, result.artifacts, overwrite=arguments.overwrite):
            complain(f"{saved.name}: {size_words(saved.bytes)}")
    for name, reason in result.left_out.items():
        complain(f"({one_line(name)} was not brought out: {one_line(reason)})")


def _source(file: str) -> tuple[str, str]:
    from gleitzeit_nb.errors import UsageError

    if file == "-":
        return sys.stdin.read(), "<stdin>"
    try:
        return Path(file).read_text(encoding="utf-8"), file
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from error


async def _execute(code: str, name: str, arguments: argparse.Namespace) -> ExecutionResult:
    from gleitzeit_nb.config import load, requirements
    from gleitzeit_nb.rendering.displays import as_text
    from gleitzeit_nb.sandbox import Sandbox
    from gleitzeit_nb.sandbox.files import named

    shows = {"stdout": (shower(sys.stdout), say), "stderr": (shower(sys.stderr), complain)}

    def on_output(stream: Literal["stdout", "stderr"], text: str) -> None:
        show, write = shows[stream]
        write(show.feed(text), end="")

    def on_display(shown: Display) -> None:
        say(_shown(as_text(shown)))

    async with Sandbox(load().sandbox) as sandbox:
        result = await sandbox.execute(
            code,
            arguments.mode,
            image=arguments.image,
            requirements=requirements(arguments.requirements).lines,
            on_progress=complain,
            allow=[host for hosts in arguments.allow for host in hosts.replace(",", " ").split()],
            volumes=arguments.volumes,
            gpu=arguments.gpu,
            filename=name,
            files=named(arguments.files),
            artifacts=bool(arguments.artifacts),
            on_output=None if arguments.json else on_output,
            on_display=None if arguments.json else on_display,
            **limits_of(arguments),
        )
    if not arguments.json:
        for show, write in shows.values():
            write(show.flush(), end="")
    return result


def _report(result: ExecutionResult) -> None:
    """What the streams did not show: the traceback, and why it is not ok."""
    if result.traceback:
        complain(_shown(result.traceback).rstrip("\n"))
    if result.displays_dropped:
        complain(f"({result.displays_dropped} of what it displayed were not shown)")
    for stream, dropped in result.truncated.items():
        if dropped:
            complain(f"({dropped} more bytes of {stream} were dropped)")
    if tried := summary(result.network):
        complain(f"(network: {one_line(tried, 600)})")
    if not result.ok and result.status != "error":
        complain(f"{result.status}: {_shown(result.detail)}".rstrip(": "))


def _shown(text: str) -> str:
    show = shower(sys.stderr)
    return show.feed(text) + show.flush()


def exit_code(result: ExecutionResult) -> int:
    """The code's own where it ran to an end, a signal as the shell shows it; else the status's."""
    if result.status == "error" and result.exit_code:
        return 128 - result.exit_code if result.exit_code < 0 else result.exit_code & 0xFF or 1
    return STATUS_CODES[result.status]


def _plain(result: ExecutionResult) -> dict[str, Any]:
    """JSON types. A value or file that is not text is told by its size only."""
    said = asdict(result)
    said["displays"] = [_plain_display(shown) for shown in result.displays]
    said["artifacts"] = {name: f"{len(content)} bytes" for name, content in result.artifacts.items()}
    said["outputs"] = {name: value if isinstance(value, _JSON) else repr(value)[:200] for name, value in result.outputs.items()}
    return said


def _plain_display(shown: Display) -> dict[str, Any]:
    said = asdict(shown)
    if shown.picture is not None:
        said["picture"]["data"] = base64.b64encode(shown.picture.data).decode("ascii")
    return said
