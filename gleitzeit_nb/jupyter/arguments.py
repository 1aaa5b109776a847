"""The line of a magic, read forgivingly: quotes as in a shell, a comment at its end, and the nearest option in an error."""

from __future__ import annotations

import argparse
import difflib
import inspect
import keyword
import shlex
import textwrap
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Literal, NamedTuple, NoReturn, TypeVar

from gleitzeit_nb.core.typed_options import typed_option
from gleitzeit_nb.errors import UsageError

WIDTH = 100  # of a line of help

Magic = TypeVar("Magic", bound=Callable[..., Any])

Kind = Literal[
    "model",
    "warm model",
    "instance",
    "serving instance",
    "draining instance",
    "tag",
    "thread",
    "job",
    "running job",
    "run",  # a request, run or job that goes on
    "container",
    "mode",
    "session",
    "host",
    "container image",
    "variable",  # of the notebook: a value
    "input",  # the same, those first that the cell's code uses
    "result",  # what the cell's code makes
    "function",
    "shape",  # a type or a JSON Schema
    "file",
    "folder",
]


class Offer(NamedTuple):
    """What Tab offers as an option's value: things of these kinds, and these words."""

    kinds: tuple[Kind, ...] = ()
    words: tuple[str, ...] = ()


class MagicParser(argparse.ArgumentParser):
    """An argument parser that neither prints nor leaves: what is wrong becomes a UsageError.

    It is the one list of what a magic takes: reading the line, `--help`, `%magic?` and Tab all go by it. `commands`: its subcommands.
    `expands`: `{expression}` in its words is replaced.
    """

    expands = False

    def __init__(self, magic: str, description: str) -> None:
        super().__init__(prog=magic, description=description, add_help=False, allow_abbrev=False)
        self.formatter_class = _Help
        self.examples: tuple[str, ...] = ()  # each of some lines
        self.verbatim: set[str] = set()  # options whose value is a line of options, to be read and expanded by itself
        self.commands: dict[str, Callable[[], MagicParser]] = {}
        self._offers: dict[str, Offer] = {}
        self._section: argparse._ArgumentGroup | None = None
        self.add_argument("-h", "--help", action="store_true", help="print this and do nothing else")

    def section(self, title: str) -> None:
        """Where the help shows the options that are added from here on."""
        self._section = next((each for each in self._action_groups if each.title == title), None) or self.add_argument_group(title)

    def add_argument(
        self, *names: str, offers: Kind | tuple[Kind, ...] = (), words: Sequence[str] = (), **keywords: Any
    ) -> argparse.Action:
        """As argparse has it; `offers` and `words` are for Tab."""
        add = super().add_argument if self._section is None or not names[0].startswith("-") else self._section.add_argument
        action = add(*names, **keywords)
        self._offers[action.dest] = Offer((offers,) if isinstance(offers, str) else offers, tuple(words))
        return action

    def format_help(self) -> str:
        return self.described(self.description or "")

    def described(self, description: str) -> str:
        """The help with another description: how it is written, examples, then the options by what they are for."""
        head = self._get_formatter()
        head.add_usage("%(prog)s [OPTIONS]" if self._section is not None else None, self._actions, self._mutually_exclusive_groups)
        groups = [each for each in self._action_groups if each is not self._optionals] + [self._optionals]
        body = self._get_formatter()
        for group in groups:
            body.start_section("help" if group is self._optionals and self._section is not None else group.title)
            body.add_arguments(group._group_actions)
            body.end_section()
        told = body.format_help() if self._section is None else body.format_help().replace("\n\n", "\n")  # one screen, if it can be
        examples = "\n\n".join(textwrap.indent(each, "    ") for each in self.examples)
        return "\n\n".join(part.strip("\n") for part in (head.format_help(), description, examples, told) if part) + "\n"

    def offer_of(self, action: argparse.Action) -> Offer:
        return self._offers.get(action.dest, Offer())

    def read(self, line: str, expand: Callable[[str], str] | None = None) -> argparse.Namespace:
        """The arguments of `line`. `expand` is applied to each of them after they were told apart."""
        silent = _is_silenced(line) and any(action.dest == "quiet" for action in self._actions)
        words = _kept_values(split(_without_comment(line).rstrip()[:-1] if silent else line), self.verbatim)
        found, unknown = self.parse_known_args(words if expand is None else _expanded(words, expand, self.verbatim))
        if unknown:
            self.error(self._unknown(unknown[0]))
        if silent:
            found.quiet = True
        return found

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}\nAll options: {self.prog} --help")

    def _unknown(self, word: str) -> str:
        if not word.startswith("-"):
            below = "the cell's text stands below the line, and " if self.prog.startswith("%%") else ""
            return f"{word!r} is more than the line takes; {below}a value with spaces needs quotes"
        known = [option for action in self._actions for option in action.option_strings]
        near = difflib.get_close_matches(word.partition("=")[0], known, n=1)
        return f"there is no option {word.partition('=')[0]}" + (f"; did you mean {near[0]}?" if near else "")


