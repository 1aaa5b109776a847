"""The Markdown that is understood: CommonMark with tables, strikethrough and formulas, and no HTML."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline

MAX_NESTING = 40
MATH_INLINE = "math_inline"
MATH_BLOCK = "math_block"

_CLOSERS = {"$$": "$$", "\\[": "\\]", "\\(": "\\)"}
_ENVIRONMENT = re.compile(r"\\begin\{([a-z]+\*?)\}")
_MAX_FORMULA = 4000
_MAX_FORMULA_LINES = 60


@cache
def parser() -> MarkdownIt:
    """The one parser. Every scheme passes here: which links may stay is decided where they are written."""
    made = MarkdownIt("commonmark", {"html": False, "maxNesting": MAX_NESTING}).enable(["table", "strikethrough"])
    made.inline.ruler.before("escape", MATH_INLINE, _inline_formula)
    made.block.ruler.before("fence", MATH_BLOCK, _block_formula, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    made.validateLink = _every_link  # type: ignore[method-assign]
    return made


def _every_link(url: str) -> bool:
    return bool(url)


def _inline_formula(state: StateInline, silent: bool) -> bool:
    r"""`$…$` by pandoc's rules (so that prices stay prices), `$$…$$`, `\(…\)` and `\[…\]`."""
    start, source = state.pos, state.src
    if source[start] not in "$\\":
        return False
    opener = source[start : start + 2]
    if opener in _CLOSERS:
        end = source.find(_CLOSERS[opener], start + 2, min(state.posMax, start + _MAX_FORMULA))
        content, after = source[start + 2 : end], end + 2
    elif source[start] == "$":
        opener = "$"
        end = _closing_dollar(source, start + 1, min(state.posMax, start + _MAX_FORMULA))
        content, after = source[start + 1 : end], end + 1
    else:
        return False
    if end < 0 or not content.strip():
        return False
    if not silent:
        token = state.push(MATH_INLINE, "math", 0)
        token.content, token.markup, token.meta = content, opener, {"raw": source[start:after]}
    state.pos = after
    return True


def _closing_dollar(source: str, start: int, limit: int) -> int:
    if start >= limit or source[start].isspace():
        return -1
    at = start
    while (at := source.find("$", at, limit)) >= 0:
        if source[at - 1] == "\\":
            at += 1
            continue
        fits = at > start and not source[at - 1].isspace() and not source[at + 1 : at + 2].isdigit()
        return at if fits else -1
    return -1


def _block_formula(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    r"""Formulas on lines of their own: `$$ … $$`, `\[ … \]`, `\begin{…} … \end{…}`, without a blank line inside."""
    if state.is_code_block(start_line):
        return False
    first = state.src[state.bMarks[start_line] + state.tShift[start_line] : state.eMarks[start_line]]
    environment = _ENVIRONMENT.match(first)
    if environment:
        opener, closer = "", f"\\end{{{environment[1]}}}"
    elif first[:2] in ("$$", "\\["):
        opener, closer = first[:2], _CLOSERS[first[:2]]
    else:
        return False
    lines: list[str] = []
    for number in range(start_line, min(end_line, start_line + _MAX_FORMULA_LINES)):
        indent_fits = number == start_line or state.sCount[number] >= state.blkIndent
        line = state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]].rstrip()
        if not line or not indent_fits:
            return False
        lines.append(line)
        if line.endswith(closer) and (number > start_line or len(line) >= len(opener) + len(closer)):
            return _push_block(state, (start_line, number + 1), lines, opener, silent)
    return False


def _push_block(state: StateBlock, lines_range: tuple[int, int], lines: list[str], opener: str, silent: bool) -> bool:
    raw = "\n".join(lines)
    content = raw[len(opener) : len(raw) - len(opener)] if opener else raw
    if not content.strip() or (opener and _CLOSERS[opener] in content):
        return False
    if not silent:
        state.line = lines_range[1]
        token = state.push(MATH_BLOCK, "math", 0)
        token.block, token.content, token.markup, token.meta, token.map = True, content, opener, {"raw": raw}, list(lines_range)
    return True
