"""`%%llm` in a real IPython shell, over a scripted pool."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gleitzeit_nb.errors import AllInstancesFailedError, NoInstanceError, StreamInterruptedError, UsageError
from gleitzeit_nb.jupyter.values import LLMReply
from tests.support.shell import Shell, reply_of


def last(shell: Shell) -> Any:
    return shell.engine.pool.requests[-1]


def texts(displays: list[dict[str, Any]]) -> list[str]:
    return [each["data"]["text/markdown"] for each in displays if "text/markdown" in each["data"]]


# -- what is asked ----------------------------------------------------------------------------------------------------------------


def test_the_cells_text_is_the_prompt(shell: Shell) -> None:
    shell.run("%%llm\nWhat is a pool?\nSay it briefly.")
    assert last(shell).messages == ({"role": "user", "content": "What is a pool?\nSay it briefly."},)
    assert last(shell).model == ""
    assert last(shell).label == "[1] %%llm"


def test_options_reach_the_request(shell: Shell) -> None:
    shell.run(
        "%%llm -m llama3.2:70b -t gpu,big -t local --instance gpu-1 --prefer gpu-2 --system 'Be brief.' "
        "--option temperature=0 --option stop=END --deadline 12.5 --restart-on-cut # why not\nhi"
    )
    asked = last(shell)
    assert asked.restart_on_cut
    assert (asked.model, asked.tags, asked.instance, asked.deadline_s) == ("llama3.2:70b", ("gpu", "big", "local"), "gpu-1", 12.5)
    assert asked.instance_preference == "gpu-2"
    assert asked.messages[0] == {"role": "system", "content": "Be brief."}
    assert asked.options == {"temperature": 0, "stop": "END"}


def test_a_schema_is_taken_from_a_variable_a_model_or_the_line(shell: Shell) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    shell.run(f"schema = {schema!r}")
    shell.run("%%llm --format schema\nhi")
    assert last(shell).format == schema
    shell.run("%%llm --format '" + json.dumps(schema) + "'\nhi")
    assert last(shell).format == schema
    shell.run("import pydantic\nclass City(pydantic.BaseModel):\n    name: str")
    shell.run("%%llm --format City\nhi")
    assert last(shell).format["properties"]["name"]["type"] == "string"
    shell.run("%%llm --format json\nhi")
    assert last(shell).format == "json"


def test_the_traitlets_name_model_and_strategy(shell: Shell) -> None:
    shell.run("%config GleitzeitNB.model = 'mixtral'")
    shell.run("%config GleitzeitNB.strategy = 'round_robin'")
    shell.run("%%llm\nhi")
    assert (last(shell).model, last(shell).strategy) == ("mixtral", "round_robin")
    shell.run("%%llm -m llava\nhi")
    assert last(shell).model == "llava"


# -- {expression} -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "sent"),
    [
        ("about {topic}", "about pools"),
        ("{items[0]} and {d['a:b']!r:>5}", "one and  'v!'"),
        ("{', '.join(items)}", "one, two"),
        ("{1 + 1} {len(items):03d}", "2 002"),
        ("{{literal}} {topic}", "{literal} pools"),
        ("{{{topic}}}", "{pools}"),
        ("a } b", "a } b"),
        ("{braces}", "{topic} {{x}} {undefined}"),
        ("{topic!s}", "pools"),
        ("{(lambda: topic)()}", "pools"),
    ],
)
def test_expressions_are_expanded_once(shell: Shell, prompt: str, sent: str) -> None:
    shell.run("topic = 'pools'; items = ['one', 'two']; d = {'a:b': 'v!'}; braces = '{topic} {{x}} {undefined}'")
    shell.run(f"%%llm\n{prompt}")
    assert last(shell).messages[-1]["content"] == sent


def test_options_are_expanded_too_and_stay_one_value_each(shell: Shell) -> None:
    shell.run("who = 'a pirate; --raw'; flag = '--raw'; name = 'llava'")
    shell.run('%%llm -m {name} --system "You are {who}"\nhi')
    assert (last(shell).model, last(shell).messages[0]["content"]) == ("llava", "You are a pirate; --raw")
    shell.run("%%llm --system {flag} -m {flag}\nhi")
    assert (last(shell).model, last(shell).messages[0]["content"]) == ("--raw", "--raw")


def test_raw_expands_nothing(shell: Shell) -> None:
    shell.run('%%llm --raw\nReturn {"a": {topic}} and {{x}}')
    assert last(shell).messages[-1]["content"] == 'Return {"a": {topic}} and {{x}}'


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("{nope}", "NameError: name 'nope' is not defined"),
        ("{1/0}", "ZeroDivisionError"),
        ("{}", "no name or expression"),
        ('{"a": 1}', "no name or expression"),
        ("x{3}", "no name or expression"),
        ("{open", "never closed"),
        ("{'open}", "never closed"),
        ("{topic:{", "never closed"),
        ("{topic topic}", "SyntaxError"),
    ],
)
def test_a_bad_expression_says_what_to_write_and_asks_nobody(shell: Shell, prompt: str, said: str) -> None:
    cell = shell.run(f"%%llm\n{prompt}")
    assert isinstance(cell.error, UsageError)
    assert said in str(cell.error)
    assert "--raw" in str(cell.error)
    assert shell.engine.pool.requests == []


# -- what is shown ----------------------------------------------------------------------------------------------------------------


def test_the_answer_streams_into_one_display_and_ends_whole(shell: Shell) -> None:
    shell.engine.pool.script = ["# Title\n", 0.1, "one ", 0.1, "two ", 0.1, "three"]
    cell = shell.run("%%llm\nhi")
    shown = texts(cell.displays)
    assert len(shown) >= 3
    assert shown[-1] == "# Title\n\none two three"
    assert all(shown[-1].startswith(text.rstrip()) for text in shown)
    assert [each["update"] for each in cell.displays if "text/markdown" in each["data"]] == [False] + [True] * (len(shown) - 1)
    assert len({each["transient"]["display_id"] for each in cell.displays if each.get("transient")}) == 1
    assert cell.displays[-1]["metadata"]["gleitzeit_nb"]["instance"] == "north"


def test_the_cells_value_is_the_reply_in_one_line(shell: Shell) -> None:
    shell.engine.pool.reply = lambda text: reply_of(text, retries=[("south", "refused")])
    cell = shell.run("%%llm\nhi")
    assert isinstance(cell.value, LLMReply)
    line = "north · smollm2:135m · 12 tokens · 30.0 tok/s · 1.2 s · 1 retry (south: refused)"
    assert cell.shown_value["text/plain"] == line
    assert line in cell.shown_value["text/html"]
    assert (cell.value.text, str(cell.value), cell.value.instance, cell.value.tokens) == ("Hello, world.", "Hello, world.", "north", 12)


def test_the_reply_can_be_bound_and_asked_about(shell: Shell) -> None:
    shell.engine.pool.script = ['{"name": "Bonn"}']
    shell.run("%%llm -o answer\nhi")
    assert shell.ip.user_ns["answer"].json() == {"name": "Bonn"}
    shell.run("%%llm\nMore about {answer}")
    assert last(shell).messages[-1]["content"] == 'More about {"name": "Bonn"}'


def test_an_answer_that_is_no_json_says_where_in_a_few_lines(shell: Shell) -> None:
    shell.engine.pool.script = ["Sure: {"]
    shell.run("%%llm -o answer\nhi")
    cell = shell.run("answer.json()")
    assert isinstance(cell.error, ValueError)
    assert "not JSON: Expecting value near 'Sure: {'" in str(cell.error)
    assert len(cell.error_lines) <= 4


def test_in_a_later_cell_the_reply_shows_its_text_as_well(shell: Shell) -> None:
    shell.engine.pool.script = ["Hello, *world*.\x1b]52;c;ZXZpbA==\x07 <b>b</b> ![i](http://x.example/i.png)"]
    shown = shell.run("%%llm -o answer\nhi").shown_value
    assert shown["text/plain"].startswith("north · ")
    again = shell.run("answer").shown_value
    assert again["text/plain"].startswith("Hello, *world*.␛]52;c;ZXZpbA==␇")
    assert again["text/plain"].endswith(shown["text/plain"])
    assert "Hello, *world*." in again["text/markdown"]
    assert "*north · smollm2:135m" in again["text/markdown"]
    for harm in ("\x1b", "\x07", "<b>", "![i]"):
        assert harm not in again["text/markdown"]
    assert "text/html" not in again  # which front ends would prefer


def test_a_quiet_reply_shows_itself_when_it_is_asked_for(shell: Shell) -> None:
    shell.engine.pool.script = ['{"a": 1}']
    shell.run("%%llm -q -o answer\nhi")
    assert shell.run("answer").shown_value["text/markdown"].startswith('```json\n{"a": 1}\n```')


def test_names_of_a_hostile_instance_cannot_become_markup() -> None:
    bundle = LLMReply(reply_of("x", instance="<script>alert(1)</script>", model="\x1b[31m"))._repr_mimebundle_()
    assert "<script" not in bundle["text/markdown"]
    assert "\x1b" not in bundle["text/plain"] + bundle["text/markdown"]
    reply = LLMReply(reply_of("x", instance="<script>alert(1)</script>"))
    reply.stands_above(lambda: True)
    assert "<script" not in reply._repr_mimebundle_()["text/html"]


def test_without_streaming_there_is_one_final_message(shell: Shell) -> None:
    shell.engine.pool.script = ["one ", 0.05, "two"]
    shell.engine.pool.waits = "queued 3rd"
    for prepare, line in (("%config GleitzeitNB.stream = True", "%%llm --no-stream"), ("%config GleitzeitNB.stream = False", "%%llm")):
        shell.run(prepare)
        cell = shell.run(f"{line}\nhi")
        assert texts(cell.displays) == ["one two"]
        assert not cell.displays[0]["update"]


def test_quiet_shows_nothing_and_still_binds(shell: Shell) -> None:
    cell = shell.run("%%llm -q -o answer\nhi")
    assert (cell.displays, cell.stdout, cell.value) == ([], "", None)
    assert shell.ip.user_ns["answer"].text == "Hello, world."


def test_a_wait_is_told_in_the_same_display(shell: Shell) -> None:
    shell.engine.pool.script = [0.8, "done"]
    shell.engine.pool.waits = "loading <b>llama3.2</b> on gpu-1, 8 s"
    cell = shell.run("%%llm\nhi")
    shown = texts(cell.displays)
    assert shown[0] == "*loading &lt;b&gt;llama3.2&lt;/b&gt; on gpu-1, 8 s*"
    assert shown[-1] == "done"


def test_a_short_wait_is_not_told(shell: Shell) -> None:
    shell.engine.pool.waits = "connecting"
    assert texts(shell.run("%%llm\nhi").displays)[0].startswith("Hello")


def test_a_hostile_answer_is_harmless_in_every_message(shell: Shell) -> None:
    shell.engine.pool.script = [
        "<scr",
        0.06,
        "ipt>alert(1)</script> ",
        0.06,
        "![x](http://e.x/",
        0.06,
        "p.png) [a](java",
        0.06,
        "script:x)",
    ]
    cell = shell.run("%%llm\nhi")
    assert all("<" not in text and "![" not in text for text in texts(cell.displays))


def test_an_empty_answer_says_so(shell: Shell) -> None:
    shell.engine.pool.script = []
    assert texts(shell.run("%%llm\nhi").displays) == ["*(an empty answer)*"]


def test_a_terminal_gets_plain_text_as_it_comes(terminal: Shell) -> None:
    terminal.engine.pool.script = ["# T\x1b]0;title\x07\n", "text"]
    cell = terminal.run("%%llm\nhi")
    assert cell.stdout.startswith("# T␛]0;title␇\ntext\n")
    assert "12 tokens" in cell.stdout


# -- how it fails -----------------------------------------------------------------------------------------------------------------


def test_an_expected_error_is_a_few_lines_and_fails_the_cell(shell: Shell) -> None:
    shell.engine.pool.script = [NoInstanceError("no instance can answer", [(f"gpu-{number}", "does not have it") for number in range(20)])]
    cell = shell.run("%%llm -m nope\nhi")
    assert isinstance(cell.error, NoInstanceError)
    assert 3 <= len(cell.error_lines) <= 6
    assert "no instance can answer" in cell.error_lines[0]
    assert "more lines" in cell.error_lines[-2]
    assert "%tb" in cell.error_lines[-1]
    assert texts(cell.displays) == []


def test_the_whole_trace_is_there_on_demand(shell: Shell) -> None:
    shell.engine.pool.script = [AllInstancesFailedError("everybody failed", [("a", "refused")])]
    shell.run("%%llm\nhi")
    assert len(shell.run("%tb").error_lines) > 10
    shell.run("%config GleitzeitNB.debug = True")
    assert len(shell.run("%%llm\nhi").error_lines) > 10


def test_escape_sequences_in_an_error_are_visible_text(shell: Shell) -> None:
    shell.engine.pool.script = [NoInstanceError("it said \x1b]0;x\x07\u202e!")]
    assert "␛]0;x␇⟦U+202E⟧!" in shell.run("%%llm\nhi").error_lines[0]


def test_a_cut_answer_keeps_its_part(shell: Shell) -> None:
    shell.engine.pool.script = ["half an ", 0.1, "answer", StreamInterruptedError("cut", partial="half an answer", instance="north")]
    cell = shell.run("%%llm\nhi")
    assert isinstance(cell.error, StreamInterruptedError)
    assert cell.error.partial == "half an answer"
    assert texts(cell.displays)[-1] == "half an answer\n\n*(the answer was cut here)*"


def test_an_interrupt_cancels_keeps_the_part_and_says_so(shell: Shell, interrupting: Any) -> None:
    shell.engine.pool.script = ["so far", 30.0]
    with interrupting(after_s=0.5):
        cell = shell.run("%%llm\nhi")
    assert isinstance(cell.error, KeyboardInterrupt)
    assert len(cell.error_lines) <= 3
    assert texts(cell.displays)[-1] == "so far\n\n*(interrupted)*"
    assert shell.engine.pool.ended == ["cancelled"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("%%llm --modle x", "did you mean --model?"),
        ("%%llm --option temperature", "not of the form name=value"),
        ("%%llm --deadline soon", "not a number greater than 0"),
        ("%%llm -o 1x", "not a name for a variable"),
        ("%%llm --system it's", "quote"),
        ("%%llm --system be brief", "a value with spaces needs quotes"),
        ("%%llm hello", "the cell's text stands below the line"),
        ("%%llm -o class", "not a name for a variable"),
        ("%%llm --format nope", "no variable 'nope'"),
        ("%%llm --format shell", "no JSON Schema but"),
    ],
)
def test_a_line_that_cannot_be_read_says_what_to_write(shell: Shell, line: str, said: str) -> None:
    shell.run("shell = 3")
    cell = shell.run(f"{line}\nhi")
    assert isinstance(cell.error, UsageError)
    assert said in str(cell.error)
    assert len(cell.error_lines) <= 6


def test_an_empty_cell_is_refused(shell: Shell) -> None:
    assert "no prompt" in str(shell.run("%%llm\n \n").error)


def test_help_prints_and_asks_nobody(shell: Shell) -> None:
    assert "--no-stream" in shell.run("%%llm --help\nhi").stdout
    assert shell.engine.pool.requests == []


def test_a_mistyped_subcommand_is_told(shell: Shell) -> None:
    assert "%llm models" in str(shell.run("%llm model").error)
    assert "%%llm" in str(shell.run("%llm what is a pool").error)
    assert "what each instance has" in shell.run("%llm").stdout
    for command in ("models", "ps"):
        assert f"%llm {command} takes nothing more: 'gpu-1'" in str(shell.run(f"%llm {command} gpu-1").error)
