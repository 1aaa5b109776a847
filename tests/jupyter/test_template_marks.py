"""The editor marks `{expression}` by its own reading of a prompt (labextension/src/cells/fields.ts): both are held to the same cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gleitzeit_nb.errors import UsageError
from gleitzeit_nb.jupyter.template import expand

CASES = json.loads((Path(__file__).resolve().parents[2] / "labextension" / "test" / "cells" / "template-cases.json").read_text())


class _Inserted:
    def __format__(self, spec: str) -> str:
        return "<value>"

    def __repr__(self) -> str:
        return "<value>"


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["text"]))
def test_what_the_editor_marks_is_what_the_kernel_does(case: dict[str, Any]) -> None:
    evaluated: list[str] = []

    def evaluate(expression: str) -> _Inserted:
        evaluated.append(expression)
        return _Inserted()

    if any(kind == "refused" for kind, _ in case["found"]):
        with pytest.raises(UsageError, match=r"holds no name|never closed"):
            expand(case["text"], evaluate)
        return
    expanded = expand(case["text"], evaluate)
    fields = [text for kind, text in case["found"] if kind == "field"]
    assert len(evaluated) == len(fields)
    assert all(text[1:].strip().startswith(expression) for text, expression in zip(fields, evaluated, strict=True))
    assert expanded.count("<value>") == len(fields)
    escapes = sum(1 for kind, _ in case["found"] if kind == "escape")
    assert expanded.count("{") + expanded.count("}") == escapes + case["text"].count(" } ")
