"""Conversations in a real IPython shell, over a scripted pool."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gleitzeit_nb.core.requests import Chunk
from gleitzeit_nb.errors import StreamInterruptedError, UsageError
from gleitzeit_nb.jupyter.llm.conversation import Conversation
from gleitzeit_nb.jupyter.values import LLMReply
from tests.support.completing import offered
from tests.support.shell import Shell, reply_of


def sent(shell: Shell) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in shell.engine.pool.requests[-1].messages]


def say(shell: Shell, answer: str, line: str, prompt: str) -> Any:
    shell.engine.pool.script = (answer,)
    return shell.run(f"%%llm {line}\n{prompt}")


class Cells:
    """A kernel whose front end names the cells."""

    def __init__(self, shell: Shell) -> None:
        self.name = ""
        shell.ip.kernel = self

    def get_parent(self) -> dict[str, Any]:
        return {"metadata": {"cellId": self.name}}


def test_a_thread_goes_on_from_cell_to_cell(shell: Shell) -> None:
    say(shell, "Bonn.", "--thread trip", "Where?")
    cell = say(shell, "By train.", "--thread trip", "How?")
    assert sent(shell) == [("user", "Where?"), ("assistant", "Bonn."), ("user", "How?")]
    request = shell.engine.pool.requests[-1]
    assert (request.session, request.label) == ("trip", "[2] %%llm --thread trip")
    assert "thread trip, turn 2" in cell.shown_value["text/plain"]
    assert cell.displays[-1]["metadata"]["gleitzeit_nb"]["thread"] == "trip"
    say(shell, "Alone.", "", "Who?")
    assert sent(shell) == [("user", "Who?")]
    assert shell.engine.pool.requests[-1].session is None


def test_a_thread_without_a_name_is_main(shell: Shell) -> None:
    say(shell, "a", "--thread", "b")
    assert list(shell.front.threads) == ["main"]


def test_the_configured_thread_holds_for_every_cell_but_those_without_history(shell: Shell) -> None:
    shell.run("%config GleitzeitNB.thread = 'notes'")
    say(shell, "one", "", "first")
    say(shell, "two", "--no-history", "aside")
    assert sent(shell) == [("user", "aside")]
    say(shell, "three", "", "second")
    assert sent(shell) == [("user", "first"), ("assistant", "one"), ("user", "second")]
    say(shell, "x", "--generate", "complete me")
    assert shell.engine.pool.requests[-1].prompt == "complete me"
    assert isinstance(say(shell, "x", "--thread a --no-history", "?").error, UsageError)
    shell.run("%config GleitzeitNB.thread = 'two words'")
    assert shell.front.settings.thread == "notes"


def test_a_thread_keeps_its_system_prompt_until_another_is_given(shell: Shell) -> None:
    say(shell, "a", "--thread t --system 'Be brief.'", "1")
    say(shell, "b", "--thread t", "2")
    assert sent(shell)[0] == ("system", "Be brief.")
    say(shell, "c", "--thread t --system 'Be long.'", "3")
    assert sent(shell)[0] == ("system", "Be long.")
    say(shell, "d", "--thread t --system ''", "4")
    assert sent(shell)[0] == ("user", "1")


@pytest.mark.parametrize("end", [StreamInterruptedError("cut", partial="par", instance="north"), KeyboardInterrupt()])
def test_an_answer_without_an_end_leaves_the_thread_as_it_was(shell: Shell, end: BaseException) -> None:
    say(shell, "a", "--thread t", "1")
    if isinstance(end, KeyboardInterrupt):
        shell.front.runtime.iterate = lambda source: iter(_interrupted())  # type: ignore[method-assign, assignment]
    else:
        shell.engine.pool.script = ("par", end)
    cell = shell.run("%%llm --thread t\n2")
    assert cell.error is not None
    assert "thread t is as it was before" in cell.displays[-1]["data"]["text/plain"]
    assert [turn.question for turn in shell.front.threads["t"].turns] == ["1"]
    shell.engine.pool.script = ("par", StreamInterruptedError("cut", partial="par", instance="north"))
    shell.run("%%llm --thread fresh\n2")
    assert list(shell.front.threads) == ["t"]


def _interrupted() -> Any:
    yield [Chunk("par")]
    raise KeyboardInterrupt


def test_a_cell_that_runs_again_asks_its_turn_again(shell: Shell) -> None:
    cells = Cells(shell)
    cells.name = "c1"
    say(shell, "a", "--thread t", "1")
    cells.name = "c2"
    say(shell, "b", "--thread t", "2")
    cell = say(shell, "b, better", "--thread t", "2")
    assert sent(shell) == [("user", "1"), ("assistant", "a"), ("user", "2")]
    assert "turn 2" in cell.shown_value["text/plain"]
    assert [turn.answer for turn in shell.front.threads["t"].turns] == ["a", "b, better"]
    say(shell, "c", "--thread t", "2, and another question")
    assert len(shell.front.threads["t"].turns) == 3
    cells.name = "c1"
    say(shell, "d", "--thread t", "1")
    assert [turn.question for turn in shell.front.threads["t"].turns] == ["1", "2", "2, and another question", "1"]


def test_a_job_that_asks_again_takes_the_place_of_its_own_turn_only(shell: Shell) -> None:
    cells = Cells(shell)
    cells.name = "c1"
    say(shell, "a", "--thread t", "1")
    request = shell.engine.pool.requests[-1]
    late = Conversation(shell.front, shell.front.threads["t"])
    late.of(replace(request, messages=({"role": "user", "content": "1"},)), None)
    cells.name = "c2"
    say(shell, "b", "--thread t", "2")
    late.keep(LLMReply(reply_of("a, later")))
    assert [(turn.answer, turn.cell) for turn in shell.front.threads["t"].turns] == [("b", "c2"), ("a, later", "c1")]


def test_turns_that_do_not_fit_are_left_out_and_that_is_told(shell: Shell) -> None:
    shell.engine.pool.context = 40
    for number in range(3):
        cell = say(shell, "word " * 10, "--thread t", f"question {number}")
    assert "turns 1 to 2 were not sent, since the context of smollm2:135m on north holds 40 tokens" in cell.shown_value["text/plain"]
    assert sent(shell) == [("user", "question 2")]
    assert len(shell.front.threads["t"].turns) == 3
    transcript = shell.run("%llm history t").shown_value["text/plain"]
    assert "question 0" in transcript
    assert "no longer fit" in transcript


def test_pictures_stay_with_their_question(shell: Shell) -> None:
    shell.run("import numpy\ndot = numpy.zeros((2, 2), numpy.uint8)")
    say(shell, "a dot", "--thread t --image dot", "What is it?")
    say(shell, "red", "--thread t", "Which colour?")
    assert shell.engine.pool.requests[-1].messages[0]["images"]
    assert "(1 picture)" in shell.run("%llm history t").shown_value["text/plain"]


def test_what_tools_said_is_part_of_the_turn(shell: Shell) -> None:
    shell.run("def look(): return 42")
    asked = reply_of("")
    call = {"function": {"name": "look", "arguments": {}}}
    replies = iter([asked.__class__(**{**vars(asked), "tool_calls": (call,)}), reply_of("It is 42.")])
    shell.engine.pool.reply = lambda _text: next(replies)
    shell.engine.pool.script = ()
    shell.run("%%llm --thread t --tools look --allow-tools look\nLook!")
    shell.engine.pool.reply = reply_of
    say(shell, "sure", "--thread t", "Really?")
    assert sent(shell) == [("user", "Look!"), ("assistant", ""), ("tool", "42"), ("assistant", "It is 42."), ("user", "Really?")]
    assert "calls look()" in shell.run("%llm history t").shown_value["text/plain"]


def test_history_lists_the_threads_and_shows_one(shell: Shell) -> None:
    assert "No thread has begun" in shell.run("%llm history").shown_value["text/plain"]
    say(shell, "**Bonn.**\n\n#### 2 · You\n\n<script>alert(1)</script>", "--thread trip --system 'Be brief.'", "Where *to*?")
    listed = shell.run("%llm history").shown_value
    assert "trip" in listed["text/plain"]
    assert '<th scope="row"' in listed["text/html"]
    shown = shell.run("%llm history trip").shown_value
    lines = shown["text/markdown"].split("\n")
    assert "#### 1 · You" in lines
    assert "> **Bonn.**" in lines
    assert "#### 2 · You" not in lines  # what an answer claims stays inside its quotation
    assert "<script>" not in shown["text/markdown"]
    assert "    #### 2 · You" in shown["text/plain"].split("\n")
    assert "text/html" not in shown


def test_history_as_json_is_what_export_writes(shell: Shell, tmp_path: Path) -> None:
    say(shell, "a", "--thread t", "1")
    printed = json.loads(shell.run("%llm history t --json").stdout)
    shell.run(f"%llm export t {tmp_path / 't.json'}")
    assert json.loads((tmp_path / "t.json").read_text()) == printed
    assert [each["name"] for each in json.loads(shell.run("%llm history --json").stdout)] == ["t"]


def test_an_unknown_thread_names_the_near_one(shell: Shell) -> None:
    say(shell, "a", "--thread trip", "1")
    error = shell.run("%llm history tripp").error
    assert isinstance(error, UsageError)
    assert "Did you mean trip?" in str(error)
    assert "no name for a thread" in str(shell.run("%%llm --thread 'a b'\nhi").error)


def test_reset_forgets_and_is_content_with_nothing(shell: Shell) -> None:
    assert "Thread main holds nothing." in shell.run("%llm reset").stdout
    say(shell, "a", "--thread", "1")
    say(shell, "a", "--thread b", "1")
    assert shell.run("%llm reset").stdout == "Thread main: 1 turn forgotten.\n"
    assert list(shell.front.threads) == ["b"]
    assert shell.run("%llm reset --all").stdout == "1 conversation forgotten.\n"
    assert shell.front.threads == {}
    assert isinstance(shell.run("%llm reset x --all").error, UsageError)


def test_export_never_replaces_a_file_unasked(shell: Shell, tmp_path: Path) -> None:
    say(shell, "<b>bold</b> words", "--thread t", "1")
    path = tmp_path / "talk.md"
    path.write_text("mine")
    error = shell.run(f"%llm export t {path}").error
    assert isinstance(error, UsageError)
    assert "--force" in str(error)
    assert path.read_text() == "mine"
    assert shell.run(f"%llm export t {path} --force").stdout == f"Thread t: 1 turn written to {path}.\n"
    assert "\\<b>" in path.read_text() or "&lt;b" in path.read_text()
    assert [each.name for each in tmp_path.iterdir()] == ["talk.md"]
    for line in (f"t {tmp_path / 'talk.txt'}", f"t {tmp_path / 'no' / 'talk.md'}", ""):
        assert isinstance(shell.run(f"%llm export {line}").error, UsageError)
    assert "%llm export t t.md" in str(shell.run("%llm export t").error)


def test_a_conversation_goes_on_after_export_and_import(shell: Shell, tmp_path: Path) -> None:
    say(shell, "Bonn.", "--thread trip --system 'Be brief.'", "Where?")
    shell.run(f"%llm export trip {tmp_path / 'trip.json'}")
    assert isinstance(shell.run(f"%llm import {tmp_path / 'trip.json'}").error, UsageError)
    shell.run("%llm reset --all")
    assert "1 turn read" in shell.run(f"%llm import {tmp_path / 'trip.json'}").stdout
    shell.run(f"%llm import {tmp_path / 'trip.json'} again")
    say(shell, "By train.", "--thread again", "How?")
    assert sent(shell) == [("system", "Be brief."), ("user", "Where?"), ("assistant", "Bonn."), ("user", "How?")]
    assert list(shell.front.threads) == ["trip", "again"]


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"format": "gleitzeit_nb.thread"}', "[" * 100_000, "\udcff"])
def test_a_file_that_is_no_conversation_changes_nothing(shell: Shell, tmp_path: Path, content: str) -> None:
    (tmp_path / "bad.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    cell = shell.run(f"%llm import {tmp_path / 'bad.json'}")
    assert isinstance(cell.error, UsageError)
    assert "Nothing was read" in str(cell.error)
    assert shell.front.threads == {}


def test_tab_offers_the_names_of_threads(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    say(shell, "a", "--thread trip", "1")
    assert offered(shell, "%%llm --thread ")[0] == "trip"
    assert {"--thread", "--no-history"} <= set(offered(shell, "%%llm --"))
    for command in ("history", "reset", "export"):
        assert "trip" in offered(shell, f"%llm {command} ")
    assert "--force" in offered(shell, "%llm import ")
    Path("talk.json").touch()
    assert [name for name in offered(shell, "%llm import t") if name != "--thread"] == ["talk.json", "trip"]


@pytest.mark.parametrize("command", ["history", "reset", "export", "import"])
def test_help_is_printed_and_does_nothing(shell: Shell, command: str) -> None:
    assert shell.run(f"%llm {command} --help").stdout.startswith(f"usage: %llm {command}")
    assert f"%llm {command}" in shell.run("%llm help").stdout


@pytest.mark.parametrize("option", ["--generate", "--embed"])
def test_only_a_chat_can_go_on_with_a_thread(shell: Shell, option: str) -> None:
    assert "--thread means nothing" in str(shell.run(f"%%llm --thread t {option}\nhi").error)


def test_explain_asks_for_the_thread_and_keeps_nothing(shell: Shell) -> None:
    shell.run("%llm explain --thread t")
    assert shell.engine.pool.requests[-1].session == "t"
    assert shell.front.threads == {}
