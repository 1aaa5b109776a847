"""What a self-check found, as text. Pure; what code inside may have written is cleaned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.sandbox.selfcheck.examination import Outcome, Verdict
from gleitzeit_nb.sandbox.selfcheck.report import PAGE, ModeReport, Report, WeakenedReport

MARKS: dict[Verdict, str] = {"kept": "✓", "broken": "✗", "failed": "✗", "skipped": "–", "not promised": "·"}
WORDS: tuple[tuple[Verdict, str], ...] = (
    ("kept", "kept"),
    ("broken", "BROKEN"),
    ("failed", "could not be tried"),
    ("skipped", "skipped"),
    ("not promised", "not promised by this mode"),
)
NAME_CHARS = 52
LINE_CHARS = 200


def report_text(report: Report, *, brief: bool = False) -> str:
    """Every mode with its checks by area; `brief`: only counts, and what is not as it should be."""
    versions = ", ".join(f"{name} {text}" for name, text in report.versions.items() if text)
    parts = [one_line(versions, LINE_CHARS)]
    parts += ["\n".join(_mode(each, brief)) for each in report.modes]
    if report.weakened:
        parts.append("\n".join(_weakened(report.weakened)))
    if not report.modes and not report.weakened:
        parts.append("No mode is switched on that isolates anything, so there was nothing to look at.")
    return "\n\n".join(parts)


def _mode(report: ModeReport, brief: bool) -> Iterator[str]:
    yield f"{one_line(report.mode, 60)}{' --fresh' if report.fresh else ''}"
    if report.problem:
        first, *rest = report.problem.split("\n")
        yield f"  not here: {one_line(first, LINE_CHARS)}"
        yield from (f"    {one_line(line, LINE_CHARS)}" for line in rest)
        return
    yield f"  {one_line(report.isolation, LINE_CHARS)}"
    if report.image:
        yield f"  {one_line(report.image, 80)} {one_line(report.image_id, 80)}, runtime {one_line(report.runtime, 40)}"
    for area, outcomes in groupby(report.outcomes, key=lambda outcome: outcome.check.area):
        shown = [outcome for outcome in outcomes if outcome.bad or not brief]
        if shown:
            yield f"  {area}"
        for outcome in shown:
            yield from _check(outcome, report)
    yield f"  {tally(report.outcomes)}, in {report.took_s:.1f} s{'; INTERRUPTED before the end' if report.interrupted else ''}"


def _check(outcome: Outcome, report: ModeReport) -> Iterator[str]:
    check = outcome.check
    name = f"    {MARKS[outcome.verdict]} {check.name:<{NAME_CHARS}}"
    if outcome.verdict == "kept":
        yield f"{name} {one_line(check.tried, LINE_CHARS)} → {one_line(outcome.saw, 60)}"
    elif not outcome.bad:
        yield f"{name} {outcome.verdict}: {one_line(outcome.saw, LINE_CHARS)}"
    else:
        yield f"{name} {check.promise}"
        yield f"        tried     {one_line(check.tried, LINE_CHARS)}"
        yield f"        expected  {one_line(check.expectation(report.limits), LINE_CHARS)}"
        yield f"        saw       {one_line(outcome.saw, LINE_CHARS)}"
        yield f"        promised  {PAGE}#{check.proves}; this is what it looks like with: {check.weakening}"


def tally(outcomes: Sequence[Outcome]) -> str:
    counts = Counter(outcome.verdict for outcome in outcomes)
    return ", ".join(f"{counts[verdict]} {word}" for verdict, word in WORDS if counts[verdict]) or "nothing was tried"


def _weakened(reports: Sequence[WeakenedReport]) -> Iterator[str]:
    noticed = sum(each.noticed for each in reports)
    yield f"{one_line(reports[0].mode, 60)} with one protection taken away: {noticed} of {len(reports)} times all its checks noticed"
    for each in reports:
        red = sum(outcome.bad for outcome in each.outcomes)
        word = f"could not be tried: {one_line(each.problem, 120)}" if each.problem else f"{red} of {len(each.outcomes)} checks fail"
        yield f"    {'✓' if each.noticed else '✗'} {each.weakening:<{NAME_CHARS}} {word}"
        yield from (f"        still kept: {outcome.check.name}" for outcome in each.outcomes if not outcome.bad)
