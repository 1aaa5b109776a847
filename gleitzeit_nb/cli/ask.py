"""`ask`: one prompt, and its answer as it comes."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gleitzeit_nb.cli.terminal import complain, is_terminal, say, shower
from gleitzeit_nb.core.plain import one_line

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from gleitzeit_nb.core.requests import Reply, RequestOptions


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
