"""Python functions as tools: what a model is told of one, and running one on arguments that were checked first.

Offering a function runs nothing. A model's arguments are untrusted: they are validated against the signature before the call.
"""

from __future__ import annotations

import difflib
import inspect
import json
import re
import time
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gleitzeit_nb.core.plain import one_line

if TYPE_CHECKING:
    from pydantic import BaseModel

MOST_CALLS = 16  # in one answer; what is beyond them is refused, not run
MOST_RESULT_CHARS = 50_000
_DESCRIBED = re.compile(r"^\s*(?::param\s+)?(?:\w+\s+)?(\w+)\s*(?:\([^)]*\))?\s*:\s*(\S.*)$")


class Tool:
    """One function: `schema` is what the model is told. Raises TypeError for a function that no model could call by names."""

    def __init__(self, function: Any, name: str | None = None) -> None:
        self.function: Callable[..., Any] = function
        self.name: str = name or str(getattr(function, "__name__", ""))
        if not callable(function) or isinstance(function, type) or not self.name.isidentifier():
            raise TypeError(f"{one_line(repr(function), 60)} cannot be a tool: give a function that has a name")
        if inspect.iscoroutinefunction(function):
            raise TypeError(f"{self.name} cannot be a tool: it is asynchronous, and tools are called as plain functions")
        self._parameters = _parameters(function, self.name)
        self._model = _model(function, self.name, self._parameters)
        self.schema: Mapping[str, Any] = self._described()

    def __repr__(self) -> str:
        return f"<Tool {self.name}({', '.join(self._parameters)})>"

    def _described(self) -> Mapping[str, Any]:
        schema = self._model.model_json_schema(by_alias=True)
        named = schema.pop("$defs", {})
        parameters = {key: _plain(value, named) for key, value in schema.items() if key not in ("title", "description")}
        parameters.setdefault("properties", {})
        text = inspect.getdoc(self.function) or ""
        return {"type": "function", "function": {"name": self.name, "description": text, "parameters": parameters}}

    def arguments(self, given: object) -> dict[str, Any]:
        """Checked and converted as the signature says. Raises ValueError: what does not fit."""
        from pydantic import ValidationError

        try:
            raw = json.loads(given) if isinstance(given, str) else given
            checked = self._model.model_validate(raw or {})
        except json.JSONDecodeError as exc:
            raise ValueError("the arguments are not JSON") from exc
        except ValidationError as exc:
            found = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in exc.errors(include_url=False)[:5]]
            raise ValueError(one_line("; ".join(found), 400)) from exc
        names = dict(zip(type(checked).model_fields, self._parameters, strict=True))
        return {name: getattr(checked, key) for key, name in names.items() if key in checked.model_fields_set}


def schema_of(tool: Any) -> Mapping[str, Any]:
    """What a model is told: of a function, or as it was given."""
    return tool if isinstance(tool, Mapping) else Tool(tool).schema


def _parameters(function: Callable[..., Any], name: str) -> dict[str, inspect.Parameter]:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError) as exc:
        raise TypeError(f"{name} cannot be a tool: its signature cannot be read") from exc
    for each in parameters.values():
        if each.kind not in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY):
            raise TypeError(f"{name} cannot be a tool: its parameter {str(each)!r} cannot be given by name. Wrap it in a function of names")
    return dict(parameters)


def _model(function: Callable[..., Any], name: str, parameters: Mapping[str, inspect.Parameter]) -> type[BaseModel]:
    """A pydantic model with a field for each parameter, under names of our own: a parameter may be called `json` or `_x`."""
    from pydantic import ConfigDict, Field, create_model
    from pydantic.errors import PydanticUserError

    described = _described_parameters(function)
    fields: dict[str, Any] = {}
    try:
        hints = typing.get_type_hints(function, include_extras=True)
        for number, (key, each) in enumerate(parameters.items()):
            more: dict[str, Any] = {"alias": key}
            if key in described:
                more["description"] = described[key]
            if each.default is not each.empty:
                simple = each.default is None or isinstance(each.default, (bool, int, float, str))
                more |= {"default": each.default} if simple else {"default_factory": lambda value=each.default: value}
            fields[f"p{number}"] = (hints.get(key, Any), Field(**more))
        model: type[BaseModel] = create_model(name, __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=False), **fields)
        model.model_json_schema()
    except (PydanticUserError, NameError, TypeError) as exc:
        raise TypeError(f"{name} cannot be a tool: {one_line(str(exc), 300)}") from exc
    return model


def _described_parameters(function: Callable[..., Any]) -> dict[str, str]:
    """`name: text` below "Args:", and `:param name: text`: what docstrings say of parameters."""
    found: dict[str, str] = {}
    inside = False
    for line in (inspect.getdoc(function) or "").splitlines():
        if not line[:1].isspace() and line.strip():
            inside = line.strip().rstrip(":").lower() in ("args", "arguments", "parameters")
        match = _DESCRIBED.match(line) if inside or line.lstrip().startswith(":param") else None
        if match:
            found.setdefault(match[1], match[2].strip())
    return found


