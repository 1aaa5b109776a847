"""The whole of Ollama's API from cells: pictures, thinking, logprobs, completions, vectors."""

from __future__ import annotations

import base64
import html
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter

from gleitzeit_nb.core.aliases import aliases_of
from gleitzeit_nb.core.requests import Chunk
from gleitzeit_nb.errors import UsageError
from gleitzeit_nb.jupyter.listings import aliases_text
from gleitzeit_nb.jupyter.llm.vectors import LLMVectors
from gleitzeit_nb.llm.cache import AnswerCache
from gleitzeit_nb.llm.images import dimensions, png_of
from tests.support.hostile import Hostile, answers
from tests.support.shell import Cell, Shell, reply_of


def last(shell: Shell) -> Any:
    return shell.engine.pool.requests[-1]


def refused(shell: Shell, source: str) -> str:
    """The message of a cell that asks nobody."""
    cell = shell.run(source)
    assert isinstance(cell.error, UsageError)
    assert shell.engine.pool.requests == []
    assert len(cell.error_lines) <= 6
    return str(cell.error)


def details(cell: Cell) -> list[dict[str, Any]]:
    return [each["data"] for each in cell.displays if "<details" in each["data"].get("text/html", "")]


# -- pictures ---------------------------------------------------------------------------------------------------------------------


def test_a_picture_is_a_variable_or_a_file(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "dot.png"
    shell.run("import numpy as np\ndots = np.zeros((2, 3), np.uint8)\nzeros = np.zeros((2, 3, 3))")
    file.write_bytes(png_of(shell.ip.user_ns["dots"]))
    shell.run(f"%%llm --image dots --image zeros --image {file}\nWhat is this?")
    sent = [base64.b64decode(image) for image in last(shell).messages[-1]["images"]]
    assert [image[:8] for image in sent] == [b"\x89PNG\r\n\x1a\n"] * 3
    assert sent[0] == file.read_bytes() == sent[2]


def test_figures_and_images_of_the_real_packages_are_pictures_in_a_cell(shell: Shell) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    pytest.importorskip("PIL", reason="pillow is not installed")
    shell.run("from matplotlib.figure import Figure\nfrom PIL import Image\nfigure = Figure(figsize=(1, 1), dpi=30)")
    shell.run("axes = figure.subplots()\nphoto = Image.new('CMYK', (5, 4))\ndeep = Image.new('I;16', (5, 4))")
    assert "mode I;16" in refused(shell, "%%llm --image deep\nWhat is this?")
    shell.run("%%llm --image figure --image axes --image photo\nWhat is this?")
    sent = [base64.b64decode(each) for each in last(shell).messages[-1]["images"]]
    assert list(map(dimensions, sent)) == [(30, 30), (30, 30), (5, 4)]


@pytest.mark.parametrize(
    ("name", "said"),
    [("https://e.x/a.png", "nothing is fetched"), ("cat.png", "no file"), ("numbers", "list is not a picture"), ("nope", "no file 'nope'")],
)
def test_what_is_no_picture_asks_nobody(shell: Shell, name: str, said: str) -> None:
    shell.run("numbers = [1, 2]")
    message = refused(shell, f"%%llm --image {name}\nWhat is this?")
    assert message.startswith(f"--image {name}: ")
    assert said in message


# -- schemas ----------------------------------------------------------------------------------------------------------------------

CITY = "import pydantic, types\nclass City(pydantic.BaseModel):\n    name: str\nplaces = types.SimpleNamespace(City=City)"


@pytest.mark.parametrize("name", ["City", "places.City", "plain", "'{}'"])
def test_a_schema_is_a_variable_or_written_out(shell: Shell, name: str) -> None:
    shell.run(CITY)
    shell.run("plain = City.model_json_schema()")
    written = name.format('{"type": "object", "properties": {"name": {"type": "string"}}}') if name == "'{}'" else name
    shell.run(f"%%llm --schema {written}\nName a city.")
    assert last(shell).format["properties"]["name"]["type"] == "string"
    assert last(shell).schema.read('{"name": "Bonn"}')


@pytest.mark.parametrize(
    ("word", "text", "read"),
    [("int", "7", 7), ("list[int]", "[1, 2]", [1, 2]), ('"int | None"', "null", None), ("dict[str,list[int]]", '{"a": [1]}', {"a": [1]})],
)
def test_a_schema_is_a_type_as_it_would_be_written(shell: Shell, word: str, text: str, read: object) -> None:
    shell.run(f"%%llm --schema {word}\nhi")
    assert last(shell).schema.read(text) == read


def test_a_schema_is_a_list_of_a_type_of_the_notebook(shell: Shell) -> None:
    shell.run(CITY)
    shell.run("%%llm --schema list[places.City]\nhi")
    assert [each.name for each in last(shell).schema.read('[{"name": "Bonn"}]')] == ["Bonn"]


def test_a_schema_is_read_from_a_file(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "city.json").write_text('{"type": "array"}')
    shell.run(f"%%llm --schema {tmp_path}/city.json\nName a city.")
    assert last(shell).format == {"type": "array"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--schema nope", "no variable 'nope'"),
        ("--schema places.Town", "places has no 'Town'"),
        ("--schema list[Nope]", "name 'Nope' is not defined"),
        ("--schema \"open('/etc/hostname')\"", "neither a type"),
        ("--schema 'list[' ", "it is no type"),
        ("--schema number", "3 is no schema"),
        ("--schema nowhere.json", "cannot be read"),
        ("--schema '{\"type\": 3}'", "no JSON Schema"),
        ("--schema City --format json", "twice"),
    ],
)
def test_what_is_no_schema_asks_nobody(shell: Shell, words: str, said: str) -> None:
    shell.run(f"{CITY}\nnumber = 3")
    assert said in refused(shell, f"%%llm {words}\nhi")


