"""Structured answers: every way to describe one, the object that comes of it, and the one repair."""

from __future__ import annotations

import json
import typing
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from typing_extensions import NotRequired, TypedDict

from gleitzeit_nb.errors import PoolError, SchemaMismatchError
from gleitzeit_nb.llm.pool import OllamaPoolManager
from gleitzeit_nb.llm.schema import bare, shape_of
from tests.llm.conftest import pool_of
from tests.support.fake_ollama import FakeOllama


class City(BaseModel):
    name: str
    people: int


@dataclass
class Point:
    x: int
    y: int = 0


class Pair(TypedDict):
    left: str
    right: NotRequired[str]


class OldPair(typing.TypedDict, total=False):
    left: str


SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"], "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "text", "parsed"),
    [
        (City, '{"name": "Bonn", "people": 330000}', City(name="Bonn", people=330000)),
        (Point, '{"x": 1}', Point(1)),
        (Pair, '{"left": "a"}', {"left": "a"}),
        (OldPair, "{}", {}),
        (list[int], "[1, 2]", [1, 2]),
        (typing.Literal["yes", "no"], '"no"', "no"),
        (int | None, "null", None),
        (SCHEMA, '{"name": "Bonn"}', {"name": "Bonn"}),
        (SCHEMA, '```json\n{"name": "Bonn"}\n```\n', {"name": "Bonn"}),
    ],
    ids=["pydantic", "dataclass", "typed dict", "old typed dict", "list", "literal", "optional", "schema", "fenced"],
)
def test_a_shape_reads_its_object(schema: Any, text: str, parsed: Any) -> None:
    shape = shape_of(schema)
    assert shape.read(text) == parsed
    json.dumps(shape.format)
    assert shape_of(shape) is shape


