"""What a measurement found, beside what the project promises."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Promise:
    """A ratio against a control of the same run, or a count. `limit`: the most, or with `at_least` the least, that keeps it.

    `seen`: what was measured, in words, for orientation.
    """

    name: str
    value: float
    limit: float
    seen: str
    unit: str = "×"
    at_least: bool = False

    @property
    def held(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def line(self) -> str:
        verdict = "held" if self.held else "MISSED"
        bound = f"{'≥' if self.at_least else '≤'} {self.limit:g}"
        return f"{self.name:<38} {self.value:8.2f} {self.unit:<2} ({bound}, {verdict})   {self.seen}"


def at_most(name: str, value: float, limit: float, seen: str, unit: str = "") -> Promise:
    """A count or a duration that must stay small."""
    return Promise(name, value, limit, seen, unit)
