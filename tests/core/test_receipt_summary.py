"""What many receipts come to; what is read from a file is believed as far as it makes sense."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.core.receipt_summary import is_receipt, percentile, summarise


def receipt(total_s: float, outcome: str = "ok", instance: str = "a", **changes: Any) -> dict[str, Any]:
    timings = {"total_s": total_s, "first_token_s": total_s / 2, "queue_s": 0.0}
    usage = {"completion_tokens": 10, "completion_s": 0.5}
    return {"schema_version": 1, "outcome": outcome, "instance": instance, "model": "m", "timings": timings, "usage": usage} | changes


def test_each_instance_and_model_has_a_row() -> None:
    rows = summarise(
        [*(receipt(each / 10) for each in range(1, 11)), receipt(9, "failed"), receipt(9, "cancelled"), receipt(1, instance="b", retries=2)]
    )
    assert [(each.instance, each.requests, each.ok, each.failed, each.cancelled, each.retries) for each in rows] == [
        ("a", 12, 10, 1, 1, 0),
        ("b", 1, 1, 0, 0, 2),
    ]
    assert (rows[0].p50_s, rows[0].p95_s, rows[0].first_token_p50_s) == (0.5, 1.0, 0.25)
    assert (rows[0].tokens, rows[0].tokens_per_s) == (100, 20.0)


def test_tokens_without_their_time_do_not_count_in_the_rate() -> None:
    (row,) = summarise([receipt(1), receipt(1, usage={"completion_tokens": 500})])
    assert (row.tokens, row.tokens_per_s) == (510, 20.0)


def test_what_nobody_knows_stays_unknown() -> None:
    (row,) = summarise([receipt(1, "failed", instance="")])
    assert (row.instance, row.p50_s, row.tokens_per_s, row.tokens) == ("", None, None, 0)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(1, 100))
def test_a_percentile_is_a_value_that_was_seen_with_so_many_at_or_below_it(values: list[float], percent: float) -> None:
    found = percentile(values, percent)
    assert found in values
    assert sum(each <= found for each in values) >= len(values) * percent / 100 - 1e-9


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["timings", "usage", "total_s", "outcome"]), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["outcome", "instance", "model", "timings", "usage", "retries"]), json_values))
def test_no_line_of_a_file_breaks_the_summary(entry: dict[str, Any]) -> None:
    (row,) = summarise([entry])
    assert row.requests == 1
    assert row.p50_s is None or math.isfinite(row.p50_s)


@pytest.mark.parametrize("value", [None, 1, [], {}, {"schema_version": 1}, {"outcome": "ok"}])
def test_other_json_is_no_receipt(value: object) -> None:
    assert not is_receipt(value)
    assert is_receipt(receipt(1))
