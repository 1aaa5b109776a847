"""What `/api/ps` says of a loaded model's memory and of how long it is kept."""

from __future__ import annotations

import pytest

from gleitzeit_nb.core.models import LoadedModel
from gleitzeit_nb.core.runner_options import Plan, after_answer
from gleitzeit_nb.llm.inventory import loaded_of

NOON = 1_798_027_200.0  # 2026-12-23T12:00:00Z


def loaded(**entry: object) -> LoadedModel:
    return loaded_of({"models": [{"name": "m", **entry}]}, 0.0)["m:latest"]


@pytest.mark.parametrize(
    ("entry", "vram_bytes"),
    [({"size": 8, "size_vram": 5}, 5), ({"size": 8}, 0), ({}, None), ({"size": 8, "size_vram": "x"}, 0), ({"size_vram": 5}, 5)],
)
def test_gpu_memory_is_zero_only_where_the_server_says_so(entry: dict[str, object], vram_bytes: int | None) -> None:
    assert loaded(**entry).vram_bytes == vram_bytes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-12-23T12:00:00Z", NOON),
        ("2026-12-23T13:00:00.123456789+01:00", NOON),
        ("2026-12-23T05:00:00.5-07:00", NOON),
        ("2318-11-01T12:00:00Z", 11_008_094_400.0),  # keep_alive -1, as Ollama writes it
        ("0001-01-01T00:00:00Z", -62_135_596_800.0),
        ("2026-13-23T12:00:00Z", None),
        ("tomorrow", None),
        ("", None),
        (7, None),
        (None, None),
        ("2026-12-23T12:00:00Z" + "0" * 1000, None),
    ],
)
def test_the_time_at_which_it_is_unloaded_is_read_in_any_zone(text: object, expected: float | None) -> None:
    assert loaded(expires_at=text).expires_at == expected


def test_an_answer_makes_that_time_unknown_until_the_next_look() -> None:
    before = LoadedModel("m", seen_at=0.0, expires_at=NOON, vram_bytes=5)
    after = after_answer(before, "m", Plan(), 60.0, fresh=False)
    assert (after.expires_at, after.vram_bytes) == (None, 5)
