"""A pytest plugin: what was not tried must not look like success.

With `CI=true` a skip fails, and so does an expected failure that gives no reason. Everywhere, the run closes with counts per
folder and the ten slowest steps (tests, notebook cells and the provisioning that came before).

Tests that watch browsers, kernels and whole programs in real time get a second try, since a busy machine may freeze any of them
for seconds. Each one that needed it is named at the end: a name that comes back is a defect. Nothing else is tried twice, least of
all a promise of the sandbox.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

SLOWEST = 10
TRIED_TWICE = ("tests/browser", "tests/demo", "tests/jupyter")
OUTCOMES = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")


def in_ci() -> bool:
    return os.environ.get("CI", "").lower() == "true"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--steps", metavar="FILE", help="seconds and names of steps before the tests, one a line, for the list of the slowest")


def pytest_configure(config: pytest.Config) -> None:
    # Read once, here: tests run in an environment of their own.
    config.pluginmanager.register(CiRules(strict=in_ci()), "gleitzeit-ci-rules")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(config.rootpath) and str(item.path.relative_to(config.rootpath)).startswith(TRIED_TWICE):
            item.add_marker(pytest.mark.flaky(reruns=1))


def skip_reason(longrepr: Any) -> str:
    return str(longrepr[2] if isinstance(longrepr, tuple) else longrepr).removeprefix("Skipped: ")


class CiRules:
    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self.durations: dict[str, float] = defaultdict(float)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if self.strict and report.skipped:
            self._fail(report)
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(self) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        report = yield
        if self.strict and report.skipped:
            report.outcome = "failed"
            report.longrepr = f"Skipped with CI=true: {skip_reason(report.longrepr)}"  # type: ignore[assignment]
        return report

    @staticmethod
    def _fail(report: pytest.TestReport) -> None:
        if not hasattr(report, "wasxfail"):
            report.outcome = "failed"
            report.longrepr = f"Skipped with CI=true: {skip_reason(report.longrepr)}"
        elif not report.wasxfail.removeprefix("reason: "):
            del report.wasxfail
            report.outcome = "failed"
            report.longrepr = "Expected to fail, but without a reason (CI=true): xfail(reason=…)"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.durations[report.nodeid] += report.duration

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        write = terminalreporter.write_line
        folders: dict[str, Counter[str]] = defaultdict(Counter)
        for outcome in OUTCOMES:
            for report in terminalreporter.stats.get(outcome, []):
                folders[str(Path(report.nodeid.partition("::")[0]).parent)][outcome] += 1
        terminalreporter.section("counts per folder")
        for folder, counts in sorted(folders.items()):
            write(f"{folder:<20} " + ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome]))
        if again := terminalreporter.stats.get("rerun", []):
            terminalreporter.section("needed a second try")
            for report in again:
                reason = str(report.longrepr).rstrip().rpartition("\n")[2]
                write(f"{report.nodeid}  {reason[:200]}")
        terminalreporter.section(f"{SLOWEST} slowest steps")
        steps = [*self.durations.items(), *earlier_steps(config.getoption("steps"))]
        for name, seconds in sorted(steps, key=lambda step: -step[1])[:SLOWEST]:
            write(f"{seconds:8.1f} s  {name}")


def earlier_steps(path: str | None) -> list[tuple[str, float]]:
    if not path or not Path(path).is_file():
        return []
    lines = [line.partition("\t") for line in Path(path).read_text().splitlines()]
    return [(name, float(seconds)) for seconds, _, name in lines]
