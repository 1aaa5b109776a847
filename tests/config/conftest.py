"""A loader that sees no setting of this machine, and files to load."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest

from gleitzeit_nb.config import Config, load


class Load(Protocol):
    def __call__(self, *dictionaries: Mapping[str, Any] | None, env: Mapping[str, str] | None = None, **more: Any) -> Config: ...


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    (folder / ".config" / "gleitzeit").mkdir(parents=True)
    return folder


@pytest.fixture
def own_file(home: Path) -> Callable[[str], Path]:
    """Writes the user's own configuration."""

    def write(text: str) -> Path:
        path = home / ".config" / "gleitzeit" / "config.yaml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def a_file(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a file such as one that lies in a cloned repository."""

    def write(text: str) -> Path:
        path = tmp_path / "gleitzeit.yaml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def loaded(home: Path) -> Load:
    def run(*dictionaries: Mapping[str, Any] | None, env: Mapping[str, str] | None = None, **more: Any) -> Config:
        return load(*dictionaries, environ=env or {}, home=home, **more)

    return run
