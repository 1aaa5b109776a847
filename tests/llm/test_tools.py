"""Functions as tools: what a model is told, how its arguments are checked, and what comes back."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from gleitzeit_nb.llm.asking import request_from
from gleitzeit_nb.llm.tools import MOST_CALLS, Tool, Toolbox, answering, call_text, schema_of
from tests.llm.conftest import pool_of
from tests.support.fake_ollama import FakeOllama


class Unit(enum.Enum):
    CELSIUS = "c"
    KELVIN = "k"


class Place(BaseModel):
    name: str


def weather(
    city: str, days: int = 1, *, unit: Literal["c", "k"] = "c", exact: Annotated[bool, Field(description="No rounding.")] = False
) -> str:
    """The weather of a city.

    Args:
        city: Its name in English.
        days (int): How many
            of them.
    """
    return f"{city} {days} {unit} {exact}"


def call(name: Any, **arguments: Any) -> dict[str, Any]:
    return {"id": "call_1", "function": {"name": name, "arguments": arguments}}


def test_a_function_is_described_by_its_signature_and_docstring() -> None:
    function = schema_of(weather)["function"]
    assert function["name"] == "weather"
    assert function["description"].startswith("The weather of a city.")
    assert function["parameters"] == {
        "type": "object",
        "additionalProperties": False,
        "required": ["city"],
        "properties": {
            "city": {"type": "string", "description": "Its name in English."},
            "days": {"type": "integer", "default": 1, "description": "How many"},
            "unit": {"type": "string", "enum": ["c", "k"], "default": "c"},
            "exact": {"type": "boolean", "default": False, "description": "No rounding."},
        },
    }


def test_sphinx_fields_describe_too_and_odd_names_are_no_trouble() -> None:
    def odd(json: str, _x: int, model_config: object = (1, 2)) -> None:  # names that pydantic would not take for fields
        """Odd.

        :param json: A text.
        """

    tool = Tool(odd)
    assert tool.schema["function"]["parameters"]["properties"]["json"]["description"] == "A text."
    assert tool.schema["function"]["parameters"]["required"] == ["json", "_x"]
    assert tool.arguments({"json": "a", "_x": "3"}) == {"json": "a", "_x": 3}


class Tree(BaseModel):
    title: str
    children: list[Tree] = []


def test_types_of_ones_own_stand_in_their_places() -> None:
    def visit(place: Place, unit: Unit, tree: Tree) -> None: ...

    parameters = schema_of(visit)["function"]["parameters"]
    assert "$" not in json.dumps(parameters)
    assert parameters["properties"]["place"] == {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    assert parameters["properties"]["unit"] == {"type": "string", "enum": ["c", "k"]}
    assert parameters["properties"]["tree"]["properties"]["children"]["items"] == {"type": "object"}
    assert parameters["properties"]["tree"]["properties"]["title"] == {"type": "string"}


def test_a_function_without_parameters_or_hints_is_a_tool_too() -> None:
    assert Tool(lambda: 1, "one").schema["function"]["parameters"]["properties"] == {}
    assert Tool(lambda x: x, "same").arguments({"x": [1]}) == {"x": [1]}


def test_arguments_become_what_the_signature_says() -> None:
    def visit(place: Place, unit: Unit = Unit.KELVIN) -> None: ...

    arguments = Tool(visit).arguments('{"place": {"name": "Bonn"}, "unit": "c"}')
    assert arguments == {"place": Place(name="Bonn"), "unit": Unit.CELSIUS}
    assert Tool(visit).arguments({"place": {"name": "Bonn"}}) == {"place": Place(name="Bonn")}  # the default stays the function's own


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "city: Field required"),
        ({"city": 3}, "city: Input should be a valid string"),
        ({"city": "x", "evil": 1}, "evil: Extra inputs"),
        ({"city": "x", "unit": "f"}, "unit: Input should be"),
        ("{", "not JSON"),
        ([1], "valid dictionary"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(given: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Tool(weather).arguments(given)


async def soon() -> None: ...


def scattered(*words: str) -> None: ...


def open_ended(**words: str) -> None: ...


def first(x: int, /) -> None: ...


def unknown(x: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (soon, "asynchronous"),
        (scattered, r"'\*words: 'str''|by name"),
        (open_ended, "by name"),
        (first, "by name"),
        (unknown, "Nowhere"),
        (lambda: 1, "has a name"),
        (Place, "has a name"),
        (3, "has a name"),
    ],
)
def test_what_no_model_could_call_is_no_tool(function: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        Tool(function)


async def test_the_pool_offers_functions_and_runs_none() -> None:
    asked = [call("weather", city="Bonn")]
    async with FakeOllama(tokens=lambda _body: [{"tool_calls": asked}]) as server, pool_of(server) as pool:
        reply = await pool.chat("llama3.2", "Will it rain?", tools=[weather, {"type": "function", "function": {"name": "own"}}])
    assert reply.tool_calls == (asked[0],)
    assert [tool["function"]["name"] for tool in server.asked[0].body["tools"]] == ["weather", "own"]


# -- running ----------------------------------------------------------------------------------------------------------------------


def ran(function: Callable[..., Any], *calls: dict[str, Any]) -> list[Any]:
    return Toolbox({"f": function}, ["f"]).run(calls)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        ({"a": [1, None]}, '{"a":[1,null]}'),
        (Place(name="Bonn"), '{"name":"Bonn"}'),
        (b"\xff", r"b'\xff'"),
        (None, "null"),
    ],
)
def test_a_result_is_told_as_text_or_json(value: Any, text: str) -> None:
    (run,) = ran(lambda: value, call("f"))
    assert (run.result, run.ok) == (text, True)


def test_a_long_result_is_cut() -> None:
    (run,) = ran(lambda: "x" * 200_000, call("f"))
    assert len(run.result) < 51_000
    assert "200,000 characters in all" in run.result


def test_what_goes_wrong_is_told_to_the_model() -> None:
    def fails(x: int = 0) -> None:
        raise ZeroDivisionError("no\nway")

    (run,) = ran(fails, call("f"))
    assert (run.result, run.ok) == ("error: ZeroDivisionError: no way", False)
    (run,) = ran(fails, call("f", x="many"))
    assert run.result.startswith("error: x: Input should be a valid integer")
    (run,) = ran(fails, call("g"))
    assert run.result == "error: there is no tool 'g'; there are: f"
    (run,) = ran(fails, {"function": "nonsense"})
    assert not run.ok


def test_so_many_calls_at_once_and_no_more() -> None:
    times = []
    runs = ran(lambda: times.append(1), *[call("f")] * (MOST_CALLS + 3))
    assert len(times) == MOST_CALLS
    assert [run.ok for run in runs] == [True] * MOST_CALLS + [False] * 3


def test_nothing_runs_unless_all_that_is_asked_for_may() -> None:
    box = Toolbox({"look": weather, "delete": weather}, ["look"])
    assert box.may_run([call("look"), call("nowhere")])
    assert not box.may_run([call("look"), call("delete")])
    assert not Toolbox({"look": weather}).may_run([call("nowhere")])
    (run,) = box.run([call("delete", city="x")])
    assert not run.ok


def test_allowing_what_is_not_offered_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="did you mean 'look'"):
        Toolbox({"look": weather}, ["loook"])
    with pytest.raises(ValueError, match="offered are: none"):
        Toolbox({}, ["look"])


def test_what_ran_goes_back_beside_what_was_asked() -> None:
    calls = [call("f"), {"function": {"name": "f", "arguments": "odd"}}]
    said, *told = answering(calls, ran(lambda: "1", *calls), "Let me see.")
    assert (said["role"], said["content"], len(said["tool_calls"])) == ("assistant", "Let me see.", 2)
    assert told[0] == {"role": "tool", "content": "1", "tool_name": "f", "tool_call_id": "call_1"}
    assert "tool_call_id" not in told[1]
    json.dumps([said, *told])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(st.dictionaries(st.text(), json_values), json_values)
def test_no_call_however_odd_is_an_error(odd: dict[str, Any], arguments: Any) -> None:
    calls = [odd, {"function": odd}, {"function": {"name": "f", "arguments": arguments}}]
    runs = ran(lambda x=1: x, *calls)
    assert len(runs) == 3
    assert all("\n" not in line and len(line) <= 160 for line in (call_text(run.name, run.arguments) for run in runs))
    json.dumps(answering(calls, runs, ""))


def test_a_request_made_of_functions_is_plain_data() -> None:
    request = request_from("r", "chat", "m", messages="hi", tools=[weather])
    json.dumps(request.tools)
