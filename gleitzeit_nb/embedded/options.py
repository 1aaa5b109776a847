"""Ollama's options, keep_alive, think and format: checked as Ollama checks them, and put into llama-server's words. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gleitzeit_nb.embedded.wire import RefusalError

FOREVER_S = math.inf

_INTEGERS = frozenset(
    {
        "num_keep", "seed", "num_predict", "top_k", "repeat_last_n",
        "num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "draft_num_predict",
    }
)  # fmt: skip
_FLOATS = frozenset({"top_p", "min_p", "typical_p", "temperature", "repeat_penalty", "presence_penalty", "frequency_penalty"})
_FLAGS = frozenset({"use_mmap"})
# Ollama's defaults, which differ from llama-server's; sent in full so that only one of the two sets counts.
_SAMPLING: dict[str, Any] = {
    "num_keep": 4,
    "top_k": 40,
    "top_p": 0.9,
    "min_p": 0.0,
    "typical_p": 1.0,
    "temperature": 0.8,
    "repeat_last_n": 64,
    "repeat_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "seed": -1,
}
_PREDICT_CONTEXTS = 10  # Ollama bounds an answer to this many times the context
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_NUMBER = re.compile(r"\d+(?:\.\d*)?|\.\d+")
_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_THINK_LEVELS = ("low", "medium", "high", "max")
_SCHEMA_TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})


@dataclass(frozen=True)
class Options:
    """One request's options. `num_ctx` is None where the request leaves it to the server."""

    num_ctx: int | None
    num_predict: int
    stop: tuple[str, ...]
    sampling: Mapping[str, Any]

    def for_child(self, num_ctx: int) -> dict[str, Any]:
        """The sampling part of a request to llama-server, for a model that is loaded with `num_ctx`."""
        bound = _PREDICT_CONTEXTS * num_ctx
        values = dict(self.sampling)
        seed = values.pop("seed")
        if seed >= 0:
            values["seed"] = seed & 0xFFFFFFFF
        values["n_keep"] = values.pop("num_keep")
        limit = self.num_predict if 0 <= self.num_predict <= bound else bound
        return {**values, "n_predict": limit, "max_tokens": limit, "stop": list(self.stop), "cache_prompt": True}


def parse_options(given: Mapping[str, Any]) -> Options:
    """Check types as Ollama does (500 with its text; unknown names are ignored)."""
    values: dict[str, Any] = {}
    stop: tuple[str, ...] = ()
    for name, value in given.items():
        if value is None:
            continue
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if name in _INTEGERS:
            values[name] = int(_demand(number, name, "integer", value))
        elif name in _FLOATS:
            values[name] = float(_demand(number, name, "float32", value))
        elif name in _FLAGS:
            _demand(isinstance(value, bool), name, "boolean", value)
        elif name == "stop":
            items = _demand(isinstance(value, list), name, "array", value)
            stop = tuple(_demand(all(isinstance(item, str) for item in items), name, "an array of strings", items))
    return Options(
        num_ctx=values.get("num_ctx"),
        num_predict=values.get("num_predict", -1),
        stop=stop,
        sampling={name: values.get(name, default) for name, default in _SAMPLING.items()},
    )


def _demand(holds: bool, name: str, kind: str, value: Any) -> Any:
    if not holds:
        raise RefusalError(500, f'option "{name}" must be of type {kind}')
    return value


def duration_s(text: str) -> float:
    """A Go duration such as "1h30m" or "-1s" in seconds. ValueError otherwise; a bare number is none, except "0"."""
    body = text[1:] if text[:1] in "+-" else text
    sign = -1.0 if text[:1] == "-" else 1.0
    if body == "0":
        return 0.0
    parts = _DURATION.findall(body)
    if _NUMBER.fullmatch(body):
        raise ValueError(f'time: missing unit in duration "{text}"')
    if not parts or "".join(number + unit for number, unit in parts) != body:
        raise ValueError(f'time: invalid duration "{text}"')
    return sign * sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def parse_keep_alive(value: object) -> float | None:
    """Seconds; None when absent; FOREVER_S for a negative value."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            seconds = duration_s(value)
        except ValueError as error:
            raise RefusalError(400, str(error)) from error
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value)
    else:
        raise RefusalError(400, f"Unsupported type: '{type(value).__name__}'")
    return FOREVER_S if seconds < 0 else seconds


def parse_think(value: object) -> bool | str | None:
    if value is None or isinstance(value, bool) or (isinstance(value, str) and value in _THINK_LEVELS):
        return value
    raise RefusalError(400, f'invalid think value: "{value}" (must be true, false, "high", "medium", "low", or "max")')


def parse_format(value: object) -> dict[str, Any] | None:
    """A JSON Schema that llama-server accepts; None without a format. `{}` for "json": any object."""
    if value is None or value == "":
        return None
    if value == "json":
        return {}
    if not isinstance(value, dict):
        raise RefusalError(500, f'invalid format: {value!r}; expected "json" or a valid JSON Schema object')
    schema = closed(value)
    if not isinstance(schema, dict):  # a dictionary stays one; this tells the type checker
        raise TypeError("a schema is an object")
    return schema


def closed(schema: Any, depth: int = 0) -> Any:
    """The schema with objects closed where they list their properties: Ollama's grammar allows no undeclared key, the engine's would.

    Refuses types that no JSON value has: on the completion path the engine would drop such a schema without a word.
    """
    if depth > 64:
        raise RefusalError(500, "invalid format: the JSON Schema is nested too deeply")
    if isinstance(schema, list):
        return [closed(item, depth + 1) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kinds = schema.get("type")
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if isinstance(kind, str) and kind not in _SCHEMA_TYPES:
            raise RefusalError(500, f'invalid format: unknown type "{kind}"; expected "json" or a valid JSON Schema')
    result = {name: _closed_part(name, value, depth) for name, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        result["additionalProperties"] = False
    return result


def _closed_part(name: str, value: Any, depth: int) -> Any:
    if name in ("properties", "$defs", "definitions", "patternProperties") and isinstance(value, dict):
        return {key: closed(part, depth + 1) for key, part in value.items()}  # keys are names here, not keywords
    if name in ("enum", "const", "default", "examples", "required", "allOf"):  # closed parts of an allOf would exclude one another
        return value
    return closed(value, depth + 1)
