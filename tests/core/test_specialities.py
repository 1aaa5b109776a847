"""What an instance is for, what a request is about, and that they find each other."""

from __future__ import annotations

import random

import pytest

from gleitzeit_nb.core.instances import Instance, InstanceSettings
from gleitzeit_nb.core.models import LoadedModel
from gleitzeit_nb.core.needs import Needs, Wishes
from gleitzeit_nb.core.specialities import mismatch, offered, size_of, wanted
from gleitzeit_nb.core.strategies import pick
from gleitzeit_nb.llm.inventory import loaded_of

GB = 10**9


def test_what_an_instance_is_for_is_read_from_its_words() -> None:
    assert offered("large-models") == {"large"}
    assert offered("high-memory, vision") == {"large", "vision"}
    assert offered("anything") == offered(None) == frozenset()
    about = wanted(Needs("llama3.2:70b"), Wishes(images=True))
    assert about == {"large", "vision"}
    assert wanted(Needs("mixtral:8x7b"), Wishes()) == frozenset()
    ranks = [mismatch(Instance(InstanceSettings("i", "http://i:1", specialization=each)), about) for each in ("vision", None, "code")]
    assert ranks == [0, 1, 2]


def instance(id: str, specialization: str | None, model: str, stored: int = 0, loaded: int = 0) -> Instance:  # noqa: A002
    made = Instance(InstanceSettings(id, f"http://{id}:1", specialization=specialization))
    made.learn_models((model,))
    if stored:
        made.sizes_bytes[model] = stored
    if loaded:
        made.loaded[model] = LoadedModel(model, size_bytes=loaded)
    return made


@pytest.mark.parametrize(
    ("model", "stored", "loaded", "is_large"),
    [
        ("mixtral:8x7b", 0, 0, False),  # nobody told a size: the name has to do, and is wrong here
        ("mixtral:8x7b", 26 * GB, 0, True),
        ("llama3.2:70b", 0, 0, True),
        ("llama3.2:70b", 9 * GB, 0, False),
        ("qwen:latest", 9 * GB, 24 * GB, True),  # a long context takes memory too
        ("qwen:latest", 40 * GB, 12 * GB, False),
    ],
)
def test_large_models_go_to_large_instances_by_their_size(model: str, stored: int, loaded: int, is_large: bool) -> None:
    small, large = instance("small", None, model), instance("large", "high-memory", model, stored, loaded)
    found = pick(Needs(model), Wishes("specialization"), (small, large), 0.0, random.Random(1)).instance
    assert found is (large if is_large else small)


def test_what_anybody_knows_of_a_size_counts() -> None:
    known = [instance("a", None, "m", stored=5 * GB), instance("b", None, "m", stored=20 * GB), instance("c", None, "m")]
    assert size_of("m", known) == 20 * GB
    assert size_of("m", [*known, instance("d", None, "m", loaded=7 * GB)]) == 7 * GB
    assert size_of("m", known[2:]) is None
    assert "large" in wanted(Needs("m"), Wishes(), size_of("m", known))


@pytest.mark.parametrize(
    ("sizes", "expected"), [({"size": 7, "size_vram": 5}, 7), ({"size_vram": 5}, 5), ({}, None), ({"size": "x"}, None)]
)
def test_the_size_in_memory_is_what_the_server_says_of_it(sizes: dict[str, object], expected: int | None) -> None:
    assert loaded_of({"models": [{"name": "m", **sizes}]}, 0.0)["m:latest"].size_bytes == expected
