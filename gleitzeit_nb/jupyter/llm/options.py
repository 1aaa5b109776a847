"""The options of `%%llm` that say what is asked for: which of Ollama's calls, pictures, thinking, logprobs; and their meaning."""

from __future__ import annotations

import argparse
import ast
import builtins
import json
from typing import TYPE_CHECKING, Any

from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.core.requests import MOST_ALTERNATIVES, Kind, RequestOptions
from gleitzeit_nb.errors import UsageError
from gleitzeit_nb.jupyter.arguments import comma_list

if TYPE_CHECKING:
    from gleitzeit_nb.jupyter.arguments import MagicParser
    from gleitzeit_nb.jupyter.front import Front

MAX_ROUNDS = 5
THINK_WORDS = ("low", "medium", "high", "max", "off")
_NOT_FOR = {
    "embed": (
        *("tools", "allow_tools", "system", "thread", "image", "think", "logprobs"),
        *("format", "schema", "generate", "suffix", "no_template", "answers"),
    ),
    "chat": ("suffix", "no_template"),
    "generate": ("tools", "allow_tools", "thread"),
}


def add_api_options(parser: MagicParser) -> None:
    add = parser.add_argument
    parser.section("what is asked")
    add(
        "--image",
        action="append",
        metavar="X",
        offers=("variable", "file"),
        help="show the model a picture: a file's path, or a variable; may be repeated",
    )
    add(
        "--schema",
        metavar="X",
        offers=("shape", "file"),
        help="a checked answer as .object: a type, a JSON Schema or a .json file",
    )
    add(
        "--tools",
        type=comma_list,
        action="append",
        metavar="F,G",
        offers="function",
        help="offer these functions to the model; none of them is run",
    )
    add(
        "--allow-tools",
        type=comma_list,
        action="append",
        metavar="F,G",
        offers="function",
        help="run these of them when the model calls them",
    )
    add(
        "--max-rounds",
        type=_rounds,
        default=MAX_ROUNDS,
        metavar="N",
        help=f"how often functions may run and the model go on ({MAX_ROUNDS})",
    )
    add(
        "--think",
        nargs="?",
        const="on",
        metavar="LEVEL",
        words=THINK_WORDS,
        help=f"let it think first: {', '.join(THINK_WORDS)}; shown collapsed",
    )
    add("--logprobs", nargs="?", const=0, type=_alternatives, metavar="N", help="each token's log probability, with N alternatives")
    add("--generate", action="store_true", help="complete the cell's text instead of answering it as a chat")
    add("--suffix", metavar="TEXT", help="with --generate: fill the gap between the cell's text and this one")
    add("--no-template", action="store_true", help="with --generate: without the model's template")
    add("--cache", action=argparse.BooleanOptionalAction, help="take the answer from this machine's cache, and keep it there")
    add("--embed", action="store_true", help="a vector for each line, or for each text of a list that the cell names")


def _rounds(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 100")
    return int(text)


def _alternatives(text: str) -> int:
    if not text.isdecimal() or int(text) > MOST_ALTERNATIVES:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to {MOST_ALTERNATIVES}")
    return int(text)


def kind_of(args: argparse.Namespace) -> Kind:
    """Which of Ollama's calls. Raises UsageError for options that do not go with it."""
    kind: Kind = "embed" if args.embed else "generate" if args.generate else "chat"
    for name in _NOT_FOR[kind]:
        if getattr(args, name) not in (None, False):
            option = f"--{name.replace('_', '-')}"
            advice = "Add --generate." if kind == "chat" else f"Leave out {option}, or --{kind}."
            raise UsageError(f"%%llm: {option} means nothing to {'a chat' if kind == 'chat' else f'--{kind}'}.\n{advice}")
    return kind


def api_keywords(args: argparse.Namespace, front: Front) -> RequestOptions:
    """The keywords of a request that these options stand for. Raises UsageError."""
    keywords: RequestOptions = {"think": _think(args.think), "logprobs": args.logprobs}
    if args.schema is not None:
        keywords["schema"] = _schema(args, front)
    if args.image:
        keywords["images"] = [_image(word, front) for word in args.image]
    if args.generate:
        keywords |= {"suffix": args.suffix, "raw": args.no_template}
    return keywords


def _think(word: str | None) -> bool | str | None:
    if word in (None, "on", "off"):
        return None if word is None else word == "on"
    if word not in THINK_WORDS:
        raise UsageError(f"--think takes {', '.join(THINK_WORDS)}, or nothing, and {word[:40]!r} was given.\nAll options: %%llm --help")
    return word


def _schema(args: argparse.Namespace, front: Front) -> Any:
    """What the word names: a variable (dots allowed), a type or a JSON Schema written out, or a file."""
    from gleitzeit_nb.llm.schema import shape_of

    word: str = args.schema
    if args.format is not None:
        raise UsageError("%%llm: --schema and --format say the same twice.\nKeep --schema for a checked answer.")
    try:
        if word.startswith("{"):
            return shape_of(json.loads(word))
        if word.endswith(".json"):
            return shape_of(word)
        return shape_of(named(word, front) if word.replace(".", "").isidentifier() and not _is_builtin(word) else _type(word, front))
    except (TypeError, ValueError) as error:
        raise UsageError(f"--schema {word[:60]}: {error}.") from error


_OF_TYPES = (ast.Expression, ast.Name, ast.Attribute, ast.Subscript, ast.Tuple, ast.Constant, ast.BinOp, ast.BitOr, ast.Load)


def _is_builtin(word: str) -> bool:
    return isinstance(getattr(builtins, word, None), type)


def _type(word: str, front: Front) -> Any:
    """The value of a type that is written out: `int`, `list[City]`, `City | None`. Nothing in it is called. Raises ValueError."""
    try:
        if not all(isinstance(node, _OF_TYPES) for node in ast.walk(ast.parse(word, mode="eval"))):
            raise ValueError("it is neither a type, nor the name of one, nor a file")
        return front.evaluate(word)
    except (SyntaxError, NameError, AttributeError, TypeError, KeyError) as error:
        raise ValueError(f"it is no type: {one_line(str(error), 100)}") from error


def named(word: str, front: Front) -> Any:
    """The value of a variable, or of what dots lead to from one. Raises ValueError."""
    first, *rest = word.split(".")
    if first not in front.shell.user_ns:
        raise ValueError(f"there is no variable {first[:60]!r} in the notebook")
    value: Any = front.shell.user_ns[first]
    for name in rest:
        if not hasattr(value, name):
            raise ValueError(f"{first[:60]} has no {name[:60]!r}")
        value = getattr(value, name)
    return value


def _image(word: str, front: Front) -> str:
    """A variable's picture, or a file's: read here, so that what is wrong names the option."""
    from gleitzeit_nb.llm.images import picture

    value: Any = front.shell.user_ns.get(word, word) if word.isidentifier() else word
    try:
        return picture(value)
    except (TypeError, ValueError) as error:
        raise UsageError(f"--image {word[:60]}: {error}.") from error
