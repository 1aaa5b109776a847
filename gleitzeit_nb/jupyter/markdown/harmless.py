"""A model's Markdown, parsed and written anew: what comes out shows the same and can do nothing.

Raw HTML becomes text, images become links, links are http, https or mailto, formulas only draw, diagrams are code. It is made harmless
before it is emitted, because a saved notebook is shown by readers that do not sanitise (and nbconvert's parser and JupyterLab's differ
in what they find). So the writer uses few forms, one way each, and no sequence that any of the readers treats specially outside them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from gleitzeit_nb.core.plain import clean
from gleitzeit_nb.jupyter.markdown.inline import Event, read, text_events, write
from gleitzeit_nb.jupyter.markdown.parser import MATH_BLOCK, MAX_NESTING, parser
from gleitzeit_nb.jupyter.markdown.tex import harmless_tex

if TYPE_CHECKING:
    from markdown_it.token import Token

MAX_CHARS = 250_000

_CROWDED_CHARS = 20_000
_LANGUAGE = re.compile(r"[A-Za-z0-9_+#.-]{1,30}\Z")
_DRAWN_LANGUAGES = ("mermaid", "math", "geojson", "topojson", "stl")  # readers draw these, some with scripts fetched from elsewhere
_LINE_START = re.compile(r"(?P<mark>[#\-+=:%(^])|(?P<number>\d{1,9})(?P<dot>[.)])")
_BACKTICKS = re.compile(r"`{3,}")


def harmless(text: str, *, limit: int = MAX_CHARS) -> str:
    """Markdown that shows what `text` shows and that no reader can be hurt by. Applied twice it changes nothing more.

    Of a text longer than `limit` characters the beginning is shown, with a sentence that says so.
    """
    cut = len(text) - limit
    shown = clean(text[:limit])
    tokens = [] if _is_crowded(shown) else parser().parse(shown)
    if _is_crowded(shown) or any(token.level >= MAX_NESTING - 1 for token in tokens):
        blocks = [Block("fence", _fenced(shown, ""))]  # nobody writes like that for a reader: it is shown as it stands
    else:
        blocks = _Writer(tokens).document()
    if cut > 0:
        blocks.append(Block("paragraph_open", [f"*… {cut:,} more characters are not shown here.*"]))
    return _joined(blocks)


def _is_crowded(text: str) -> bool:
    """Whether so much of a long text is markup that reading it as Markdown would cost seconds."""
    return len(text) > _CROWDED_CHARS and sum(text.count(char) for char in "[]*~!$\\") > len(text) / 5


def harmless_line(text: str) -> str:
    """One line of text, as Markdown that shows exactly it."""
    return "\n".join(_guarded(write(text_events(" ".join(clean(text).split())))))


class Block(NamedTuple):
    """One block as written. `kind` is the type of its opening token."""

    kind: str
    lines: list[str]
    loose: bool = False  # a paragraph of a list whose items stand apart
    numbered: bool = False  # a list that does not begin at 1


class _Writer:
    """Walks the parser's flat list of tokens; each method reads one construct and returns its blocks of lines."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def document(self) -> list[Block]:
        return self._blocks(until="")

    def _blocks(self, until: str) -> list[Block]:
        blocks: list[Block] = []
        last_marker = ""
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            self._at += 1
            if token.type == until:
                break
            marker = _OTHER_MARKER.get(token.markup, "") if token.markup == last_marker else token.markup  # else two lists become one
            lines = self._block(token, marker)
            if lines:
                blocks.append(Block(token.type, lines, token.type == "paragraph_open" and not token.hidden, "start" in token.attrs))
                last_marker = marker if token.type.endswith("list_open") else ""
        return blocks

    def _block(self, token: Token, marker: str) -> list[str]:
        if token.type == "paragraph_open":
            return _guarded(write(self._inline("paragraph_close")))
        if token.type == "heading_open":
            return self._heading(int(token.tag[1:]))
        if token.type in ("fence", "code_block"):
            return _fenced(token.content, token.info if token.type == "fence" else "")
        if token.type == MATH_BLOCK:
            return _display_formula(token)
        if token.type == "blockquote_open":
            return [f"> {line}" if line else ">" for line in _lines(self._blocks("blockquote_close"))]
        if token.type in ("bullet_list_open", "ordered_list_open"):
            return self._list(token, marker)
        if token.type == "table_open":
            return self._table()
        return ["___"] if token.type == "hr" else []

    def _inline(self, until: str, *, one_line: bool = False) -> list[Event]:
        events: list[Event] = []
        while self._tokens[self._at].type != until:
            events += read(self._tokens[self._at].children or (), one_line=one_line)
            self._at += 1
        self._at += 1
        return events

    def _heading(self, level: int) -> list[str]:
        text = write(self._inline("heading_close", one_line=True)).strip(" ")
        bare = text.rstrip("#")  # a heading's closing sequence would swallow them
        return [f"{'#' * level} {bare}{'&#35;' * (len(text) - len(bare))}"] if text else []

    def _list(self, opening: Token, marker: str) -> list[str]:
        ordered = opening.type == "ordered_list_open"
        number = int(str(opening.attrs.get("start", 1))) if ordered else 0
        until = opening.type.replace("open", "close")
        items: list[list[Block]] = []
        while self._tokens[self._at].type != until:
            self._at += 1
            _draw_checkbox(self._tokens[self._at : self._at + 2])
            items.append(self._blocks("list_item_close"))
        self._at += 1
        tight = all(_is_tight(blocks) for blocks in items)
        lines: list[str] = []
        for index, blocks in enumerate(items):
            if index and not tight:
                lines.append("")
            lines += _item(f"{number + index}{marker}" if ordered else marker, blocks, tight)
        return lines

    def _table(self) -> list[str]:
        rows: list[list[str]] = []
        aligns: list[str] = []
        while (token := self._tokens[self._at]).type != "table_close":
            self._at += 1
            if token.type == "tr_open":
                rows.append([])
            elif token.type in ("th_open", "td_open"):
                if token.type == "th_open":
                    aligns.append(_ALIGNED.get(str(token.attrs.get("style", "")), "---"))
                events = self._inline(token.type.replace("open", "close"), one_line=True)
                rows[-1].append(write(events, cell=True).strip(" ") or " ")
        self._at += 1
        lines = [f"| {' | '.join(cells)} |" for cells in rows]
        return [*lines[:1], f"|{'|'.join(aligns)}|", *lines[1:]]


