"""A receipt is plain data: JSON whatever stands in it, and it says where its facts come from."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.core.candidates import Standing
from gleitzeit_nb.core.instances import Instance, InstanceSettings
from gleitzeit_nb.core.models import LoadedModel
from gleitzeit_nb.core.receipt_summary import is_receipt
from gleitzeit_nb.core.receipts import SCHEMA_VERSION, Candidate, Gpu, Timings, gpu_of
from tests.support.receipts import ANSWERED

numbers = st.none() | st.floats()


@given(st.text(), st.tuples(st.floats(), st.floats()), numbers, numbers)
def test_any_receipt_is_json_without_infinities(text: str, score: tuple[float, ...], share: float | None, first_s: float | None) -> None:
    seen = (Candidate("a", Standing.UNHEALTHY, text, score=score),)
    receipt = replace(ANSWERED, label=text, candidates=seen, gpu=Gpu(share), timings=Timings(0.0, 1.0, first_s))
    read = json.loads(json.dumps(receipt.to_dict(), allow_nan=False))
    assert is_receipt(read)
    assert (read["schema_version"], read["label"], read["retries"], read["tokens_per_s"]) == (SCHEMA_VERSION, text, 1, 40.0)


@pytest.mark.parametrize(
    ("share", "tags", "gpu"),
    [
        (0.5, (), Gpu(0.5, "/api/ps")),
        (0.0, ("gpu",), Gpu(0.0, "/api/ps")),
        (None, ("gpu",), Gpu(None, "tag")),
        (None, (), Gpu(None, "unknown")),
    ],
)
def test_the_servers_word_beats_the_configurations(share: float | None, tags: tuple[str, ...], gpu: Gpu) -> None:
    one = Instance(InstanceSettings("a", "http://a:1", tags=tags))
    one.loaded["m"] = LoadedModel("m", share)
    assert gpu_of(one, "m") == gpu
    assert gpu_of(one, "other").share is None