def test_the_object_is_the_replys(shell: Shell) -> None:
    shell.engine.pool.reply = lambda text: replace(reply_of(text), parsed={"name": "Bonn"}, repairs=1)
    cell = shell.run("%%llm\nhi")
    assert cell.value.object == {"name": "Bonn"}
    assert cell.shown_value["text/plain"].endswith("no retries · repaired once")


@pytest.mark.parametrize("line", ["%%llm", "%%llm --no-stream"])
def test_an_answer_that_begins_anew_replaces_what_was_shown(shell: Shell, line: str) -> None:
    shell.engine.pool.script = ["first", 0.1, Chunk(restart=True), "second"]
    cell = shell.run(f"{line}\nhi")
    assert cell.displays[-1]["data"]["text/markdown"] == "second"
    told = [display["data"]["text/markdown"] for display in cell.displays]
    assert ("*(asked again)*" in told) is (line == "%%llm")


def test_a_terminal_is_told_that_an_answer_begins_anew(terminal: Shell) -> None:
    terminal.engine.pool.script = ["first", 0.2, Chunk(restart=True), "second"]
    assert terminal.run("%%llm\nhi").stdout.startswith("first\n(asked again)\nsecond\n")


# -- thinking ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("words", "think"), [("--think", True), ("--think high", "high"), ("--think off", False), ("", None)])
def test_thinking_is_asked_for_by_level(shell: Shell, words: str, think: Any) -> None:
    shell.run(f"%%llm {words} -o answer\nhi")
    assert last(shell).think == think


def test_an_unknown_level_is_refused(shell: Shell) -> None:
    assert "low, medium, high, max, off" in refused(shell, "%%llm --think hard\nhi")


def test_thoughts_are_shown_collapsed_below_the_answer(shell: Shell) -> None:
    shell.engine.pool.reply = lambda text: replace(reply_of(text), thinking="first\nthen <b>\x1b[31m")
    cell = shell.run("%%llm --think\nhi")
    (shown,) = details(cell)
    assert "<summary>thinking, 19 characters</summary>" in shown["text/html"]
    assert "first\nthen &lt;b&gt;␛[31m</pre>" in shown["text/html"]
    assert shown["text/plain"] == "(thinking, 19 characters: first then <b>␛[31m)"
    assert cell.value.thinking == "first\nthen <b>\x1b[31m"
    assert cell.displays[-1]["data"] == shown
    assert details(shell.run("%%llm -q --think\nhi")) == []


@pytest.mark.parametrize("case", answers("http://trap.invalid"), ids=lambda case: case.name)
def test_hostile_thoughts_are_only_text(shell: Shell, case: Hostile) -> None:
    shell.engine.pool.reply = lambda text: replace(reply_of(text), thinking=case.text)
    (shown,) = details(shell.run("%%llm\nhi"))
    inner = shown["text/html"].partition("<pre")[2].partition(">")[2].removesuffix("</pre></details>")
    assert "<" not in inner
    assert ">" not in inner
    assert "\x1b" not in inner
    assert html.unescape(inner).startswith(f"first-{case.name}")
    assert inner.endswith(f"last-{case.name}")


