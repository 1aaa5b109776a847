"""Structured answers: what describes the shape of one (a type, a JSON Schema, a file), the object made of it, and the one repair.

The server is given the schema and obeys it while it can; whether it did is checked here.
"""

from __future__ import annotations

import inspect
import json
import sys
import types
import typing
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.core.requests import AnswerShape, Chunk, LLMRequest, Reply
from gleitzeit_nb.errors import DeadlineExceededError, MissingDependencyError, SchemaMismatchError

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

Ask = Callable[[LLMRequest], AsyncGenerator[Chunk, None]]

MOST_PROBLEMS = 5
MAX_FILE_BYTES = 1 << 20
_TAKES = (
    "a schema is a pydantic model, a dataclass, a TypedDict or another type; a JSON Schema as a dictionary; or the path of a .json file"
)


def shape_of(schema: Any) -> AnswerShape:
    """What `schema` describes. Raises TypeError or ValueError that says why it describes nothing."""
    if isinstance(schema, (TypeShape, JsonShape)):
        return schema
    if isinstance(schema, (str, Path)):
        schema = _from_file(Path(schema))
    return JsonShape(schema) if isinstance(schema, Mapping) else TypeShape(schema)


class TypeShape:
    """The shape of a Python type, by pydantic. `read` gives an object of it."""

    def __init__(self, kind: Any) -> None:
        from pydantic import TypeAdapter
        from pydantic.errors import PydanticUserError

        is_type = isinstance(kind, (type, types.GenericAlias, types.UnionType)) or typing.get_origin(kind) is not None
        if not is_type or inspect.isroutine(kind):
            raise TypeError(f"{one_line(repr(kind), 60)} is no schema: {_TAKES}")
        self.kind = kind
        try:
            self._adapter: TypeAdapter[Any] = TypeAdapter(_portable(kind))
            self.format: Mapping[str, Any] = self._adapter.json_schema()
        except (PydanticUserError, NameError) as exc:
            raise TypeError(f"{one_line(repr(kind), 60)} cannot be a schema: {one_line(str(exc), 300)}") from exc

    def __repr__(self) -> str:
        return f"<TypeShape {one_line(repr(self.kind), 80)}>"

    def read(self, text: str) -> Any:
        from pydantic import ValidationError

        try:
            return self._adapter.validate_json(bare(text))
        except ValidationError as exc:
            raise ValueError(_problems(exc)) from exc


class JsonShape:
    """The shape that a JSON Schema describes. `read` gives plain JSON."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        try:
            import jsonschema
            import referencing
        except ImportError as exc:
            raise MissingDependencyError("jsonschema", "cells", "Checking an answer against a JSON Schema") from exc
        validator = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        try:
            validator.check_schema(schema)
        except jsonschema.SchemaError as exc:
            raise ValueError(f"this is no JSON Schema: {one_line(exc.message, 200)} (at {exc.json_path})") from exc
        self.format: Mapping[str, Any] = schema
        self._validator = validator(schema, registry=referencing.Registry())  # a registry of its own: nothing is fetched
        self._unresolvable = referencing.exceptions.Unresolvable

    def __repr__(self) -> str:
        return f"<JsonShape {one_line(json.dumps(self.format, default=repr), 80)}>"

    def read(self, text: str) -> Any:
        try:
            value = json.loads(bare(text), parse_constant=_no_constant)
            found = sorted(self._validator.iter_errors(value), key=lambda each: len(each.path))
        except json.JSONDecodeError as exc:
            raise ValueError(f"not JSON: {exc.msg} at character {exc.pos}") from exc
        except RecursionError as exc:
            raise ValueError("nested too deeply") from exc
        except self._unresolvable as exc:
            raise TypeError(f"the schema names what it does not hold: {one_line(str(exc), 120)}") from exc
        if found:
            raise ValueError(_listed([(each.json_path, each.message) for each in found]))
        return value


def bare(text: str) -> str:
    """The JSON in an answer: without the fence that some models put around it."""
    stripped = text.strip()
    if not stripped.startswith("```"):
        return stripped
    return stripped.partition("\n")[2].rpartition("```")[0].strip() or stripped


def _portable(kind: Any) -> Any:
    """`typing.TypedDict` before Python 3.12 does not tell which keys may be missing in a way that pydantic trusts: say it anew."""
    if sys.version_info >= (3, 12) or not typing.is_typeddict(kind) or type(kind).__module__ != "typing":
        return kind
    from typing_extensions import NotRequired, TypedDict

    hints = typing.get_type_hints(kind, include_extras=True)
    fields = {name: hint if name in kind.__required_keys__ else NotRequired[hint] for name, hint in hints.items()}
    return TypedDict(kind.__name__, fields)  # type: ignore[operator]


def _from_file(path: Path) -> Mapping[str, Any]:
    try:
        path = path.expanduser()
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError(f"the schema {str(path)!r} is larger than {MAX_FILE_BYTES >> 20} MiB")
        return parsed(path.read_bytes(), f"the schema {str(path)!r}")
    except OSError as exc:
        raise ValueError(f"the schema {str(path)[:200]!r} cannot be read: {exc.strerror or exc}") from exc


def parsed(data: bytes, name: str) -> Mapping[str, Any]:
    """A JSON Schema out of a file's content. Raises ValueError; `name` begins the messages."""
    try:
        schema = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as exc:
        raise ValueError(f"{name} is not UTF-8") from exc
    except json.JSONDecodeError as exc:
        raise ValueError(f"{name} is not JSON: {exc.msg} in line {exc.lineno}") from exc
    if not isinstance(schema, Mapping):
        raise ValueError(f"{name} holds no JSON object")
    return schema


