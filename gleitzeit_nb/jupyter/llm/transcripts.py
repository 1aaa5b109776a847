"""Conversations for people: one as Markdown or plain text, all of them as a table.

What was said stands inside quotations, so that no answer can look like a turn of its own; and it is made harmless as every answer is.
"""

from __future__ import annotations

import html
import textwrap
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from gleitzeit_nb.core.plain import clean, one_line
from gleitzeit_nb.core.requests import Message
from gleitzeit_nb.core.threads import Thread, Turn, text_of
from gleitzeit_nb.jupyter.markdown.harmless import harmless, harmless_line
from gleitzeit_nb.rendering.columns import columns

NAME_CHARS = 60
EXCERPT_CHARS = 60
MOST_SHOWN_CHARS = 250_000  # of a transcript below a cell; an exported one has all
HEAD = ("Thread", "Turns", "Tokens", "Last", "Answered by", "System prompt", "Last question")
_STYLE = "text-align:left;white-space:nowrap"


class Transcript:
    """What was said in a thread, as it shows itself below a cell."""

    def __init__(self, thread: Thread) -> None:
        self._parts = (thread.name, tuple(thread.turns), thread.left_out)

    def __repr__(self) -> str:
        name, turns, left_out = self._parts
        return as_text(name, turns, left_out)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        name, turns, left_out = self._parts
        return {"text/plain": _shortened(repr(self)), "text/markdown": _shortened(as_markdown(name, turns, left_out))}


def _shortened(text: str) -> str:
    """Of a very long one the end: the beginning is what people know already. It is cut between two lines of it."""
    if len(text) <= MOST_SHOWN_CHARS:
        return text
    kept = text[-MOST_SHOWN_CHARS:]
    rest = kept.partition("\n\n")[2] or kept
    return f"(The beginning is left out here: %llm export writes all of it.)\n\n{rest}"


def as_markdown(name: str, turns: Sequence[Turn], left_out: int = 0) -> str:
    """Harmless Markdown: a heading for each who spoke, and what was said as a quotation."""
    blocks = [f"### Thread {harmless_line(name)}"]
    for number, heading, text in _spoken(turns, left_out):
        head = f"#### {number} · {harmless_line(heading)}" if number else f"*{harmless_line(heading)}*"
        blocks += [head, *([_quoted(harmless(text, limit=max(len(text), 1)))] if text else [])]
    return "\n\n".join(blocks) + "\n"


def as_text(name: str, turns: Sequence[Turn], left_out: int = 0) -> str:
    lines = [f"Thread {one_line(name, NAME_CHARS)}"]
    for number, heading, text in _spoken(turns, left_out):
        lines += ["", f"[{number}] {heading}" if number else f"({heading})"]
        lines += [textwrap.indent(clean(text), "    ", lambda _line: True)] if text else []
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}" if line else ">" for line in text.split("\n"))


def _spoken(turns: Sequence[Turn], left_out: int) -> Iterator[tuple[int, str, str]]:
    """(number of the turn, who or what, the text); number 0: a remark between turns."""
    system = ""
    for number, turn in enumerate(turns, 1):
        if turn.system != system:
            system = turn.system
            yield (0, "system prompt" if system else "no system prompt from here on", system)
        if left_out and number == left_out + 1:
            yield (0, "the turns above no longer fit into the model's context: they are not sent", "")
        yield (number, "You", _with_pictures(turn.messages[0]))
        for message in turn.messages[1:]:
            yield (number, *_answered(turn, message))


def _answered(turn: Turn, message: Message) -> tuple[str, str]:
    if message["role"] == "tool":
        return f"Tool {one_line(str(message.get('tool_name', '')), NAME_CHARS)}".rstrip(), text_of(message)
    who = one_line(turn.model, NAME_CHARS) or "Answer"
    calls = _calls(message)
    said = text_of(message)
    where = f" on {one_line(turn.instance, NAME_CHARS)}" if turn.instance else ""
    return f"{who}{where}", "\n\n".join(part for part in (said, f"calls {calls}" if calls else "") if part) or "(an empty answer)"


def _calls(message: Message) -> str:
    from gleitzeit_nb.llm.tools import call_text, parsed

    return ", ".join(call_text(*parsed(call)) for call in message.get("tool_calls") or ())


def _with_pictures(message: Message) -> str:
    count = len(message.get("images") or ())
    shown = f"\n\n({count} {'picture' if count == 1 else 'pictures'})" if count else ""
    return text_of(message) + shown


class ThreadTable(tuple[str, ...]):
    """The names of the threads; shows what each holds."""

    _rows: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, threads: Iterable[Thread]) -> ThreadTable:
        known = tuple(threads)
        made = cls(thread.name for thread in known)
        made._rows = tuple(map(_row, known))
        return made

    def __repr__(self) -> str:
        if not self:
            return "No thread has begun. %%llm --thread NAME begins one."
        return columns([HEAD, *self._rows]).replace("\u00a0", " ")

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        plain = {"text/plain": repr(self)}
        if not self:
            return plain
        head = "".join(f'<th scope="col" style="{_STYLE}">{html.escape(word)}</th>' for word in HEAD)
        rows = "".join(f"<tr>{_cells(row)}</tr>" for row in self._rows)
        return {**plain, "text/html": f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"}


def _cells(row: Sequence[str]) -> str:
    """The row is headed by the thread's name. What is said stands as code, where no formula is typeset."""
    first, *others = row
    cells = "".join(
        f'<td style="{_STYLE}"><code style="font:inherit;background:none;padding:0">{html.escape(word)}</code></td>' for word in others
    )
    return f'<th scope="row" style="{_STYLE}">{html.escape(first)}</th>{cells}'


def _row(thread: Thread) -> tuple[str, ...]:
    last = thread.turns[-1] if thread.turns else Turn(({"role": "user", "content": ""},))
    answered = " on ".join(filter(None, (last.model, last.instance)))
    row = (
        thread.name,
        str(len(thread.turns)),
        "–" if last.tokens is None else f"{last.tokens:,}",
        time.strftime("%H:%M:%S", time.localtime(last.at)) if last.at else "–",
        one_line(answered, NAME_CHARS) or "–",
        one_line(thread.system, EXCERPT_CHARS) or "–",
        one_line(last.question, EXCERPT_CHARS) or "–",
    )
    return tuple(one_line(word, 2 * NAME_CHARS) for word in row)
