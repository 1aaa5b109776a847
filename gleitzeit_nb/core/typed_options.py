"""Model options as people type them, in a cell or at a shell."""

from __future__ import annotations

import json
from typing import Any


def typed_option(text: str) -> tuple[str, Any]:
    """The value is JSON where it can be, else text. ValueError for what is not of the form name=value.

    >>> typed_option("temperature=0"), typed_option("stop=END")
    (('temperature', 0), ('stop', 'END'))
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"{text!r} is not of the form name=value")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
