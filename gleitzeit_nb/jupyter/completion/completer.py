"""Tab, in the lines and the prompts of the magics: options, subcommands, and what is known of the pool, the sandbox and the notebook.

One matcher (IPython's API of 8.6 and later) that runs before all others and, where the cursor stands in something of ours, in their
place: neither Python's names nor files belong into a prompt. It goes by the magics' own parsers, and starts no engine.
"""

from __future__ import annotations

import argparse
import builtins
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from IPython.core.completer import IPCompleter, provisionalcompleter
from traitlets import Bool

from gleitzeit_nb.jupyter.arguments import MagicParser, comma_list, identifiers
from gleitzeit_nb.jupyter.completion.offers import SOURCES, Candidate, Known, Scene
from gleitzeit_nb.jupyter.completion.typed_line import Typed, quoted, read_typed
from gleitzeit_nb.jupyter.gleitzeit_magic import gleitzeit_parser
from gleitzeit_nb.jupyter.llm_magic import llm_parser, look_parser
from gleitzeit_nb.jupyter.sandbox_magic import sandbox_parser
from gleitzeit_nb.jupyter.template import open_expression

if TYPE_CHECKING:
    from gleitzeit_nb.jupyter.front import Front

logger = logging.getLogger("gleitzeit_nb.completion")

MOST_CHARS = 20_000  # of a prompt before the cursor, in which the expression is looked for
CELLS: dict[str, Callable[[], MagicParser]] = {"llm": llm_parser, "sandbox": sandbox_parser}
LINES: dict[str, Callable[[], MagicParser]] = {"llm": look_parser, "gleitzeit": gleitzeit_parser}
AROUND = ("time", "timeit", "prun", "capture")  # cell magics that run another
_CELL = re.compile(r"%%(\w+)(?=\s|$)")
_LINE = re.compile(r"(?:^\s*|=\s*)(%?)(llm|gleitzeit)\s")
_SETTING = re.compile(r"\s*%?config\s+GleitzeitNB\.(\w+)\s*=[\s\[]*(?:['\"][^'\"]*['\"]\s*,\s*)*(['\"]?)([^'\"\s]*)$")
_IDENTIFIER = re.compile(r"[^\W\d]\w*|")


class Found(NamedTuple):
    """`fragment`: the text before the cursor that each candidate stands for."""

    fragment: str
    candidates: Sequence[Candidate]


NOTHING = Found("", ())


class Completion:
    """Completions in one shell."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._known = Known(front)
        self._python: IPCompleter | None = None

    def close(self) -> None:
        """Ask no server any more."""
        self._known.ahead.close()

    def at(self, lines: Sequence[str], row: int, column: int) -> Found | None:
        """At that place of a cell; None where it is nothing of ours."""
        top, name = _cell_magic(lines)
        line = lines[row][:column]
        if name in CELLS:
            begins = len(name) + 2
            if row == top and column > begins:
                return self._in_line(CELLS[name](), line[begins:], "\n".join(lines[top + 1 :]))
            if row > top and name == "llm":
                return self._in_prompt(lines[top], "\n".join([*lines[top + 1 : row], line])[-MOST_CHARS:])
            return None
        setting = _SETTING.match(line)
        if setting is not None:
            return self._in_setting(setting[1], setting[2], setting[3])
        here = _LINE.search(line)
        if here is None or not (here[1] or self._is_automagic(here[2], row)):
            return None
        return self._in_line(LINES[here[2]](), line[here.end() :], "")

    def _in_setting(self, name: str, quote: str, typed: str) -> Found:
        """`%config GleitzeitNB.model = "lla`: Python, of which a word is being typed."""
        trait = self._front.settings.traits().get(name)
        if trait is None:
            return NOTHING
        scene = Scene(self._front, self._known)
        words = [Candidate(word, "value") for word in trait.metadata.get("words", ())]
        kinds = [trait.metadata["offers"]] if "offers" in trait.metadata else []
        found = [*words, *(each for kind in kinds for each in SOURCES[kind](scene))]
        if quote:
            found = [each for each in found if not set(each.text) & set("\\'\"")]
        else:
            values = ("True", "False", "None") if isinstance(trait, Bool) else ()
            found = [*(Candidate(value, "value") for value in values), *(each._replace(text=repr(each.text)) for each in found)]
        return Found(typed, [each for each in found if each.text.isprintable() and each.text.startswith(typed)])

    def _is_automagic(self, name: str, row: int) -> bool:
        shell = self._front.shell
        return bool(shell.automagic) and row == 0 and name not in shell.user_ns

    # -- a magic's line -------------------------------------------------------------------------------------------------------

    def _in_line(self, parser: MagicParser, line: str, body: str) -> Found:
        typed = read_typed(line)
        if typed is None:
            return NOTHING
        words = list(typed.before)
        while words and words[0] in parser.commands:
            parser = parser.commands[words.pop(0)]()
        if parser.expands and "--raw" not in words:
            expression = open_expression(typed.word)
            if expression is not None:
                return self._in_expression(expression) if line.endswith(expression) else NOTHING
        if parser.commands and not words and not typed.word.startswith("-"):
            return _offered(typed, 0, (Candidate(name, "command") for name in parser.commands))
        slot = slot_of(parser, words, typed.word)
        if slot.action is not None and parser.verbatim.intersection(slot.action.option_strings):
            return self._in_options(typed.word[slot.begins :], typed)
        return self._in_slot(parser, slot, typed, body)

    def _in_options(self, line: str, typed: Typed) -> Found:
        """Of `--run-with "--timeout 30"`: options of a sandbox cell, inside the quotes of this line."""
        quote = "" if typed.opened is None else typed.line[typed.opened]
        found = self._in_line(sandbox_parser(), line, "")
        fits = typed.line.endswith(found.fragment)
        return Found(found.fragment, [each for each in found.candidates if not quote or quote not in each.text]) if fits else NOTHING

    def _in_slot(self, parser: MagicParser, slot: Slot, typed: Typed, body: str) -> Found:
        found: list[Candidate] = []
        begins, taken = slot.begins, set[str]()
        if slot.action is not None:
            is_list = slot.action.type in (comma_list, identifiers)
            if is_list:
                *others, last = re.split(r"[,\s]", typed.word[begins:])
                begins, taken = len(typed.word) - len(last), set(others)
            offer = parser.offer_of(slot.action)
            scene = Scene(self._front, self._known, typed.word[begins:], body)
            found += (Candidate(word, "value") for word in offer.words)
            found += (each for kind in offer.kinds for each in SOURCES[kind](scene))
            found = [each for each in found if each.text not in taken and not (is_list and re.search(r"[,\s]", each.text))]
            found = [each._replace(text=each.text.replace("{", "{{").replace("}", "}}")) for each in found] if parser.expands else found
        if slot.option:
            found += (Candidate(name, "option") for name in options_of(parser, typed))
        return _offered(typed, begins, found)

    # -- a prompt -------------------------------------------------------------------------------------------------------------

    def _in_prompt(self, first: str, text: str) -> Found:
        expression = None if "--raw" in first.split() else open_expression(text)
        return NOTHING if expression is None or "\n" in expression else self._in_expression(expression)

    def _in_expression(self, expression: str) -> Found:
        """Of `{expression}`: the notebook's variables, or whatever Python can say of what is behind a dot or a bracket."""
        word = expression.lstrip()
        if _IDENTIFIER.fullmatch(word):
            variables = Scene(self._front, self._known).variables
            named = (Candidate(name, type(value).__name__) for name, value in variables)
            builtin = (Candidate(name, "builtin") for name in dir(builtins) if word and name.islower())
            return Found(word, [each for each in (*named, *builtin) if each.text.startswith(word)])
        if self._python is None:
            shell = self._front.shell
            make: Any = IPCompleter
            self._python = make(shell=shell, namespace=shell.user_ns, global_namespace=shell.user_global_ns, parent=shell)
            self._python.use_jedi = False  # it is slow at first, and reads the expression as a whole cell
        with provisionalcompleter():
            found = list(self._python.completions(expression, len(expression)))
        begins = min((each.start for each in found), default=len(expression))
        return Found(expression[begins:], [Candidate(expression[begins : each.start] + each.text, str(each.type)) for each in found])


