"""The guide's configuration: YAML of instances and of load balancing, variables, and the draft's dictionaries.

Rewrites: import path and hosts (see `rewrites`). The guide's two fragments of YAML stand without the section that they belong to;
here it is `ollama:`, and what the guide's comments explain is left out.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from gleitzeit_nb.config import load
from gleitzeit_nb.core.settings import PoolSettings
from tests.guide.rewrites import rewritten
from tests.support.examples import run
from tests.support.fake_ollama import FakeOllama

INSTANCES = """
instances:
  - id: "gpu-server-1"
    url: "http://gpu1:11434"
    models:
      - "llama3.2:70b"
      - "mixtral:8x7b"
    max_concurrent: 2
    tags:
      - "gpu"
      - "high-memory"
      - "production"
    priority: 1
    weight: 2.0
    specialization: "large-models"
"""

LOAD_BALANCING = """
load_balancing:
  strategy: "least_loaded"
  health_check_interval: 30
  failover: true
  retry_attempts: 3

  circuit_breaker:
    failure_threshold: 5
    recovery_timeout: 60
    half_open_requests: 3
"""

VARIABLES = {
    "GLEITZEIT_OLLAMA_INSTANCES": "local:http://localhost:11434,gpu:http://gpu:11434",
    "GLEITZEIT_OLLAMA_STRATEGY": "least_loaded",
    "GLEITZEIT_OLLAMA_HEALTH_CHECK_INTERVAL": "30",
    "GLEITZEIT_OLLAMA_FAILOVER": "true",
}

DRAFT_OF_PROVIDERS = """
providers:
  ollama:
    type: "ollama_pool"
    instances:
      - id: "ollama-1"
        url: "http://localhost:11434"
        models: ["llama3.2", "codellama"]
        max_concurrent: 3
        tags: ["local", "cpu"]

      - id: "ollama-3"
        url: "http://192.168.1.100:11434"
        models: ["llava", "bakllava"]
        max_concurrent: 1
        specialization: "vision"
        tags: ["remote", "gpu", "vision"]

    load_balancing:
      strategy: "least_loaded"
      health_check_interval: 30
      failover: true
      retry_attempts: 3
"""

DRAFT_OF_A_CLIENT = """
from gleitzeit import GleitzeitClient

client = GleitzeitClient(
    ollama_config={
        "instances": [
            {
                "id": "local", "url": "http://localhost:11434", "priority": 1,
                "models": ["llama3.2", "codellama"], "max_concurrent": 5,
            },
            {
                "id": "gpu-server", "url": "http://gpu.example.com:11434", "priority": 2,
                "models": ["llama3.2:70b", "mixtral"], "max_concurrent": 2, "tags": ["gpu", "high-memory"],
            },
        ],
        "load_balancing": {
            "strategy": "least_loaded",
            "health_check_interval": 30,
            "failover": True,
            "circuit_breaker": {"failure_threshold": 5, "recovery_timeout": 60},
        },
    },
)
"""


@pytest.fixture
def settings_of(tmp_path: Path) -> Callable[[str], PoolSettings]:
    def read(text: str) -> PoolSettings:
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return load(environ={"GLEITZEIT_CONFIG": str(path)}, home=tmp_path).pool

    return read


def under_ollama(fragment: str) -> str:
    return "ollama:\n" + textwrap.indent(fragment, "  ")


def test_every_key_of_an_instance_counts(settings_of: Callable[[str], PoolSettings]) -> None:
    (instance,) = settings_of(under_ollama(INSTANCES)).instances
    assert (instance.id, instance.url, instance.models) == ("gpu-server-1", "http://gpu1:11434", ("llama3.2:70b", "mixtral:8x7b"))
    assert (instance.max_concurrent, instance.tags) == (2, ("gpu", "high-memory", "production"))
    assert (instance.priority, instance.weight, instance.specialization) == (1, 2.0, "large-models")


def test_every_key_of_load_balancing_counts(settings_of: Callable[[str], PoolSettings]) -> None:
    settings = settings_of(under_ollama(LOAD_BALANCING))
    balancing, breaker = settings.balancing, settings.breaker
    assert (balancing.strategy, balancing.health_check_interval_s) == ("least_loaded", 30.0)
    assert (balancing.failover, balancing.retry_attempts) == (True, 3)
    assert (breaker.failure_threshold, breaker.recovery_timeout_s, breaker.half_open_requests) == (5, 60.0, 3)


def test_the_variables_say_the_same_as_the_keys(tmp_path: Path) -> None:
    settings = load(environ=VARIABLES, home=tmp_path).pool
    assert [(each.id, each.url) for each in settings.instances] == [("local", "http://localhost:11434"), ("gpu", "http://gpu:11434")]
    balancing = settings.balancing
    assert (balancing.strategy, balancing.health_check_interval_s, balancing.failover) == ("least_loaded", 30.0, True)
    assert load(environ={**VARIABLES, "GLEITZEIT_OLLAMA_FAILOVER": "false"}, home=tmp_path).pool.balancing.failover is False


def test_the_drafts_section_of_providers_is_read(settings_of: Callable[[str], PoolSettings]) -> None:
    settings = settings_of(DRAFT_OF_PROVIDERS)
    assert [each.id for each in settings.instances] == ["ollama-1", "ollama-3"]
    assert (settings.instances[1].specialization, settings.instances[1].max_concurrent) == ("vision", 1)


async def test_the_drafts_client_asks_by_its_dictionaries() -> None:
    async with FakeOllama(models=["llama3.2", "codellama"]) as local, FakeOllama(models=["llama3.2:70b", "mixtral"]) as gpu:
        names = await run(rewritten(DRAFT_OF_A_CLIENT, [local.url, gpu.url]))
        async with names["client"] as client:
            assert (await client.chat("x", model="codellama")).instance == "local"
            assert (await client.chat("x", model="llama3.2:70b", tags=["gpu", "high-memory"])).instance == "gpu-server"
            settings = client.pool.settings
            assert (settings.breaker.failure_threshold, settings.breaker.recovery_timeout_s) == (5, 60.0)
