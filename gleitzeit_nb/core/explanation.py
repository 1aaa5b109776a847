"""Who would answer a request now, and why not the others: a pick that nobody acts upon."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from random import Random
from typing import overload

from gleitzeit_nb.core.candidates import OCCUPIED, Standing
from gleitzeit_nb.core.forecast import Case
from gleitzeit_nb.core.instances import Instance
from gleitzeit_nb.core.models import display
from gleitzeit_nb.core.needs import Needs, Wishes
from gleitzeit_nb.core.pins import Pins
from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.core.strategies import Pick, pick, strategy_named

COMPARED = OCCUPIED | {Standing.FREE, Standing.PICKED, Standing.WAITS, Standing.PANIC}


@dataclass(frozen=True)
class Explained:
    """One instance. `score`: lower is better; None where there is none, since it cannot take the request now or soon."""

    id: str
    standing: str  # one word, such as "picked"
    verdict: str
    warm: bool | None  # the model is loaded there; None: no model was named
    score: float | None = None
    parts: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Explanation(Sequence[tuple[str, str]]):
    """One row per instance. As a sequence it holds (id, verdict); `str` is a table for people."""

    model: str
    strategy: str
    rows: tuple[Explained, ...]

    @property
    def picked(self) -> str | None:
        """Who would answer at once."""
        return next((row.id for row in self.rows if row.standing == "picked"), None)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> tuple[str, str]: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[tuple[str, str], ...]: ...
    def __getitem__(self, index: int | slice) -> tuple[str, str] | tuple[tuple[str, str], ...]:
        pairs = tuple((row.id, row.verdict) for row in self.rows)
        return pairs[index]

    def __str__(self) -> str:
        head = f"{display(self.model) or 'any model'} by {self.strategy}" + ("" if self.rows else ": the pool has no instance")
        table = [("Instance", "Warm", "Score", "Made of", "Verdict")] if self.rows else []
        table += [(row.id, _WARM[row.warm], _number(row.score), _made_of(row), one_line(row.verdict)) for row in self.rows]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in table]
        return "\n".join([one_line(head), *lines])


def explain(
    needs: Needs, wishes: Wishes, instances: Collection[Instance], now: float, rng: Random, pins: Pins | None = None
) -> Explanation:
    """As `pick` would judge now. The draw among equals is the explanation's own."""
    found = pick(needs, wishes, instances, now, rng, pins=pins, exact=True)
    return Explanation(needs.model, wishes.strategy, _rows(found, Case.of(needs, wishes, now, pins)))


def _rows(found: Pick, case: Case) -> tuple[Explained, ...]:
    compared = [verdict.instance for verdict in found.verdicts if verdict.standing in COMPARED]
    ranking = strategy_named(case.wishes.strategy).ranking(case, compared)
    rows = []
    for verdict in found.verdicts:
        instance, has_score = verdict.instance, verdict.standing in COMPARED
        rows.append(
            Explained(
                id=instance.id,
                standing=verdict.standing.name.lower(),
                verdict=verdict.text,
                warm=instance.is_warm(case.needs.model, case.now) if case.needs.model else None,
                score=ranking.score(instance)[0] if has_score else None,
                parts=ranking.parts(instance) if has_score else (),
            )
        )
    return tuple(rows)


_WARM = {True: "yes", False: "no", None: "–"}


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _made_of(row: Explained) -> str:
    return ", ".join(f"{label} {value:.3g}" for label, value in row.parts if value) or "–"
