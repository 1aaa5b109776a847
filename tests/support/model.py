"""The real small model for tests of any folder: `from tests.support.model import embedded, model_cache, smollm2_weights`."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from gleitzeit_nb.config import cache_directory
from gleitzeit_nb.embedded import EmbeddedInstance, fetch
from gleitzeit_nb.embedded.cpu import missing_flags
from gleitzeit_nb.errors import WeightsError

MODEL = "smollm2:135m"


@pytest.fixture(scope="session")
def model_cache() -> Path:
    """The cache directory that holds the weights; fetched once for this machine. Skips where that, or the engine, cannot be had."""
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("the package xllamacpp is not installed: pip install 'gleitzeit-nb[embedded]'")
    if flags := missing_flags():
        pytest.skip(f"this processor lacks {', '.join(flags)}, which the embedded engine needs")
    cache = cache_directory()
    try:
        fetch(MODEL, cache_dir=cache)
    except WeightsError as error:
        pytest.skip(f"the weights of {MODEL} cannot be had: {error}")
    return cache


@pytest.fixture(scope="session")
def smollm2_weights(model_cache: Path) -> Path:
    """The path of the real weights."""
    return fetch(MODEL, cache_dir=model_cache)


@pytest.fixture(scope="session")
def embedded(model_cache: Path) -> Iterator[EmbeddedInstance]:
    """One embedded instance with two slots, shared by the tests of a session. Tests that break theirs launch their own."""
    with EmbeddedInstance.launch("shared", cache_dir=model_cache, parallel=2) as instance:
        yield instance