@pytest.mark.parametrize(
    ("schema", "text", "said"),
    [
        (City, '{"name": "Bonn"}', "people: Field required"),
        (City, "Sure: {", "Invalid JSON"),
        (list[int], '["<b>"]', "0: Input should be a valid integer"),
        (SCHEMA, '{"nome": 1}', "name"),
        (SCHEMA, "{", "not JSON"),
        (SCHEMA, "NaN", "not JSON"),
        (SCHEMA, "[" * 100_000, "not JSON|nested"),
        (City, "[" * 100_000, "Invalid JSON"),
    ],
)
def test_what_does_not_fit_is_said_in_words(schema: Any, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        shape_of(schema).read(text)
    assert len(str(caught.value)) < 1500


def test_many_problems_are_counted() -> None:
    with pytest.raises(ValueError, match="and 15 more"):
        shape_of(list[int]).read(json.dumps(["x"] * 20))


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (3, "3 is no schema"),
        (City(name="Bonn", people=1), "is no schema"),
        (len, "is no schema"),
        ({"type": "strnig"}, "no JSON Schema: 'strnig' is not valid"),
        ("nowhere.json", "cannot be read"),
        (type("Odd", (), {}), "cannot be a schema"),
    ],
)
def test_what_is_no_schema_is_refused(schema: Any, said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        shape_of(schema)


def test_a_schema_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "city.json"
    file.write_text(json.dumps(SCHEMA))
    assert shape_of(str(file)).format == SCHEMA
    for text, said in (("[]", "no JSON object"), ("{\n,", "line 2"), ("\udcff", "UTF-8")):
        file.write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(ValueError, match=said):
            shape_of(file)


def test_a_schema_that_names_another_place_fetches_nothing() -> None:
    shape = shape_of({"$ref": "http://127.0.0.1:9/schema.json"})
    with pytest.raises(TypeError, match="names what it does not hold"):
        shape.read("{}")


@given(st.text())
def test_a_fence_is_taken_off_and_nothing_else(text: str) -> None:
    value = json.dumps({"text": text})
    assert bare(f"```json\n{value}\n```") == value
    assert bare(value) == value


# -- through the pool -----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def served() -> AsyncIterator[Callable[..., Any]]:
    """`served(*texts)`: a pool whose one server answers with these, one after the other."""
    texts: list[str] = []
    server = FakeOllama()
    server.tokens = lambda _body: texts.pop(0).partition(" ")[::2]
    async with server, pool_of(server) as pool:

        def answering(*more: str) -> tuple[OllamaPoolManager, FakeOllama]:
            texts.extend(more)
            return pool, server

        yield answering


GOOD, BAD = '{"name": "Bonn", "people": 3}', '{"name": "Bonn"}'


async def test_the_object_comes_with_the_reply(served: Callable[..., Any]) -> None:
    pool, server = served(GOOD.replace(", ", ","))
    reply = await pool.chat("llama3.2", "Name a city.", schema=City)
    assert (reply.parsed, reply.repairs) == (City(name="Bonn", people=3), 0)
    assert server.asked[0].body["format"]["properties"]["people"]["type"] == "integer"


async def test_an_answer_that_does_not_fit_is_repaired_once(served: Callable[..., Any]) -> None:
    pool, server = served(BAD, GOOD)
    chunks = [chunk async for chunk in pool.stream("llama3.2", "Name a city.", schema=City)]
    restart = next(index for index, chunk in enumerate(chunks) if chunk.restart)
    assert "".join(chunk.text for chunk in chunks[:restart]).replace(" ", "") == BAD.replace(" ", "")
    reply = chunks[-1].reply
    assert (reply.parsed.people, reply.repairs) == (3, 1)
    first, second = (request.body["messages"] for request in server.asked)
    assert second[:-2] == first
    assert second[-2]["role"] == "assistant"
    assert "people: Field required" in second[-1]["content"]


async def test_a_completion_is_repaired_too(served: Callable[..., Any]) -> None:
    pool, server = served(BAD, GOOD)
    reply = await pool.generate("llama3.2", "A city:", schema=City)
    assert reply.parsed.people == 3
    assert server.asked[1].body["prompt"].startswith("A city:\n\n")


async def test_two_answers_that_do_not_fit_are_an_error_with_the_text(served: Callable[..., Any]) -> None:
    pool, server = served(BAD, "No.")
    with pytest.raises(SchemaMismatchError, match=r"asked again once.*\n.*error\.text") as caught:
        await pool.chat("llama3.2", "Name a city.", schema=City)
    assert caught.value.text.strip() == "No."
    assert len(server.asked) == 2


async def test_an_answer_that_was_cut_at_its_length_is_not_asked_for_again(served: Callable[..., Any], monkeypatch: Any) -> None:
    pool, server = served('{"name": "Bo')
    server.done_reason = "length"
    with pytest.raises(SchemaMismatchError, match="num_predict"):
        await pool.chat("llama3.2", "Name a city.", schema=City)
    assert len(server.asked) == 1


async def test_the_deadline_counts_for_the_repair_too(served: Callable[..., Any]) -> None:
    pool, server = served(BAD, GOOD)
    server.token_s = 0.2
    with pytest.raises(PoolError, match="deadline"):
        await pool.chat("llama3.2", "Name a city.", schema=City, deadline=0.5)


async def test_an_answer_that_only_calls_tools_is_not_judged(served: Callable[..., Any]) -> None:
    pool, server = served()
    call = {"function": {"name": "look", "arguments": {}}}

    def said(_body: Mapping[str, Any]) -> Iterable[Any]:
        return [{"tool_calls": [call]}]

    server.tokens = said
    reply = await pool.chat("llama3.2", "Name a city.", schema=City)
    assert (reply.parsed, reply.tool_calls) == (None, (call,))


async def test_a_stream_that_is_left_gives_its_slot_back(served: Callable[..., Any]) -> None:
    pool, server = served(GOOD)
    server.token_s = 0.05
    chunks = pool.stream("llama3.2", "Name a city.", schema=City)
    await anext(chunks)
    await chunks.aclose()
    assert pool.in_flight == 0


async def test_a_schema_beside_a_format_or_for_vectors_is_refused(served: Callable[..., Any]) -> None:
    pool, _ = served()
    with pytest.raises(TypeError, match="either 'schema'"):
        await pool.chat("llama3.2", "hi", schema=City, format="json")
    with pytest.raises(TypeError, match="answers in text"):
        await pool.embed("llama3.2", "hi", schema=City)
