"""The keys of limits, and limits as people write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from gleitzeit_nb.config.section import Count, Duration, Section, Size, keyed
from gleitzeit_nb.core.run_limits import LEAST, OUTPUT_BYTES_MOST, Limits, exceeded
from gleitzeit_nb.errors import ConfigError


def size_text(value: int) -> str | int:
    """As it is written: 512m."""
    for unit, shift in (("g", 30), ("m", 20), ("k", 10)):
        if value % (1 << shift) == 0:
            return f"{value >> shift}{unit}"
    return value


def limit_text(name: str, value: float) -> str:
    """A limit of core as people write it."""
    if name.endswith("_bytes"):
        return str(size_text(int(value)))
    return f"{value:g}s" if name.endswith("_s") else f"{value:g}"


def _least(name: str) -> Callable[[Any], Any]:
    def validate(value: float) -> float:
        if value < LEAST[name]:
            raise ValueError(f"should be at least {limit_text(name, LEAST[name])}, with less no run can start")
        return value

    return validate


def _kept(value: int) -> int:
    if value > OUTPUT_BYTES_MOST:
        raise ValueError(f"should be at most {limit_text('output_bytes', OUTPUT_BYTES_MOST)}, which is kept in memory per stream")
    return value


Cpus = Annotated[float, Field(gt=0, le=1024, allow_inf_nan=False)]


class LimitFields(Section):
    timeout_s: Annotated[Duration, AfterValidator(_least("timeout_s"))] = keyed("timeout")
    memory_bytes: Annotated[Size, AfterValidator(_least("memory_bytes"))] = keyed("memory_limit", "memory")
    cpus: Annotated[Cpus, AfterValidator(_least("cpus"))] = keyed("cpu_limit", "cpu")
    pids: Annotated[Count, AfterValidator(_least("pids"))] = keyed("pids_limit", "pids")
    output_bytes: Annotated[Size, AfterValidator(_least("output_bytes")), AfterValidator(_kept)] = keyed("max_output")
    file_bytes: Annotated[Size, AfterValidator(_least("file_bytes"))] = keyed("max_file_size")
    open_files: Annotated[Count, AfterValidator(_least("open_files"))] = keyed("max_open_files")
    workspace_bytes: Annotated[Size, AfterValidator(_least("workspace_bytes"))] = keyed("workspace_size")
    workspace_inodes: Annotated[Count, AfterValidator(_least("workspace_inodes"))] = keyed("workspace_files")
    shm_bytes: Annotated[Size, AfterValidator(_least("shm_bytes"))] = keyed("shm_size")
    value_bytes: Annotated[Size, AfterValidator(_least("value_bytes"))] = keyed("max_value")
    display_bytes: Annotated[Size, AfterValidator(_least("display_bytes"))] = keyed("max_display")


LIMIT_KEYS: Mapping[str, str] = {field: key for key, field in reversed(LimitFields.keys().items())}
"""Core's name of each limit → the canonical one of its keys."""


def refuse_exceeding(limits: Limits, ceiling: Mapping[str, float], sentence: str) -> None:
    """Raises ConfigError that begins with `sentence` and names every limit above `ceiling`."""
    above = [
        f"{LIMIT_KEYS[name]} is {limit_text(name, asked)}, at most {limit_text(name, most)}"
        for name, asked, most in exceeded(limits, ceiling)
    ]
    if above:
        raise ConfigError(f"{sentence}: {'; '.join(above)}. The mode's `ceiling` in the configuration says what runs may ask for.")
