"""`ask` and `run`: one prompt, one piece of untrusted code."""

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
from gleitzeit_nb.core.network import summary
from gleitzeit_nb.core.plain import one_line, size_words

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from gleitzeit_nb.core.displays import Display
    from gleitzeit_nb.core.execution import ExecutionResult
    from gleitzeit_nb.core.requests import Reply, RequestOptions

_JSON = (str, int, float, bool, list, dict, type(None))

STATUS_CODES = {"ok": 0, "error": 1, "timeout": 124, "lost": 125, "killed": 130, "oom": 137}
"""What `run` exits with; "error" passes on the code's own exit code where it has one. 124 and 137 as timeout(1) and the shell do."""


def add_commands(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    ask = commands.add_parser("ask", help="ask the pool, and stream the answer")
    ask.add_argument("prompt", help="the text, or - for standard input")
    ask.add_argument("-m", "--model", default="", help="(the configured one, else the only or the first warm one)")
    ask.add_argument("-t", "--tags", type=_names, default=(), help="comma-separated; all must match")
    ask.add_argument("--instance", metavar="ID", help="this instance or nobody")
    ask.add_argument("--gpu", action="store_true", help="only instances with a GPU")
    ask.add_argument("--private", action="store_true", help="only instances on this machine")
    ask.add_argument("--fallback", type=_names, default=(), metavar="A,B", help="models to ask when nobody can with the first")
    ask.add_argument("--system", metavar="TEXT", help="a system message before the prompt")
    ask.add_argument(
        "--option", type=_option, action="append", metavar="K=V", help="a model option such as num_predict=200; may be repeated"
    )
    ask.add_argument("--deadline", type=_seconds, metavar="S", help="for waiting and all tries together")
    ask.add_argument("--json", action="store_true", help="the whole reply as JSON, with its route")
    ask.add_argument("-q", "--quiet", action="store_true", help="no line about who answered")
    ask.set_defaults(verb=_ask)
    run = commands.add_parser("run", help="run untrusted Python in the sandbox", description=f"Exit codes: {_codes()}.")
    run.add_argument("file", help="the code, or - for standard input")
    run.add_argument("--mode", help="docker-sandbox, restricted, … (the configured default)")
    run.add_argument("--timeout", type=_seconds, metavar="S", help="wall clock")
    run.add_argument("--memory", metavar="SIZE", help="such as 512m")
    run.add_argument("--image", help="a container image with a python3")
    run.add_argument("--volume", dest="volumes", action="append", metavar="HOST:GUEST[:rw]", help="a folder or file to mount, read-only")
    run.add_argument(
        "--allow", action="append", default=[], metavar="HOST", help="let it reach example.org, *.example.org, example.org:8443"
    )
    run.add_argument(
        "--file",
        dest="files",
        action="append",
        default=[],
        metavar="PATH[:NAME]",
        help="a file, directory or pattern to pass in; may be repeated",
    )
    run.add_argument("--artifacts", metavar="DIR", help="write the files that the code leaves into this directory")
    run.add_argument("--overwrite", action="store_true", help="also in place of files that are there")
    run.add_argument("--requirements", action="append", metavar="WHAT", help="packages on top of it: a file, or one as seaborn==0.13.2")
    run.add_argument("--json", action="store_true", help="the whole result as JSON, after the run")
    run.set_defaults(verb=_run)


def _codes() -> str:
    return ", ".join(f"{status} {code}" for status, code in STATUS_CODES.items())


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (name.strip() for name in text.split(","))))


def _seconds(text: str) -> float:
    from gleitzeit_nb.config import parse_duration
    from gleitzeit_nb.errors import ConfigError

    try:
        return parse_duration(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _option(text: str) -> tuple[str, Any]:
    from gleitzeit_nb.core.typed_options import typed_option

    try:
        return typed_option(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


# -- ask ------------------------------------------------------------------------------------------------------------------


def _ask(arguments: argparse.Namespace) -> int:
    prompt = sys.stdin.read() if arguments.prompt == "-" else arguments.prompt
    messages = [{"role": "system", "content": arguments.system}] if arguments.system else []
    messages.append({"role": "user", "content": prompt})
    request: RequestOptions = {"tags": arguments.tags, "instance": arguments.instance, "deadline": arguments.deadline}
    request |= {"require_gpu": arguments.gpu, "private": arguments.private, "fallback_model": arguments.fallback}
    request |= {"options": dict(arguments.option or ())}
    reply = asyncio.run(_answer(arguments.model, messages, request, shows=not arguments.json))
    if arguments.json:
        say(json.dumps(asdict(reply), indent=2, ensure_ascii=not is_terminal(), default=str))
    elif not arguments.quiet:
        complain("\n".join((footer(reply), *(one_line(notice, 400) for notice in reply.notices))))
    return 0


async def _answer(model: str, messages: list[dict[str, Any]], request: RequestOptions, *, shows: bool) -> Reply:
    from gleitzeit_nb.config import load
    from gleitzeit_nb.engine import Engine

    show = shower(sys.stdout)
    reply: Reply | None = None
    async with Engine(load()) as engine:
        try:
            async for chunk in engine.pool.stream(model, messages, **request):
                reply = chunk.reply or reply
                if shows:
                    say(show.feed(chunk.text), end="")
        finally:
            if shows:
                say(show.flush())
    if reply is None:
        raise RuntimeError("a stream ended without a reply and without an error")
    return reply


def footer(reply: Reply) -> str:
    """Who answered, or where the answer had been kept, in one line."""
    from gleitzeit_nb.rendering.answers import origin

    usage = reply.usage
    parts = [origin(reply), reply.model]
    if usage.completion_tokens is not None:
        parts.append(f"{usage.completion_tokens} tokens")
    if reply.source != "instance":
        return " · ".join(parts)
    if usage.tokens_per_s is not None:
        parts.append(f"{usage.tokens_per_s:.0f} tok/s")
    parts.append(f"{reply.elapsed_s:.1f} s")
    if reply.route.retries:
        parts.append(f"{reply.route.retries} retries")
    return " · ".join(parts)


# -- run ------------------------------------------------------------------------------------------------------------------


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
            timeout=arguments.timeout,
            memory_limit=arguments.memory,
            allow=[host for hosts in arguments.allow for host in hosts.replace(",", " ").split()],
            volumes=arguments.volumes,
            filename=name,
            files=named(arguments.files),
            artifacts=bool(arguments.artifacts),
            on_output=None if arguments.json else on_output,
            on_display=None if arguments.json else on_display,
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