_LISTS = ("bullet_list_open", "ordered_list_open")
_OTHER_MARKER = {"-": "*", "*": "-", "+": "-", ".": ")", ")": "."}
_ALIGNED = {"text-align:left": ":--", "text-align:right": "--:", "text-align:center": ":-:"}


def _draw_checkbox(tokens: Sequence[Token]) -> None:
    """A task list's brackets, as the characters that readers draw for them."""
    if len(tokens) == 2 and tokens[0].type == "paragraph_open" and tokens[1].children:
        first = tokens[1].children[0]
        first.content = re.sub(r"^\[([ xX])\][ \t]", lambda match: "☐ " if match[1] == " " else "☑ ", first.content)


def _is_tight(blocks: Sequence[Block]) -> bool:
    """Whether an item's blocks may follow each other without blank lines: a paragraph, then at most a list that can interrupt one."""
    if any(block.loose for block in blocks) or len(blocks) > 2:
        return False
    kinds = [block.kind for block in blocks]
    if len(kinds) < 2:
        return not kinds or kinds[0] in ("paragraph_open", "heading_open", *_LISTS)
    last = blocks[-1]
    return kinds[0] == "paragraph_open" and kinds[1] in _LISTS and not last.numbered and " " in last.lines[0]


def _item(marker: str, blocks: list[Block], tight: bool) -> list[str]:
    if not blocks:
        return [marker]
    lines = [line for block in blocks for line in block.lines] if tight else _lines(blocks)
    indent = " " * (len(marker) + 1)
    return [f"{marker} {lines[0]}", *(f"{indent}{line}" if line else "" for line in lines[1:])]


def _lines(blocks: list[Block]) -> list[str]:
    lines: list[str] = []
    for index, block in enumerate(blocks):
        lines += ["", *block.lines] if index else block.lines
    return lines


def _joined(blocks: list[Block]) -> str:
    return "\n".join(_lines(blocks))


def _guarded(text: str) -> list[str]:
    """A paragraph's lines, none of which begins like a block. Spaces at the ends mean nothing but two before a hard break."""
    lines = []
    for line in text.split("\n"):
        hard = line.endswith("  ")
        line = line.strip(" ")
        if line:
            lines.append(_guard(line) + ("  " if hard else ""))
    if lines:
        lines[-1] = lines[-1].rstrip(" ")
    return lines


def _guard(line: str) -> str:
    match = _LINE_START.match(line)
    if match is None:
        return line
    if match["mark"]:
        return f"&#{ord(line[0])};{line[1:]}"
    return f"{match['number']}&#{ord(match['dot'])};{line[match.end() :]}"


def _fenced(content: str, info: str) -> list[str]:
    language = (info.split(maxsplit=1) or [""])[0]
    if not _LANGUAGE.match(language) or language.lower().startswith(_DRAWN_LANGUAGES):
        language = ""
    fence = "`" * max([3, *(len(run) + 1 for run in _BACKTICKS.findall(content))])
    return [fence + language, *content.removesuffix("\n").split("\n"), fence]


def _display_formula(token: Token) -> list[str]:
    tex = harmless_tex(token.content, display=True)
    if tex is None:
        return _fenced(str(token.meta["raw"]), "")
    return ["$$", *(line for line in (line.strip() for line in tex.split("\n")) if line), "$$"]
