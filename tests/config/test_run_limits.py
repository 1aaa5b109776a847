"""Limits: refused where they are written when no run could start with them, or when they are more than the mode gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.config import Config, run_limits, sandbox_settings
from gleitzeit_nb.config.limit_sections import LIMIT_KEYS, LimitFields, limit_text
from gleitzeit_nb.core.run_limits import LEAST, Limits
from gleitzeit_nb.errors import ConfigError

TOO_LITTLE = {
    "timeout": (0.01, "at least 0.05s"),
    "memory_limit": ("8m", "at least 16m"),
    "memory": ("15m", "at least 16m"),
    "cpu_limit": (0.001, "at least 0.01"),
    "cpu": (0.0, "greater than 0"),
    "pids_limit": (1, "at least 2"),
    "max_open_files": (11, "at least 24"),
    "max_file_size": ("1k", "at least 4k"),
    "workspace_size": ("4k", "at least 64k"),
    "workspace_files": (1, "at least 8"),
    "shm_size": ("4k", "at least 64k"),
    "max_output": (10, "at least 64"),
    "max_value": (10, "at least 64"),
    "max_display": (10, "at least 64"),
}


def test_every_limit_has_a_least_value() -> None:
    assert set(LEAST) == set(LimitFields.model_fields) == {LimitFields.keys()[key] for key in TOO_LITTLE}
    assert Limits(**LEAST) is not None  # type: ignore[arg-type]


@pytest.mark.parametrize(("key", "value", "says"), [(key, *case) for key, case in TOO_LITTLE.items()], ids=TOO_LITTLE)
def test_too_little_is_refused_with_its_line_and_the_least_that_works(
    loaded: Callable[..., Config], own_file: Callable[[str], Path], key: str, value: Any, says: str
) -> None:
    path = own_file(f"python:\n  modes:\n    docker-sandbox:\n      {key}: {value}\n")
    with pytest.raises(ConfigError) as caught:
        loaded()
    assert f"{path}:4: python.modes.docker-sandbox.{key} should be" in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize(("key", "value", "says"), [(key, *case) for key, case in TOO_LITTLE.items()], ids=TOO_LITTLE)
def test_too_little_for_one_run_is_refused_too(key: str, value: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=f"This run cannot have its limits: {key} should be .*{says}"):
        run_limits(Limits(), {}, "docker-sandbox", {key: value})


@pytest.mark.parametrize(
    ("own", "says"),
    [
        ({"memory_limit": "lots"}, "a size such as 512m"),
        ({"memory_limit": True}, "a size such as 512m"),
        ({"timeout": "soon"}, "a number of seconds"),
        ({"timeout": float("nan")}, "a number of seconds"),
        ({"timeout": float("inf")}, "a number of seconds"),
        ({"cpu_limit": float("inf")}, "cpu_limit should be"),
        ({"cpu_limit": "two"}, "cpu_limit should be"),
        ({"pids_limit": 1.5}, "pids_limit should be"),
        ({"pids_limit": "many"}, "pids_limit should be"),
        ({"max_output": "65m"}, "at most 64m"),
        ({"memory_limit": "8m", "pids_limit": 0}, "memory_limit .*; pids_limit"),
    ],
)
def test_what_is_no_limit_is_refused_by_its_key(own: Mapping[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        run_limits(Limits(), {}, "m", own)


def test_units_are_understood() -> None:
    own = {"memory_limit": "1.5g", "timeout": "1m30s", "shm_size": "128MiB", "cpu_limit": 2, "max_output": None}
    assert run_limits(Limits(), {}, "m", own) == Limits(memory_bytes=3 << 29, timeout_s=90.0, shm_bytes=128 << 20, cpus=2.0)


def test_a_cell_may_have_more_than_its_mode_but_not_more_than_the_ceiling() -> None:
    mode = sandbox_settings({"modes": {"docker-sandbox": {"memory": "1g", "ceiling": {"memory": "4g", "timeout": "10m"}}}}).modes[
        "docker-sandbox"
    ]
    assert run_limits(mode.limits, mode.ceiling, mode.id, {"memory_limit": "4g", "pids_limit": 5000}).memory_bytes == 4 << 30
    with pytest.raises(ConfigError) as caught:
        run_limits(mode.limits, mode.ceiling, mode.id, {"memory_limit": "5g", "timeout": "1h"})
    assert "'docker-sandbox' gives: timeout is 3600s, at most 600s; memory_limit is 5g, at most 4g" in str(caught.value)
    with pytest.raises(ConfigError, match="at most 4g"):  # a request that was made whole
        run_limits(Limits(memory_bytes=8 << 30), mode.ceiling, mode.id, {})


def test_a_mode_cannot_give_more_than_its_own_ceiling() -> None:
    with pytest.raises(ConfigError, match="more than its own ceiling: memory_limit is 512m, at most 256m"):
        sandbox_settings({"modes": {"docker-sandbox": {"ceiling": {"memory_limit": "256m"}}}})


def test_an_unknown_key_in_a_ceiling_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'memroy'.*did you mean 'memory'"):
        sandbox_settings({"modes": {"docker-sandbox": {"ceiling": {"memroy": "256m"}}}})


@given(st.sampled_from(sorted(LEAST)), st.floats(min_value=1, max_value=1000))
def test_what_is_shown_of_a_limit_can_be_written(name: str, factor: float) -> None:
    value = LEAST[name] * factor if name in ("timeout_s", "cpus") else int(LEAST[name] * factor)
    shown = limit_text(name, value)
    own = {LIMIT_KEYS[name]: shown if name.endswith(("_bytes", "_s")) else float(shown) if name == "cpus" else int(float(shown))}
    assert getattr(run_limits(Limits(), {}, "m", own), name) == pytest.approx(value, rel=1e-4)