def _plain(value: Any, named: Mapping[str, Any], within: tuple[str, ...] = ()) -> Any:
    """Without the titles that pydantic derives from names of ours, and with each `$ref` in its place: Ollama passes none on.

    What holds itself is only an object the second time.
    """
    if isinstance(value, list):
        return [_plain(each, named, within) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {key: each for key, each in value.items() if key != "$ref" and not (key == "title" and isinstance(each, str))}
    rest = {key: _plain(each, named, within) for key, each in kept.items()}
    if "$ref" not in value:
        return rest
    name = value["$ref"].rpartition("/")[2]
    return {**({"type": "object"} if name in within else _plain(named[name], named, (*within, name))), **rest}


# -- running ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ToolRun:
    """One call that a model wanted. `result` is what the model is told, also of a failure (`ok` False)."""

    name: str
    arguments: Mapping[str, Any] = field(repr=False)
    result: str
    ok: bool
    elapsed_s: float = 0.0

    def __str__(self) -> str:
        return f"{call_text(self.name, self.arguments)} → {one_line(self.result, 80)}"


class Toolbox:
    """The functions that are offered in a request, and which of them may be run. `tools`: name → function."""

    def __init__(self, tools: Mapping[str, Callable[..., Any]], allowed: Collection[str] = ()) -> None:
        self._tools = {name: Tool(function, name) for name, function in tools.items()}
        for name in allowed:
            if name not in self._tools:
                near = difflib.get_close_matches(name, self._tools, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"offered are: {', '.join(self._tools) or 'none'}"
                raise ValueError(f"{name[:60]!r} is not among the tools that are offered; {hint}")
        self.allowed = frozenset(allowed)

    def __repr__(self) -> str:
        return f"<Toolbox {', '.join(name + '*' * (name in self.allowed) for name in self._tools)}>"

    @property
    def schemas(self) -> tuple[Mapping[str, Any], ...]:
        return tuple(tool.schema for tool in self._tools.values())

    def may_run(self, calls: Iterable[Mapping[str, Any]]) -> bool:
        """Whether no call asks for a function that is offered and not allowed. One that does not exist may: the model is told so."""
        return bool(self.allowed) and all(name in self.allowed or name not in self._tools for name, _ in map(parsed, calls))

    def run(self, calls: Iterable[Mapping[str, Any]]) -> list[ToolRun]:
        """Run them one after the other, on this thread. What a function raises is told to the model."""
        return [self._one(*parsed(call), number) for number, call in enumerate(calls)]

    def _one(self, name: str, given: Any, number: int) -> ToolRun:
        shown = given if isinstance(given, Mapping) else {}
        tool = self._tools.get(name) if name in self.allowed else None
        if tool is None:
            return ToolRun(name, shown, f"error: there is no tool {name[:60]!r}; there are: {', '.join(self._tools)}", ok=False)
        if number >= MOST_CALLS:
            return ToolRun(name, shown, f"error: not run, {MOST_CALLS} calls at once are the most", ok=False)
        try:
            arguments = tool.arguments(given)
        except ValueError as error:
            return ToolRun(name, shown, f"error: {error}", ok=False)
        began = time.monotonic()
        try:
            result, ok = _written(tool.function(**arguments)), True
        except Exception as error:  # noqa: BLE001 - the function is the user's and may raise anything; the model and the cell are told
            result, ok = f"error: {type(error).__name__}: {one_line(str(error), 400)}", False
        return ToolRun(name, arguments, result, ok, time.monotonic() - began)


def parsed(call: Mapping[str, Any]) -> tuple[str, Any]:
    """(name, arguments) of a model's call; ("", {}) when it is none."""
    function = call.get("function")
    if not isinstance(function, Mapping):
        return "", {}
    name = function.get("name")
    return (name if isinstance(name, str) else ""), function.get("arguments") or {}


def call_text(name: str, arguments: object) -> str:
    """`look(where='up')` on one clean line."""
    inside = ", ".join(f"{key}={value!r}" for key, value in arguments.items()) if isinstance(arguments, Mapping) else repr(arguments)
    return one_line(f"{name or '(no name)'}({inside})", 160)


def answering(calls: Iterable[Mapping[str, Any]], runs: Iterable[ToolRun], said: str) -> list[dict[str, Any]]:
    """The messages that go back: what the model said with its calls, and what came of each."""
    asked = []
    told = []
    for call, run in zip(calls, runs, strict=True):
        name, given = parsed(call)
        identity = {"id": call["id"]} if isinstance(call.get("id"), str) else {}
        asked.append({**identity, "function": {"name": name, "arguments": given if isinstance(given, Mapping) else {}}})
        linked = {"tool_call_id": call["id"]} if identity else {}
        told.append({"role": "tool", "content": run.result, "tool_name": name, **linked})
    return [{"role": "assistant", "content": said, "tool_calls": asked}, *told]


def _written(value: Any) -> str:
    """A result as the model reads it: a text as it is, data as JSON, anything else as `str` shows it."""
    from pydantic_core import PydanticSerializationError, to_json

    try:
        text = value if isinstance(value, str) else to_json(value, fallback=str).decode()
    except (PydanticSerializationError, ValueError):
        text = str(value)
    return text if len(text) <= MOST_RESULT_CHARS else f"{text[:MOST_RESULT_CHARS]}\n… cut: {len(text):,} characters in all"