def test_a_terminal_gets_thoughts_as_one_line(terminal: Shell) -> None:
    terminal.engine.pool.reply = lambda text: replace(reply_of(text), thinking="one\ntwo")
    assert "(thinking, 7 characters: one two)" in terminal.run("%%llm\nhi").stdout


# -- logprobs, completions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("words", "count"), [("--logprobs", 0), ("--logprobs 3", 3), ("", None)])
def test_logprobs_are_asked_for_and_handed_over(shell: Shell, words: str, count: int | None) -> None:
    shell.engine.pool.reply = lambda text: replace(reply_of(text), logprobs=({"token": "a", "logprob": -0.1},))
    cell = shell.run(f"%%llm {words}\nhi")
    assert last(shell).logprobs == count
    assert cell.value.logprobs[0]["logprob"] == -0.1


def test_a_text_is_completed(shell: Shell) -> None:
    shell.run("%%llm --generate --suffix ' + 1' --no-template --system 'Be brief.'\nx = 1")
    asked = last(shell)
    assert (asked.kind, asked.prompt, asked.suffix, asked.raw, asked.system) == ("generate", "x = 1", " + 1", True, "Be brief.")
    assert asked.messages == ()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--suffix x", "--suffix means nothing to a chat"),
        ("--no-template", "Add --generate"),
        ("--embed --think", "--think means nothing to --embed"),
        ("--embed --generate", "--generate means nothing"),
        ("--logprobs 21", "from 0 to 20"),
    ],
)
def test_options_that_do_not_go_together_are_refused(shell: Shell, line: str, said: str) -> None:
    assert said in refused(shell, f"%%llm {line}\nhi")


# -- vectors ----------------------------------------------------------------------------------------------------------------------


def embedding(shell: Shell, *vectors: tuple[float, ...]) -> None:
    shell.engine.pool.reply = lambda text: replace(reply_of(""), embeddings=vectors)


def test_each_line_becomes_a_vector(shell: Shell) -> None:
    embedding(shell, (0.25, -0.5), (1.0, 0.0))
    shell.run("word = 'two'")
    cell = shell.run("%%llm --embed -o found\none\n\n  {word}  \n")
    assert (last(shell).kind, last(shell).inputs) == ("embed", ("one", "two"))
    assert isinstance(cell.value, LLMVectors)
    assert cell.value is shell.ip.user_ns["found"]
    assert cell.value.vectors == [[0.25, -0.5], [1.0, 0.0]]
    assert cell.value.array.tolist() == [[0.25, -0.5], [1.0, 0.0]]
    assert [len(cell.value), list(cell.value)] == [2, cell.value.vectors]
    lines = cell.shown_value["text/plain"].split("\n")
    assert lines[1].split() == ["1", "one", "0.250,", "-0.500"]
    assert lines[-1].endswith("· 2 × 2")


def test_a_list_is_named(shell: Shell) -> None:
    embedding(shell, (1.0,), (1.0,))
    shell.run("texts = ['a\\nb', 'c']; numbers = [1]; word = 'a text'")
    shell.run("%%llm --embed\ntexts")
    assert last(shell).inputs == ("a\nb", "c")
    shell.run("%%llm --embed\nword")
    assert last(shell).inputs == ("word",)
    assert "no list of texts" in str(shell.run("%%llm --embed\nnumbers").error)


def test_a_long_table_is_short_and_only_text(shell: Shell) -> None:
    embedding(shell, *[(0.5,) * 6] * 20)
    shell.run("texts = ['<script>alert(1)</script>' + 'x' * 100] * 20")
    cell = shell.run("%%llm --embed\ntexts")
    assert "… and 12 more" in cell.shown_value["text/plain"]
    assert "<script" not in cell.shown_value["text/html"]
    assert all(len(line) < 160 for line in cell.shown_value["text/plain"].split("\n"))


# -- tools ------------------------------------------------------------------------------------------------------------------------

FUNCTIONS = """
seen = []
def look(where: str) -> str:
    "Look somewhere."
    seen.append(where)
    return f"nothing {where}"
def delete(path: str) -> str:
    seen.append(path)
    return "gone"
def fails():
    raise KeyError("<b>\x1b[31m")
"""


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"id": "call_1", "function": {"name": name, "arguments": arguments}}


