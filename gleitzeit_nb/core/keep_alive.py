"""How long a model stays loaded after its last request. It belongs to the loaded model: the last request that carries one wins."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from gleitzeit_nb.core.models import canonical

FOREVER = -1.0
EXPECTED = "a time such as 30m, 1h30m or a number of seconds, or -1 for ever"
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class KeepAlive:
    """Seconds for each model (by canonical name), and for all others. None: nothing is sent, and the server's own counts."""

    others_s: float | None = None
    by_model: Mapping[str, float] = field(default_factory=dict)

    def of(self, model: str) -> float | None:
        return self.by_model.get(canonical(model), self.others_s)


def seconds(value: object) -> float:
    """Seconds, or FOREVER, from a number or a text. ValueError for anything else, and for 0.

    0 would unload the model under everybody else who uses the instance: unloading is a command of its own.
    """
    found = _number(value)
    if found is None or not math.isfinite(found):
        raise ValueError(f"should be {EXPECTED}")
    if found == 0:
        raise ValueError("should not be 0, which would unload the model under everybody who uses it: unload() does that on purpose")
    return FOREVER if found < 0 else found


def on_the_wire(value_s: float) -> float | int:
    """A number is seconds to Ollama; negative means for ever."""
    return int(value_s) if value_s == int(value_s) else value_s


def _number(value: object) -> float | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str) or len(value) > 32:
        return None
    text = value.strip().lower()
    body = text[1:] if text[:1] in "+-" else text
    sign = -1.0 if text[:1] == "-" else 1.0
    parts = _PART.findall(body)
    if parts and "".join(number + unit for number, unit in parts) == body:
        return sign * sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    try:
        return sign * float(body)
    except ValueError:
        return None