def documented(parser_of: Callable[[], MagicParser]) -> Callable[[Magic], Magic]:
    """Put the options below a magic's docstring, where `%%magic?` shows them."""

    def decorate(magic: Magic) -> Magic:
        told = inspect.cleandoc(magic.__doc__ or "").split("\n\n")
        magic.__doc__ = parser_of().described("\n\n".join(textwrap.fill(each, WIDTH) for each in told))
        return magic

    return decorate


def ending_with(text_of: Callable[[], str]) -> Callable[[Magic], Magic]:
    """As `documented`, with this text."""

    def decorate(magic: Magic) -> Magic:
        magic.__doc__ = f"{inspect.cleandoc(magic.__doc__ or '')}\n\n{text_of()}"
        return magic

    return decorate


def listed(magic: str, commands: Mapping[str, str]) -> str:
    """The commands of a magic, with what each does, a line each where that is enough."""
    width = max(map(len, commands))
    indent = " " * (len(magic) + width + 3)
    lines = (f"{magic} {name:<{width}}  {text}" for name, text in commands.items())
    return "\n".join(textwrap.fill(line, WIDTH, subsequent_indent=indent, break_on_hyphens=False) for line in lines)


class _Help(argparse.HelpFormatter):
    """An option's value is named once, behind its names; as wide as a notebook's pager and a terminal both show."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=WIDTH)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"


def _kept_values(words: Sequence[str], verbatim: AbstractSet[str]) -> list[str]:
    """The word behind each of these options as its value, whatever it begins with."""
    found: list[str] = []
    for word in words:
        if found and found[-1] in verbatim:
            found[-1] += f"={word}"
        else:
            found.append(word)
    return found


def _expanded(words: Sequence[str], expand: Callable[[str], str], verbatim: AbstractSet[str] = frozenset()) -> list[str]:
    """What is inserted stays the value of its option, also when it begins like one."""
    found: list[str] = []
    for word in words:
        if word.partition("=")[0] in verbatim:
            found.append(word)
            continue
        value = expand(word)
        if value.startswith("-") and not word.startswith("-") and found and found[-1].startswith("-"):
            found[-1] += f"={value}" if found[-1].startswith("--") else value
        else:
            found.append(value)
    return found


def split(line: str) -> list[str]:
    """Words as a shell tells them apart, without a trailing comment."""
    try:
        return shlex.split(_without_comment(line))
    except ValueError as error:
        advice = "Close the quote, or write an apostrophe inside double quotes."
        raise UsageError(f"the line cannot be read: {str(error).lower()}.\n{advice}") from error


def _is_silenced(line: str) -> bool:
    """A semicolon ends it, as it silences a line of Python; one in quotes has a quote behind it."""
    return _without_comment(line).rstrip().endswith(";")


def _without_comment(line: str) -> str:
    quote = ""
    escaped = False
    for index, char in enumerate(line):
        if escaped:
            escaped = False
        elif char == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char == "#" and (index == 0 or line[index - 1].isspace()):
            return line[:index]
    return line


def comma_list(text: str) -> list[str]:
    """`a,b c` as ["a", "b", "c"]; for an option that may be given more than once."""
    return [word for word in text.replace(",", " ").split() if word]


def joined(lists: Sequence[Sequence[str]] | None) -> tuple[str, ...]:
    """The parts of an option that may be given more than once, each once, in their order."""
    return tuple(dict.fromkeys(word for words in lists or () for word in words))


def identifiers(text: str) -> list[str]:
    """`a,b` where each is a name that Python takes."""
    names = comma_list(text)
    for name in names:
        identifier(name)
    return names


def identifier(text: str) -> str:
    if not text.isidentifier() or keyword.iskeyword(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a name for a variable")
    return text


def key_value(text: str) -> tuple[str, Any]:
    """`temperature=0` as ("temperature", 0)."""
    try:
        return typed_option(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
