"""The plugin that keeps the suite honest, run on small suites of its own."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

SKIPS = """
import pytest

@pytest.fixture
def engine():
    pytest.skip("no engine here")

def test_needs_an_engine(engine): ...

@pytest.mark.skip(reason="not today")
def test_marked(): ...

@pytest.mark.xfail
def test_fails_without_a_reason(): assert False

@pytest.mark.xfail(reason="upstream bug 12")
def test_fails_with_a_reason(): assert False

def test_passes(): ...
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    pytester.makeini("[pytest]\naddopts = -p tests.support.ci_rules\nasyncio_default_fixture_loop_scope = function\n")
    monkeypatch.delenv("CI", raising=False)
    return pytester


def test_on_a_desk_a_skip_is_a_skip(suite: pytest.Pytester) -> None:
    suite.makepyfile(SKIPS)
    suite.runpytest_inprocess("-rs").assert_outcomes(passed=1, skipped=2, xfailed=2)


def test_in_ci_skips_and_unexplained_expected_failures_fail(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    suite.makepyfile(SKIPS)
    result = suite.runpytest_inprocess()
    result.assert_outcomes(passed=1, failed=1, errors=2, xfailed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*Skipped with CI=true: no engine here*", "*Skipped with CI=true: not today*", "*without a reason*"])


def test_in_ci_a_module_that_skips_itself_fails(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    suite.makepyfile('import pytest\npytest.importorskip("no_such_package_at_all")\ndef test_one(): ...')
    result = suite.runpytest_inprocess()
    assert result.ret != pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*Skipped with CI=true: could not import 'no_such_package_at_all'*"])


def test_counts_stand_by_folder(suite: pytest.Pytester) -> None:
    suite.mkdir("one").joinpath("test_a.py").write_text("def test_a(): ...\ndef test_b(): assert False\n")
    suite.mkdir("two").joinpath("test_c.py").write_text("def test_c(): ...\n")
    suite.runpytest_inprocess().stdout.fnmatch_lines(["*counts per folder*", "one * 1 passed, 1 failed", "two * 1 passed"])


def test_the_slowest_steps_include_those_before_the_tests(suite: pytest.Pytester) -> None:
    steps = suite.path / "steps.tsv"
    steps.write_text("123.45\tprovision: base image\n")
    suite.makepyfile("def test_quick(): ...")
    suite.runpytest_inprocess(f"--steps={steps}").stdout.fnmatch_lines(
        ["*slowest steps*", "*123.* s  provision: base image", "*test_quick"]
    )


def test_only_what_watches_programs_in_real_time_is_tried_twice_and_named(suite: pytest.Pytester) -> None:
    unsteady = "tries = []\ndef test_unsteady():\n    tries.append(1)\n    assert len(tries) == 2, 'too slow'\n"
    for folder in ("tests/browser", "tests/sandbox"):
        path = suite.path / folder / "test_one.py"
        path.parent.mkdir(parents=True)
        path.write_text(unsteady)
    result = suite.runpytest_inprocess("--import-mode=importlib")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*needed a second try*", "tests/browser/test_one.py::test_unsteady*", "FAILED tests/sandbox/test_one.py*"])