def _no_constant(name: str) -> Any:
    raise json.JSONDecodeError(f"{name} is no JSON", name, 0)


def _problems(error: ValidationError) -> str:
    return _listed([(".".join(map(str, each["loc"])), each["msg"]) for each in error.errors(include_url=False, include_context=False)])


def _listed(problems: list[tuple[str, str]]) -> str:
    shown = [f"{one_line(place, 80)}: {one_line(what, 200)}" if place else one_line(what, 200) for place, what in problems[:MOST_PROBLEMS]]
    return "; ".join(shown) + (f"; and {len(problems) - MOST_PROBLEMS} more" if len(problems) > MOST_PROBLEMS else "")


# -- asking -------------------------------------------------------------------------------------------------------------------


async def shaped(request: LLMRequest, shape: AnswerShape, ask: Ask, clock: Callable[[], float]) -> AsyncGenerator[Chunk, None]:
    """The answer, checked: the last chunk's reply carries the object as `parsed`. One that does not fit is asked for once more.

    Raises SchemaMismatchError. The request's deadline counts for both.
    """
    began = clock()
    reply: Reply | None = None
    async with aclosing(ask(request)) as chunks:
        async for chunk in chunks:
            if chunk.reply is None:
                yield chunk
            reply = chunk.reply
    checked, problem = _read(shape, reply)
    if checked is not None:
        yield Chunk(reply=checked)
        return
    if reply is None or reply.done_reason == "length":
        raise _mismatch(reply, f"{problem}. It was cut at its length: allow more with num_predict")
    yield Chunk(restart=True)
    async with aclosing(ask(_repairing(request, reply, problem, clock() - began))) as chunks:
        async for chunk in chunks:
            if chunk.reply is None:
                yield chunk
            reply = chunk.reply
    checked, problem = _read(shape, reply)
    if checked is None:
        raise _mismatch(
            reply, f"{problem}. It was asked again once, with the error. Say in the prompt what is wanted, or try a larger model"
        )
    yield Chunk(reply=replace(checked, repairs=1, elapsed_s=clock() - began))


def _read(shape: AnswerShape, reply: Reply | None) -> tuple[Reply | None, str]:
    """(the reply with its object, "") or (None, what does not fit). A reply that only calls tools is not the answer yet."""
    if reply is None:
        return None, "no answer came"
    if reply.tool_calls and not reply.text.strip():
        return reply, ""
    try:
        return replace(reply, parsed=shape.read(reply.text)), ""
    except ValueError as error:
        return None, str(error)


def _repairing(request: LLMRequest, reply: Reply, problem: str, elapsed_s: float) -> LLMRequest:
    """The same again, with the answer and what is wrong with it."""
    complaint = f"This answer does not fit the JSON Schema that was asked for: {problem}\nAnswer again, with the corrected JSON only."
    left_s = None if request.deadline_s is None else request.deadline_s - elapsed_s
    if left_s is not None and left_s <= 0:
        raise DeadlineExceededError(
            f"the answer did not fit its schema, and the deadline of {request.deadline_s:g} s left no time to repair it"
        )
    if request.kind == "generate":
        return replace(request, prompt=f"{request.prompt or ''}\n\n{reply.text}\n\n{complaint}", deadline_s=left_s)
    more = ({"role": "assistant", "content": reply.text}, {"role": "user", "content": complaint})
    return replace(request, messages=(*request.messages, *more), deadline_s=left_s)


def _mismatch(reply: Reply | None, problem: str) -> SchemaMismatchError:
    text = reply.text if reply is not None else ""
    where = f" from {reply.instance}" if reply is not None else ""
    return SchemaMismatchError(
        f"the answer{where} does not fit its schema: {problem}.\nThe text itself is in error.text; in a notebook, sys.last_value.text",
        text=text,
    )
