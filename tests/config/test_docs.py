"""docs/configuration.md against the models: every key and variable is described, and every example loads."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from gleitzeit_nb.config import Config
from gleitzeit_nb.config.access_sections import TlsSection
from gleitzeit_nb.config.environment import CACHE_VARIABLE, CONFIG_VARIABLE, DISCOVERY_VARIABLES, VARIABLES
from gleitzeit_nb.config.instance_sections import InstanceSection
from gleitzeit_nb.config.model import ProvidersSection, RootSection
from gleitzeit_nb.config.network_sections import NetworkLimitsSection
from gleitzeit_nb.config.ollama_sections import (
    BalancingSection,
    BreakerSection,
    CacheSection,
    OllamaSection,
    QueueSection,
    ReceiptSection,
    TimeoutSection,
)
from gleitzeit_nb.config.sandbox_sections import ContainerPoolSection, ModeSection, PythonSection
from gleitzeit_nb.config.section import Section

SECTIONS: list[type[Section]] = [
    RootSection,
    ProvidersSection,
    OllamaSection,
    InstanceSection,
    TlsSection,
    BalancingSection,
    BreakerSection,
    CacheSection,
    QueueSection,
    TimeoutSection,
    ReceiptSection,
    PythonSection,
    ModeSection,
    ContainerPoolSection,
    NetworkLimitsSection,
]


@pytest.fixture(scope="module")
def page(project_root: Path) -> str:
    return (project_root / "docs" / "configuration.md").read_text()


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_every_key_is_described(page: str, section: type[Section]) -> None:
    words = set(re.findall(r"[a-z_]+", page))
    assert [key for key in section.keys() if key not in words] == []  # noqa: SIM118 - a method of the model, not of a mapping


def test_every_variable_is_described(page: str) -> None:
    known = {*VARIABLES, CONFIG_VARIABLE, CACHE_VARIABLE, *DISCOVERY_VARIABLES}
    assert known <= set(re.findall(r"[A-Z_]{5,}", page))


def test_every_example_loads(page: str, loaded: Callable[..., Config], own_file: Callable[[str], Path]) -> None:
    examples = [block for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "{…}" not in block]
    assert len(examples) == 3
    for example in examples:
        own_file(example)
        assert loaded(env={"GPU1_KEY": "hunter2"}).sources != ("defaults",)


def test_the_defaults_in_the_tables_are_the_defaults(page: str, loaded: Callable[..., Config]) -> None:
    said = loaded().describe()
    rows = dict(re.findall(r"^\| `(?:[a-z_]+\.)?([a-z_]+)`[^|]*\| `([^`|]+)` \|", page, re.MULTILINE))
    mode, balancing = said["python"]["modes"]["docker-sandbox"], said["ollama"]["load_balancing"]
    places = [
        mode,
        balancing,
        balancing["circuit_breaker"],
        said["ollama"]["queue"],
        said["ollama"]["timeouts"],
        said["python"]["container_pool"],
    ]
    actual = {key: str(value).lower().removesuffix(".0") for place in places for key, value in place.items()}
    checked = {key: text.removesuffix(".0") for key, text in rows.items() if key in actual}
    assert len(checked) > 20
    assert {key: actual[key] for key in checked} == checked
