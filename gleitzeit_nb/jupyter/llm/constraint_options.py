"""The options of `%%llm` that say which instances may answer, and with what."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gleitzeit_nb.core.limit_options import positive
from gleitzeit_nb.core.requests import RequestOptions
from gleitzeit_nb.jupyter.arguments import comma_list, joined

if TYPE_CHECKING:
    from gleitzeit_nb.jupyter.arguments import MagicParser


def add_constraint_options(parser: MagicParser) -> None:
    add = parser.add_argument
    parser.section("who may answer")
    add("-t", "--tags", type=comma_list, action="append", metavar="A,B", offers="tag", help="only instances that have all of these tags")
    add("--instance", metavar="ID", offers="instance", help="only this instance")
    add("--prefer", metavar="ID", offers="instance", help="rather this instance; another when it cannot")
    add("--gpu", action="store_true", help="only instances with a GPU: proved by a loaded model, else by the tag gpu")
    add("--private", action="store_true", help="only instances on this machine")
    add("--min-context", type=_tokens, metavar="N", help="only where the model's context holds N tokens")
    add("--max-latency", type=positive, metavar="MS", help="rather instances that answer within so many milliseconds")
    add("--fallback", type=comma_list, action="append", metavar="A,B", offers="model", help="models to ask, in this order, when nobody can")
    add("--force-ctx", action="store_true", help="load the model anew where num_ctx or another option of the runner asks for it")


def _tokens(text: str) -> int:
    """8192, or 8k for the same."""
    digits = text.lower().removesuffix("k")
    tokens = int(digits) * (1024 if digits != text.lower() else 1) if digits.isdecimal() and len(digits) < 10 else 0
    if tokens < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of tokens, such as 8192 or 8k")
    return tokens


def constraint_keywords(args: argparse.Namespace) -> RequestOptions:
    return {
        "tags": joined(args.tags),
        "instance": args.instance,
        "instance_preference": args.prefer,
        "require_gpu": args.gpu,
        "private": args.private,
        "min_context": args.min_context,
        "max_latency": args.max_latency,
        "fallback_model": joined(args.fallback),
        "force_ctx": args.force_ctx,
    }
