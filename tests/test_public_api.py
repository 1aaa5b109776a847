"""The names that users import are pinned, and importing costs nothing until one of them is used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import gleitzeit_nb
from gleitzeit_nb import LoadBalancingStrategy
from gleitzeit_nb.core.strategies import STRATEGIES

PUBLIC = {
    "Chunk": "gleitzeit_nb.core.requests",
    "DockerExecutor": "gleitzeit_nb.sandbox",
    "EmbeddedInstance": "gleitzeit_nb.embedded",
    "ExecutionResult": "gleitzeit_nb.core.execution",
    "GleitzeitClient": "gleitzeit_nb.client",
    "GleitzeitError": "gleitzeit_nb.errors",
    "InstanceState": "gleitzeit_nb.core.instances",
    "LoadBalancingStrategy": "gleitzeit_nb.core.strategy_names",
    "MapItem": "gleitzeit_nb.llm.mapping",
    "OllamaPoolManager": "gleitzeit_nb.llm",
    "OllamaPoolProvider": "gleitzeit_nb.llm",
    "OllamaProvider": "gleitzeit_nb.llm",
    "Reply": "gleitzeit_nb.core.requests",
    "Sandbox": "gleitzeit_nb.sandbox",
    "StreamInterrupted": "gleitzeit_nb.errors",
    "ask": "gleitzeit_nb.client",
    "configure": "gleitzeit_nb.client",
}

HEAVY = (
    "IPython",
    "aiohttp",
    "asyncio",
    "docker",
    "httpx",
    "ipywidgets",
    "keyring",
    "logging",
    "pydantic",
    "threading",
    "xllamacpp",
    "yaml",
)


def fresh(code: str) -> str:
    """What `code` prints in an interpreter of its own, started in the project's root."""
    root = Path(gleitzeit_nb.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_public_names_are_these() -> None:
    assert set(gleitzeit_nb.__all__) == {*PUBLIC, "__version__"}


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_each_public_name_can_be_imported_and_lives_where_it_is_said_to(name: str) -> None:
    assert getattr(gleitzeit_nb, name).__module__.startswith(PUBLIC[name])
    assert name in dir(gleitzeit_nb)


def test_every_error_is_reached_through_one_module() -> None:
    assert gleitzeit_nb.errors.StreamInterrupted is gleitzeit_nb.StreamInterrupted
    assert issubclass(gleitzeit_nb.errors.SandboxError, gleitzeit_nb.GleitzeitError)


def test_the_version_is_a_text() -> None:
    assert gleitzeit_nb.__version__[0].isdigit()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Gleitzeit'"):
        _ = gleitzeit_nb.Gleitzeit
    with pytest.raises(ImportError):
        from gleitzeit_nb import run_workflow  # noqa: F401


def test_importing_the_package_loads_nothing_heavy_and_starts_no_thread() -> None:
    # Modules that the interpreter's own start-up brought (a .pth file of the environment, say) are not ours.
    code = (
        "import sys; before = set(sys.modules); import gleitzeit_nb; "
        f"print(sorted(set({HEAVY!r}) & (set(sys.modules) - before))); import threading; print(threading.active_count())"
    )
    assert fresh(code).split("\n")[:2] == ["[]", "1"]


def test_importing_the_package_takes_a_fraction_of_importing_pydantic() -> None:
    code = (
        "import time; a = time.perf_counter(); import gleitzeit_nb; b = time.perf_counter(); import pydantic; c = time.perf_counter();"
        "print((b - a) / (c - b))"
    )
    assert min(float(fresh(code)) for _ in range(3)) < 0.3


def test_the_side_panel_is_named_for_jupyter_labextension_develop() -> None:
    (path,) = gleitzeit_nb._jupyter_labextension_paths()
    assert path == {"src": "labextension", "dest": "gleitzeit-nb"}


def test_the_strategies_names_are_an_enumeration_of_the_table() -> None:
    assert [strategy.value for strategy in LoadBalancingStrategy] == list(STRATEGIES)
    assert [f"{strategy}" for strategy in LoadBalancingStrategy] == [strategy.value for strategy in LoadBalancingStrategy]


@pytest.mark.parametrize("name", ["CircuitBreaker", "InstanceMetrics", "OllamaHealthMonitor", "OllamaInstance"])
def test_a_name_of_older_code_says_what_there_is_instead(name: str) -> None:
    with pytest.raises(ImportError, match=rf"gleitzeit_nb has no {name}: .*(pool|circuit_breaker)"):
        exec(f"from gleitzeit_nb import {name}")
    assert name not in dir(gleitzeit_nb)
