"""Running code as it stands in a guide: with `await` at the top level, as in a notebook's cell."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from types import CodeType
from typing import Any


def compiled(source: str, name: str) -> CodeType:
    return compile(textwrap.dedent(source), name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


async def run(source: str, names: dict[str, Any] | None = None, *, name: str = "<example>") -> dict[str, Any]:
    """Execute `source` with `names` known; everything that it defined, and they, come back."""
    namespace: dict[str, Any] = {"__name__": "example"} if names is None else names
    code = compiled(source, name)
    if code.co_flags & inspect.CO_COROUTINE:
        await eval(code, namespace)  # noqa: S307 - our own examples
    else:
        exec(code, namespace)
    return namespace


def blocks(page: str, language: str) -> list[tuple[int, str]]:
    """(line, code) of every fenced block of that language."""
    found = re.finditer(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    return [(page.count("\n", 0, match.start()) + 2, match[1]) for match in found]
