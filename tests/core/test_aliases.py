"""Names that stand for models: what people write, and what a request becomes."""

from __future__ import annotations

from typing import Any

import pytest

from gleitzeit_nb.core.aliases import Alias, aliases_of, resolved
from gleitzeit_nb.core.requests import build_request

ALIASES = aliases_of({"fast": ["llama3.2:3b", "smollm2:135m"], "big": {"gpu-1": "llama3.3:70b-fp16", "gpu-2": "llama3.3"}, "one": "phi"})


def test_a_name_stands_for_a_model_a_list_or_each_instances_own() -> None:
    assert {
        "fast:latest": Alias(("llama3.2:3b", "smollm2:135m")),
        "big:latest": Alias(("llama3.3:70b-fp16", "llama3.3"), ("gpu-1", "gpu-2")),
        "one:latest": Alias(("phi",)),
    } == ALIASES
    assert str(ALIASES["big:latest"]) == "llama3.3:70b-fp16 on gpu-1, llama3.3 on gpu-2"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ([], "mapping of names"),
        ({"fast": []}, "'fast' a model"),
        ({"fast": 3}, "'fast' a model"),
        ({"fast": {}}, "'fast' a model"),
        ({"fast": [3]}, "names of models only"),
        ({"fast": " "}, "names of models only"),
        ({1: "phi"}, "names of models only"),
        ({"a": "b", "b": "phi"}, "the alias 'a' names the alias 'b'"),
        ({"a": "A:latest"}, "names the alias"),
    ],
)
def test_what_is_no_alias_is_refused(written: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        aliases_of(written)


@pytest.mark.parametrize(
    ("model", "fallback", "models", "alias"),
    [
        ("phi", None, ["phi"], ""),
        ("fast", None, ["llama3.2:3b", "smollm2:135m"], "fast"),
        ("FAST:latest", "one", ["llama3.2:3b", "smollm2:135m", "phi"], "FAST:latest"),
        ("phi", "fast", ["phi", "llama3.2:3b", "smollm2:135m"], ""),
        ("fast", "smollm2:135m", ["llama3.2:3b", "smollm2:135m"], "fast"),
        ("big", None, ["llama3.3", "llama3.3:70b-fp16"], "big"),
    ],
)
def test_a_request_asks_for_models(model: str, fallback: str | None, models: list[str], alias: str) -> None:
    request = build_request("r", "chat", model, messages="hi", fallback_model=fallback)
    found = resolved(request, ALIASES, lambda each: each.models[::-1] if each.instances else each.models)
    assert ([found.model, *found.fallback_models], found.alias) == (models, alias)


def test_without_an_alias_the_request_is_the_same() -> None:
    request = build_request("r", "chat", "phi", messages="hi")
    assert resolved(request, ALIASES, lambda each: each.models) is request
    assert resolved(request, {}, lambda each: each.models) is request