# -- what stands at the cursor ------------------------------------------------------------------------------------------------


class Slot(NamedTuple):
    """`action`: whose value is being typed, which begins at `begins` of the word. `option`: whether an option may stand there."""

    action: argparse.Action | None
    begins: int = 0
    option: bool = False


def slot_of(parser: MagicParser, words: Sequence[str], word: str) -> Slot:
    """`words` stand before the `word` at the cursor."""
    options = parser._option_string_actions
    pending: argparse.Action | None = None
    positional = 0
    for each in words:
        if pending is not None and not (pending.nargs == "?" and each.startswith("-")):
            pending = None
            continue
        action = options.get(each)
        pending = action if action is not None and action.nargs != 0 else None
        positional += not each.startswith("-")
    if pending is not None and not (pending.nargs == "?" and word.startswith("-")):
        return Slot(pending, option=pending.nargs == "?" and not word)
    if word.startswith("-"):
        name, is_given, _ = word.partition("=")
        attached = len(name) + 1 if is_given else 2
        action = options.get(name if is_given else word[:2])
        if action is not None and action.nargs != 0 and (is_given or len(word) > 2):
            return Slot(action, attached)
        return Slot(None, option=not is_given)
    takes = parser._get_positional_actions()
    place = positional if positional < len(takes) else len(takes) - 1
    is_free = bool(takes) and (positional < len(takes) or takes[place].nargs in ("*", "+"))
    return Slot(takes[place] if is_free else None, option=not word)


def options_of(parser: MagicParser, typed: Typed) -> Iterator[str]:
    """Long names, unless a short one is begun; what is given already only where it may be given again."""
    given = {each.partition("=")[0] for each in typed.before}
    for action in sorted(parser._actions, key=lambda each: each.dest == "help"):
        if given.intersection(action.option_strings) and not isinstance(action, argparse._AppendAction):
            continue
        long = [name for name in action.option_strings if name.startswith("--")]
        yield from action.option_strings if typed.word == "-" else long or action.option_strings


def _offered(typed: Typed, begins: int, found: Iterable[Candidate]) -> Found:
    """Those that go on from what is typed, else those that hold it; as they are to be written there."""
    start, quote = typed.fragment(begins)
    prefix = typed.word[begins:].casefold()
    known = {each.text: each for each in found if each.text.isprintable()}
    fitting = [each for name, each in known.items() if name.casefold().startswith(prefix)]
    fitting = fitting or [each for name, each in known.items() if prefix.strip("-") and prefix.strip("-") in name.casefold()]
    written = ((each, quoted(each.text, quote)) for each in fitting)
    return Found(typed.line[start:], [Candidate(text, each.type) for each, text in written if text is not None])


def _cell_magic(lines: Sequence[str]) -> tuple[int, str]:
    """The row and the name of the magic that reads the cell: the first one, also below one that only runs it."""
    for row, line in enumerate(lines):
        magic = _CELL.match(line)
        if magic is not None and magic[1] in AROUND:
            continue
        if line.strip():
            return row, magic[1] if magic is not None else ""
    return 0, ""
