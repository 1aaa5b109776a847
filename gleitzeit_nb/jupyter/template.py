"""`{expression}` in what the user typed. One pass: what is inserted is never looked at again."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.errors import UsageError

_OPENING = {"(": ")", "[": "]", "{": "}"}
_CONVERSION = re.compile(r"![rsa](?=[:}])")
_CONVERSIONS: dict[str, Callable[[object], str]] = {"r": repr, "s": str, "a": ascii}
_HINT = "Write {{ and }} for braces that are meant literally, or add --raw to send the text as it is."


class Field(NamedTuple):
    expression: str
    conversion: str  # "", "r", "s" or "a"
    spec: str
    end: int  # index after the closing brace


def expand(text: str, evaluate: Callable[[str], Any]) -> str:
    """`text` with every `{expression}` replaced by its value, as in an f-string; `{{` and `}}` are literal braces.

    Raises UsageError for a field that is not closed, is empty or a mere literal, or whose evaluation fails.
    """
    pieces: list[str] = []
    at = 0
    while at < len(text):
        if text.startswith(("{{", "}}"), at):
            pieces.append(text[at])
            at += 2
        elif text[at] == "{":
            field = _field(text, at)
            pieces.append(_value(field, evaluate))
            at = field.end
        else:
            end = _next_brace(text, at + 1)
            pieces.append(text[at:end])
            at = end
    return "".join(pieces)


def open_expression(text: str) -> str | None:
    """What stands of the expression in the field that is still open at the end of `text`; None when none is, or it has a format already."""
    at = 0
    while at < len(text):
        if text.startswith(("{{", "}}"), at):
            at += 2
        elif text[at] == "{":
            try:
                end = _end_of_expression(text, at)
            except UsageError:
                return text[at + 1 :]
            at = text.find("}", end) + 1
            if not at:
                return None
        else:
            at = _next_brace(text, at + 1)
    return None


def _next_brace(text: str, start: int) -> int:
    found = [index for index in (text.find("{", start), text.find("}", start)) if index >= 0]
    return min(found, default=len(text))


def _field(text: str, start: int) -> Field:
    return _with_format(text, start, _end_of_expression(text, start))


def _end_of_expression(text: str, start: int) -> int:
    """Of the field whose opening brace stands at `start`: brackets and strings inside it are skipped as wholes."""
    closers: list[str] = []
    at = start + 1
    while at < len(text):
        char = text[at]
        if char in "\"'":
            at = _after_string(text, at, start)
            continue
        if not closers and (char in ":}" or _CONVERSION.match(text, at)):
            return at
        if char in _OPENING:
            closers.append(_OPENING[char])
        elif closers and char == closers[-1]:
            closers.pop()
        at += 1
    raise _unclosed(text, start)


def _with_format(text: str, start: int, at: int) -> Field:
    expression, conversion, spec = text[start + 1 : at].strip(), "", ""
    if text[at] == "!":
        conversion, at = text[at + 1], at + 2
    if text[at] == ":":
        end = text.find("}", at)
        if end < 0:
            raise _unclosed(text, start)
        spec, at = text[at + 1 : end], end
    if not expression or _is_literal(expression):
        raise UsageError(f"{_shown(text, start)} holds no name or expression to insert.\n{_HINT}")
    return Field(expression, conversion, spec, at + 1)


def _is_literal(expression: str) -> bool:
    """Whether it is a mere constant: nobody inserts one, but JSON and regular expressions in prompts look like that."""
    try:
        return isinstance(ast.parse(expression, mode="eval").body, ast.Constant)
    except (SyntaxError, ValueError):
        return False  # evaluating it will say what is wrong


def _after_string(text: str, at: int, start: int) -> int:
    quote = text[at]
    if text.startswith(quote * 3, at):
        quote *= 3
    end = at + len(quote)
    while not text.startswith(quote, end):
        end += 2 if text.startswith("\\", end) else 1
        if end >= len(text):
            raise _unclosed(text, start)
    return end + len(quote)


def _value(field: Field, evaluate: Callable[[str], Any]) -> str:
    try:
        value = evaluate(field.expression)
        return format(_CONVERSIONS[field.conversion](value) if field.conversion else value, field.spec)
    except Exception as error:  # the user's expression may raise anything; it becomes one clear message
        shown = one_line(f"{type(error).__name__}: {error}")
        raise UsageError(f"{{{one_line(field.expression, 60)}}} cannot be inserted: {shown}\n{_HINT}") from error


def _unclosed(text: str, start: int) -> UsageError:
    return UsageError(f"the brace that opens {_shown(text, start)} is never closed.\n{_HINT}")


def _shown(text: str, start: int) -> str:
    return one_line(text[start : start + 40], 30)
