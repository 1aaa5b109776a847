"""Clients of a real embedded instance, and the means to look at its processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import ollama
import pytest

from gleitzeit_nb.embedded import EmbeddedInstance
from tests.support.model import embedded, model_cache, smollm2_weights

__all__ = ["embedded", "model_cache", "smollm2_weights"]

MODEL = "smollm2:135m"
COLORS = [{"role": "user", "content": "Name three colors."}]


Launch = Callable[..., EmbeddedInstance]
Connect = Callable[[EmbeddedInstance], ollama.Client]


def bearer(instance: EmbeddedInstance) -> dict[str, str]:
    return {"Authorization": f"Bearer {instance.token}"}


@pytest.fixture
def connect() -> Iterator[Callable[[EmbeddedInstance], ollama.Client]]:
    """Ollama's own client for an instance; closed with the test."""
    with ExitStack() as stack:
        yield lambda instance: stack.enter_context(ollama.Client(instance.url, headers=bearer(instance), timeout=120, trust_env=False))


@pytest.fixture
def client(embedded: EmbeddedInstance, connect: Connect) -> ollama.Client:
    """Ollama's own client, connected to the shared instance."""
    return connect(embedded)


@pytest.fixture
def http(embedded: EmbeddedInstance) -> Iterator[httpx.Client]:
    """Plain HTTP to the shared instance, with its token."""
    with httpx.Client(base_url=embedded.url, headers=bearer(embedded), timeout=120, trust_env=False) as plain:
        yield plain


@pytest.fixture
def launch(model_cache: Path) -> Iterator[Launch]:
    """Launch instances of a test's own, which end with the test."""
    started: list[EmbeddedInstance] = []

    def start(**settings: Any) -> EmbeddedInstance:
        instance = EmbeddedInstance.launch(f"own-{len(started)}", **{"cache_dir": model_cache, **settings})
        started.append(instance)
        return instance

    yield start
    for instance in started:
        instance.stop()


def children(pid: int) -> list[int]:
    """Direct children of a process that still run (Linux)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] not in "ZX":
            found.append(int(entry.parent.name))
    return found


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def cpu_ticks(pid: int) -> int:
    """CPU time that a process has used, in clock ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