def answering(shell: Shell, *rounds: list[dict[str, Any]]) -> None:
    """The model calls these, round by round, and then answers with the script's text."""
    left = list(rounds)
    shell.engine.pool.reply = lambda text: replace(reply_of(text), tool_calls=tuple(left.pop(0)) if left else ())


def test_a_function_that_is_only_offered_is_not_run(shell: Shell) -> None:
    shell.run(FUNCTIONS)
    answering(shell, [call("look", where="up")])
    cell = shell.run("%%llm --tools look,delete\nhi")
    assert [tool["function"]["name"] for tool in last(shell).tools] == ["look", "delete"]
    assert shell.ip.user_ns["seen"] == []
    assert "not run: look(where='up') (only what --allow-tools names is run)" in cell.stdout
    assert cell.value.tool_calls == (call("look", where="up"),)
    assert "tool calls: 0 run, 1 not run" in cell.shown_value["text/plain"]


def test_an_answer_that_only_calls_functions_shows_the_calls(shell: Shell, terminal: Shell) -> None:
    for opened in (shell, terminal):
        opened.engine.pool.script = []
        opened.run(FUNCTIONS)
    answering(shell, [call("look", where="<b>\x1b[2J*up*")])
    (shown,) = [each["data"] for each in shell.run("%%llm --tools look\nhi").displays]
    assert shown["text/plain"] == "(no text, but a call: look(where='<b>\\x1b[2J*up*'))"
    assert "<b>" not in shown["text/markdown"]
    assert "empty" not in shown["text/markdown"]
    answering(terminal, [call("look", where=str(number)) for number in range(7)])
    said = terminal.run("%%llm --tools look\nhi").stdout
    assert "(no text, but calls: look(where='0'), look(where='1')," in said
    assert "look(where='4') and 2 more)" in said


def test_a_function_that_is_allowed_runs_and_the_model_hears_of_it(shell: Shell) -> None:
    shell.run(FUNCTIONS)
    answering(shell, [call("look", where="up"), call("look", wo="down")], [call("nowhere")])
    cell = shell.run("%%llm --tools look,delete --allow-tools look\nhi")
    assert shell.ip.user_ns["seen"] == ["up"]
    assert "ran: look(where='up') → nothing up\nfailed: look(wo='down') → error: " in cell.stdout
    assert [run.ok for run in cell.value.tool_runs] == [True, False, False]
    roles = [message["role"] for message in last(shell).messages]
    assert roles == ["user", "assistant", "tool", "tool", "assistant", "tool"]
    assert last(shell).messages[2] == {"role": "tool", "content": "nothing up", "tool_name": "look", "tool_call_id": "call_1"}
    assert cell.value.tool_calls == ()


def test_one_call_that_is_not_allowed_holds_all_of_its_round_back(shell: Shell) -> None:
    shell.run(FUNCTIONS)
    answering(shell, [call("look", where="up"), call("delete", path="/")])
    cell = shell.run("%%llm --tools look,delete --allow-tools look\nhi")
    assert shell.ip.user_ns["seen"] == []
    assert len(cell.value.tool_calls) == 2


def test_the_rounds_are_bounded(shell: Shell) -> None:
    shell.run(FUNCTIONS)
    answering(shell, *[[call("look", where="up")]] * 10)
    cell = shell.run("%%llm --tools look --allow-tools look --max-rounds 2\nhi")
    assert shell.ip.user_ns["seen"] == ["up", "up"]
    assert "(2 rounds are over)" in cell.stdout
    assert len(cell.value.tool_calls) == 1


def test_names_and_arguments_of_calls_are_only_text(shell: Shell) -> None:
    shell.run(FUNCTIONS)
    answering(shell, [call("<script>\x1b[2J", **{"\u202e": "<img onerror=x>"}), call("fails")])
    cell = shell.run("%%llm --tools fails --allow-tools fails\nhi")
    assert "failed: <script>␛[2J(⟦U+202E⟧='<img onerror=x>')" in cell.stdout
    assert "\x1b[2J" not in cell.stdout
    assert all("<script" not in each["data"].get("text/html", "") for each in cell.displays)
    assert "<" not in cell.shown_value["text/plain"]


