"""What a self-check found, as frozen records and as plain JSON types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gleitzeit_nb.core.execution import Limits
from gleitzeit_nb.sandbox.selfcheck.examination import Outcome

SCHEMA_VERSION = 1
PAGE = "docs/security.md"


@dataclass(frozen=True)
class ModeReport:
    """One mode. `named`: somebody asked for it. `problem`: why it could not be looked at. `interrupted`: some checks are missing."""

    mode: str
    fresh: bool = False
    named: bool = False
    isolation: str = ""
    image: str = ""
    image_id: str = ""
    runtime: str = ""
    limits: Limits = Limits()
    outcomes: tuple[Outcome, ...] = ()
    problem: str = ""
    took_s: float = 0.0
    interrupted: bool = False

    @property
    def kept(self) -> bool:
        """Everything that could be tried is as it was promised, and something could."""
        return not self.problem and not self.interrupted and not any(outcome.bad for outcome in self.outcomes)


@dataclass(frozen=True)
class WeakenedReport:
    """One mode with one protection taken away, and the checks that should notice."""

    mode: str
    weakening: str
    outcomes: tuple[Outcome, ...] = ()
    problem: str = ""

    @property
    def noticed(self) -> bool:
        return not self.problem and all(outcome.bad for outcome in self.outcomes)


@dataclass(frozen=True)
class Report:
    """`versions`: of the package, Python, the kernel and the Docker daemon, as they say themselves."""

    versions: Mapping[str, str]
    modes: tuple[ModeReport, ...] = ()
    weakened: tuple[WeakenedReport, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 all is as promised; 1 something is not; 2 a mode that was asked for could not be looked at."""
        if not all(each.kept for each in self.modes if not each.problem) or not all(each.noticed for each in self.weakened):
            return 1
        looked_at = [each for each in self.modes if not each.problem]
        return 2 if any(each.problem and each.named for each in self.modes) or not (looked_at or self.weakened) else 0


def document(report: Report) -> dict[str, Any]:
    """For machines. Keys are only ever added while the schema's version stays."""
    return {
        "schema_version": SCHEMA_VERSION,
        "ok": report.exit_code == 0,
        "versions": dict(report.versions),
        "modes": [_mode(each) for each in report.modes],
        "weakened": [_weakened(each) for each in report.weakened],
    }


def _mode(report: ModeReport) -> dict[str, Any]:
    plain = ("mode", "fresh", "isolation", "image", "image_id", "runtime", "problem", "took_s", "interrupted")
    return {
        **{name: getattr(report, name) for name in plain},
        "counts": dict(Counter(outcome.verdict for outcome in report.outcomes)),
        "checks": _checks(report.outcomes, report.limits),
    }


def _weakened(report: WeakenedReport) -> dict[str, Any]:
    return {
        "mode": report.mode,
        "weakening": report.weakening,
        "problem": report.problem,
        "noticed": report.noticed,
        "checks": _checks(report.outcomes, Limits()),
    }


def _checks(outcomes: Sequence[Outcome], limits: Limits) -> list[dict[str, Any]]:
    return [
        {
            "name": outcome.check.name,
            "area": outcome.check.area,
            "verdict": outcome.verdict,
            "promise": outcome.check.promise,
            "proves": f"{PAGE}#{outcome.check.proves}",
            "tried": outcome.check.tried,
            "expected": outcome.check.expectation(limits),
            "saw": outcome.saw,
            "weakening": outcome.check.weakening,
            "took_s": round(outcome.took_s, 4),
        }
        for outcome in outcomes
    ]
