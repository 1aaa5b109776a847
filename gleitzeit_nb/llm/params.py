"""A request out of the guide's dictionary: the method's name, and one mapping with everything."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gleitzeit_nb.core.requests import Kind, LLMRequest, RequestOptions
from gleitzeit_nb.llm.asking import request_from
from gleitzeit_nb.llm.named_files import Folder, with_files

METHODS: Mapping[str, Kind] = {"llm/chat": "chat", "llm/generate": "generate", "llm/embed": "embed"}
TAKES: Mapping[Kind, tuple[str, ...]] = {"chat": ("messages", "prompt"), "generate": ("prompt",), "embed": ("inputs", "input")}
"""What is asked, by kind: exactly one of these keys."""
OWN_PARAMS = frozenset({"model", "messages", "prompt", "system", "inputs", "input"})
MODEL_OPTIONS = frozenset({"temperature", "top_p", "top_k", "seed", "num_predict", "num_ctx", "stop", "repeat_penalty"})


def kind_of(method: str) -> Kind:
    """Raises ValueError with the nearest method that there is."""
    found = METHODS.get(method)
    if found is not None:
        return found
    near = difflib.get_close_matches(method, METHODS, n=1)
    raise ValueError(f"there is no method {method!r}; {f'did you mean {near[0]!r}?' if near else 'there are: ' + ', '.join(METHODS)}")


def request_of(
    request_id: str,
    kind: Kind,
    params: Mapping[str, Any],
    label: str = "",
    *,
    common: Mapping[str, Any] = MappingProxyType({}),
    files_from: Folder | None = None,
) -> LLMRequest:
    """`params`: `model`, what the method takes, the guide's routing keys, and Ollama's common options by name.

    `common`: the caller's own words, which count where `params` says nothing. Files that `params` names must lie beneath `files_from`;
    None: it may name none. Raises TypeError for an unknown key (naming the nearest) and ValueError for a bad value.
    """
    given = {**common, **with_files(params, files_from)}
    own = {name: given.pop(name) for name in OWN_PARAMS & given.keys()}
    by_name = {name: given.pop(name) for name in MODEL_OPTIONS & given.keys()}
    if by_name:
        given["options"] = {**by_name, **(given.get("options") or {})}
    content = own[_content_key(kind, own)]
    keywords: RequestOptions = given  # type: ignore[assignment]  # request_from refuses what it does not know
    return request_from(
        request_id,
        kind,
        own.get("model") or "",
        messages=content if kind == "chat" else (),
        prompt=content if kind == "generate" else None,
        system=own.get("system"),
        inputs=content if kind == "embed" else (),
        label=label,
        **keywords,
    )


def _content_key(kind: Kind, own: Mapping[str, Any]) -> str:
    takes = TAKES[kind]
    found = [name for name in own if name in takes]
    alien = [name for name in own if name not in (*takes, "model", "system") or (name == "system" and kind == "embed")]
    if len(found) == 1 and not alien:
        return found[0]
    wanted = " or ".join(map(repr, takes))
    said = f"not {alien[0]!r}" if alien else f"and was given {' and '.join(map(repr, found)) or 'nothing to ask'}"
    raise TypeError(f"llm/{kind} takes {wanted}, {said}")