def test_an_interrupt_in_a_function_ends_the_cell_and_keeps_what_had_come(shell: Shell) -> None:
    shell.run("def stop():\n    raise KeyboardInterrupt")
    shell.engine.pool.script = ["Let me see. "]
    answering(shell, [call("stop")])
    cell = shell.run("%%llm --tools stop --allow-tools stop\nhi")
    assert isinstance(cell.error, KeyboardInterrupt)
    assert cell.displays[-1]["data"]["text/markdown"].endswith("*(interrupted)*")
    assert len(shell.engine.pool.requests) == 1


def test_quiet_tells_nothing_of_tools(shell: Shell) -> None:
    shell.run(FUNCTIONS)
    answering(shell, [call("look", where="up")])
    assert shell.run("%%llm -q --tools look --allow-tools look\nhi").stdout == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--tools nope", "no variable 'nope'"),
        ("--tools seen", "give a function that has a name"),
        ("--tools look --allow-tools lok", "did you mean 'look'"),
        ("--allow-tools look", "offered are: none"),
        ("--tools look --schema City", "cannot call tools"),
        ("--generate --tools look", "--tools means nothing to --generate"),
        ("--tools look --max-rounds 0", "from 1 to 100"),
    ],
)
def test_tools_that_cannot_be_offered_ask_nobody(shell: Shell, words: str, said: str) -> None:
    shell.run(f"{FUNCTIONS}\n{CITY}")
    assert said in refused(shell, f"%%llm {words}\nhi")


# -- aliases ----------------------------------------------------------------------------------------------------------------------


def test_an_alias_is_shown_with_its_model_and_completed(shell: Shell) -> None:
    shell.engine.config = replace(shell.engine.config, pool=replace(shell.engine.config.pool, aliases=aliases_of({"fast": "phi"})))
    shell.engine.pool.reply = lambda text: replace(reply_of(text), alias="fast")
    assert "north · fast → smollm2:135m · " in shell.run("%%llm -m fast\nhi").shown_value["text/plain"]
    with provisionalcompleter():
        assert "fast" in {each.text for each in shell.ip.Completer.completions("%%llm -m fa", 11)}


def test_aliases_are_listed_as_text() -> None:
    aliases = aliases_of({"fast": ["a", "b\x1b[2J"], "big": {"gpu-1": "c"}})
    assert aliases_text(aliases) == "\nbig → c on gpu-1\nfast → a, b␛[2J"
    assert aliases_text({}) == ""


# -- the cache --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "words", "cache"),
    [("None", "", None), ("None", "--cache", True), ("True", "", True), ("True", "--no-cache", False), ("False", "--cache", True)],
)
def test_a_cell_or_the_traitlet_says_whether_to_cache(shell: Shell, setting: str, words: str, cache: bool | None) -> None:
    shell.run(f"%config GleitzeitNB.cache = {setting}")
    shell.run(f"%%llm {words}\nhi")
    assert last(shell).cache is cache
    shell.run(f"%%llm --embed {words}\nhi")
    assert last(shell).cache is cache


def test_what_may_run_functions_is_never_cached(shell: Shell) -> None:
    shell.run(FUNCTIONS)
    shell.run("%%llm --cache --tools look\nhi")
    assert last(shell).cache is True
    shell.run("%%llm --cache --tools look --allow-tools look\nhi")
    assert last(shell).cache is False


@pytest.mark.parametrize(("source", "word"), [("cache", "cached"), ("recording", "replayed")])
def test_the_footer_says_where_an_answer_was_kept(shell: Shell, source: Any, word: str) -> None:
    shell.engine.pool.reply = lambda text: replace(reply_of(text), source=source)
    cell = shell.run("%%llm\nhi")
    assert cell.shown_value["text/plain"] == f"{word}, no instance asked (first answered by north) · smollm2:135m · 12 tokens"
    assert cell.displays[-1]["metadata"]["gleitzeit_nb"]["source"] == source


def test_the_cache_is_measured_and_forgotten(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLEITZEIT_CACHE_DIR", str(tmp_path))
    AnswerCache(1 << 20).put("ab" * 32, reply_of("hello"))
    shown = shell.run("%llm cache").stdout
    assert shown.startswith("1 answer, ")
    assert f"of at most 268 MB in {tmp_path}/answers\nUsed by: only cells with --cache." in shown
    assert shell.run("%llm cache clear").stdout.endswith(": forgotten.\n")
    assert shell.run("%llm cache").stdout.startswith("0 answers, 0 B")
    assert "takes nothing, or `clear`" in str(shell.run("%llm cache now").error)
