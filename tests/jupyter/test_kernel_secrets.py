"""No key reaches a notebook: whatever a kernel sends to the front end, and so may be saved, is searched for planted ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fake_ollama import FakeOllama, status
from tests.support.kernel import Kernel, Run, running_kernel, serving

pytest.importorskip("ipykernel", reason="ipykernel is not installed")

KEYS = {"CANARY_KEY": "canary-Api7Key0001", "CANARY_HEADER": "canary-Header7Value03"}
LITERAL = "canary-Literal7Key08"
PLANTED = (*KEYS.values(), LITERAL)


@pytest.fixture
def servers() -> Iterator[tuple[FakeOllama, FakeOllama]]:
    with serving(FakeOllama("north")) as north, serving(FakeOllama("south")) as south:
        yield north, south


@pytest.fixture
def kernel(servers: tuple[FakeOllama, FakeOllama], project_root: Path, tmp_path: Path) -> Iterator[Kernel]:
    north, south = servers
    instances = [
        {"id": "north", "url": north.url, "api_key": "env:CANARY_KEY", "headers": {"X-Key": "env:CANARY_HEADER"}},
        {"id": "south", "url": south.url, "api_key": LITERAL},
    ]
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({"ollama": {"instances": instances}}))
    with running_kernel(project_root, {**KEYS, "GLEITZEIT_CONFIG": str(path)}) as running:
        yield running


CELLS = (
    "%%llm -m llama3.2 --instance {id}\none two",
    "from gleitzeit_nb import ask\nask('one two', model='llama3.2', instance='{id}', deadline=5)",
    "%llm receipts",
    "%gleitzeit status",
    "%gleitzeit config",
    "%gleitzeit dashboard",
    "from gleitzeit_nb.runtime import get_runtime\nget_runtime().engine, get_runtime().engine.pool.settings, get_runtime().config()",
)


def test_nothing_that_a_kernel_sends_holds_a_key(kernel: Kernel, servers: tuple[FakeOllama, FakeOllama]) -> None:
    runs: list[Run] = [kernel.run("%xmode Verbose"), kernel.run("%config GleitzeitNB.debug = True")]
    failed = 0
    for code in (None, 401, 500, 302):
        for server, keys in zip(servers, (KEYS.values(), (LITERAL,)), strict=True):
            server.fault = status(code, f"bad key: Bearer {' '.join(keys)}", everywhere=True) if code is not None else None
        for cell in CELLS:
            for name in ("north", "south") if "{id}" in cell else ("",):
                runs.append(kernel.run(cell.replace("{id}", name)))
                failed += bool(runs[-1].error)
    runs.append(kernel.run("%gleitzeit doctor"))
    assert failed >= 10
    assert all(server.asked for server in servers)
    sent = json.dumps([[message["content"] for _, message in run.messages] for run in runs], default=str)
    assert "Traceback" in sent
    found = [sent[max(0, at - 300) : at + 40] for key in PLANTED if (at := sent.find(key)) >= 0]
    assert found == []
