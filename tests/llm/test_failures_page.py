"""docs/failures.md against the code: every cause, every error of the pool and every standing limit is on it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from gleitzeit_nb import errors
from gleitzeit_nb.core import breaker, retry, timeouts
from gleitzeit_nb.core.faults import TRAITS, Blame, Cause
from gleitzeit_nb.core.instances import InstanceState
from gleitzeit_nb.llm import outcomes


@pytest.fixture(scope="module")
def page(project_root: Path) -> str:
    return (project_root / "docs" / "failures.md").read_text()


@pytest.mark.parametrize("cause", list(Cause))
def test_every_cause_is_explained_with_whom_it_counts_against(page: str, cause: Cause) -> None:
    (row,) = [line for line in page.splitlines() if line.startswith(f"| `{cause.value}` |")]
    _, _, against, elsewhere = row.strip("| ").split(" | ")
    words = {Blame.INSTANCE: "the instance", Blame.MODEL: "the model there", Blame.NOBODY: "nobody"}
    assert against.startswith(words[TRAITS[cause].blame])
    assert ("at once" in against) is TRAITS[cause].fatal
    assert elsewhere.startswith("no") is not TRAITS[cause].retryable


def test_every_error_that_a_request_can_end_with_is_listed(page: str) -> None:
    table = page.partition("## Errors, and what to do")[2]
    raised = {name for name, kind in inspect.getmembers(outcomes, inspect.isclass) if issubclass(kind, errors.PoolError)}
    assert {"AllInstancesFailedError", "StreamInterruptedError"} <= raised
    assert [name for name in sorted(raised - {"PoolError"} | {"QueueFullError"}) if f"`{name}`" not in table] == []


def test_the_numbers_on_the_page_are_those_of_the_code(page: str) -> None:
    assert (breaker.WINDOW, breaker.ENOUGH, breaker.WORST_SHARE, breaker.BreakerSettings().failure_threshold) == (10, 5, 0.5, 3)
    assert "3 faults in a row, or half of" in page
    assert "the last 10 (at least 5)" in page
    assert f"{retry.SHARE:.0%}".replace("%", " %") + " of the requests" in page
    assert (timeouts.WARM_S, timeouts.WARM_TIMES, timeouts.COLD_S, timeouts.COLD_TIMES) == (5.0, 4.0, 30.0, 3.0)
    assert (1e9 / timeouts.READ_BYTES_PER_S, timeouts.PROMPT_TOKEN_S, timeouts.UNKNOWN_LOAD_S) == (10.0, 0.05, 120.0)


def test_every_state_of_an_instance_is_explained(page: str) -> None:
    assert [state.value for state in InstanceState if not re.search(rf"^\\| {state.value} \\|", page, re.MULTILINE)] == []
