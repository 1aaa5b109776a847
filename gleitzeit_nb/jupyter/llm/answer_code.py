"""The Python that an answer holds, as one program. What a model wrote is read, never trusted: it runs in a sandbox or not at all."""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import dataclass

from gleitzeit_nb.core.plain import one_line

PYTHON = ("python", "py", "python3", "py3", "ipython", "ipython3", "pycon", "python-repl")
LANGUAGE_CHARS = 20
LANGUAGES_SHOWN = 5
_PROMPTS = (">>> ", "... ", ">>>", "...")


@dataclass(frozen=True)
class AnswerCode:
    """`source`: the Python blocks in their order, a blank line between them. `others`: blocks that are not Python, by language."""

    source: str
    blocks: int
    others: tuple[tuple[str, int], ...] = ()
    cut: bool = False  # the last block has no end

    def notes(self) -> tuple[str, ...]:
        """What was put together, and what was left out."""
        joined = (f"{self.blocks} blocks of Python were joined",) if self.blocks > 1 else ()
        return (*joined, *((f"not run: {self.others_text()}",) if self.others else ()))

    def others_text(self) -> str:
        shown = [f"{count} {'block' if count == 1 else 'blocks'} of {name}" for name, count in self.others[:LANGUAGES_SHOWN]]
        return ", ".join(shown) + (" and others" if len(self.others) > LANGUAGES_SHOWN else "")


def code_of(text: str) -> AnswerCode:
    """The blocks that say that they are Python; where none does, those that do not say what they are."""
    from gleitzeit_nb.jupyter.markdown.parser import parser

    lines = text.splitlines()
    tagged: list[str] = []
    untagged: list[str] = []
    others: Counter[str] = Counter()
    cut = False
    for token in parser().parse(text):
        if token.type != "fence" or not token.content.strip():
            continue
        language = token.info.strip().partition(" ")[0].strip("{}.").lower()
        if language not in ("", *PYTHON):
            others[one_line(language, LANGUAGE_CHARS)] += 1
            continue
        (tagged if language else untagged).append(without_prompts(token.content))
        cut = _is_open(token.map, token.markup, lines)
    blocks = tagged or untagged
    if tagged and untagged:
        others["no language"] += len(untagged)
    source = "\n\n".join(textwrap.dedent(block).strip("\n") for block in blocks)
    return AnswerCode(f"{source}\n" if source else "", len(blocks), tuple(others.items()), cut)


def _is_open(place: list[int] | None, markup: str, lines: list[str]) -> bool:
    """A fence that ends with the text instead of with its own mark."""
    if place is None or place[1] < len(lines):
        return False
    last = lines[place[1] - 1].strip().lstrip("> ") if 0 < place[1] <= len(lines) else ""
    return not (place[1] - place[0] > 1 and last.startswith(markup) and not last.strip(markup[0]))


def without_prompts(block: str) -> str:
    """The input of an interactive session, where the block shows one: what it printed is left out."""
    lines = textwrap.dedent(block).splitlines()
    first = next((line for line in lines if line.strip()), "")
    if not first.startswith(">>>"):
        return block
    found: list[str] = []
    for line in lines:
        prompt = next((each for each in _PROMPTS if line.startswith(each)), None)
        if prompt is not None:
            found.append(line[len(prompt) :])
    return "\n".join(found) + "\n"
