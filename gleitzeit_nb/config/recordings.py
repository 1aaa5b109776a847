"""The files of recorded answers: one that is to answer has to be there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gleitzeit_nb.config.check import Checked
from gleitzeit_nb.core.settings import PoolSettings
from gleitzeit_nb.errors import ConfigError


def check_recordings(pool: PoolSettings, layers: Sequence[Checked]) -> None:
    """Raises ConfigError with the place of what cannot be."""
    if pool.replay is None:
        return
    where = _place(layers, "replay")
    if pool.record is not None:
        raise ConfigError(f"{where}: answers cannot be recorded ({_place(layers, 'record')}) while they come from a recording: keep one")
    if not Path(pool.replay).is_file():
        raise ConfigError(
            f"{where}: there is no recording {pool.replay!r}. Make one: run the notebook once with GLEITZEIT_RECORD={pool.replay}"
        )


def _place(layers: Sequence[Checked], key: str) -> str:
    for one in reversed(layers):
        section, path = one.root.section("ollama")
        if section is not None and key in section.model_fields_set:
            return one.layer.place((*path, key))
    return key
