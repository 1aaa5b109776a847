"""`%%llm --run` in a real IPython shell, over a scripted pool and a scripted sandbox."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gleitzeit_nb.core.execution import ExecutionResult, Timings
from gleitzeit_nb.errors import ModeDisabledError, NoCodeError, RunFailedError, SandboxUnavailableError, UsageError
from gleitzeit_nb.jupyter.llm.answer_code import code_of, without_prompts
from tests.support.shell import Shell

OK = ExecutionResult("ok", "docker-sandbox", timings=Timings(run_s=0.012), isolation="a container")
ANSWER = "Here it is:\n\n```python\nprint(6 * 7)\n```\nThat was all."


def answering(shell: Shell, text: str) -> None:
    shell.engine.pool.script = [text]


# -- which code -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "source"),
    [
        (ANSWER, "print(6 * 7)\n"),
        ("```py\na = 1\n```\nthen\n```Python3 title=x\na\n```", "a = 1\n\na\n"),
        ("```\nprint(1)\n```", "print(1)\n"),
        ("```\nthe output\n```\n```python\nprint(1)\n```", "print(1)\n"),
        ("```bash\nrm -rf /\n```", ""),
        ("no code, only `print(1)`", ""),
        ("~~~python\nx = '''\n```\n'''\n~~~", "x = '''\n```\n'''\n"),
        ("1. first:\n\n   ```python\n   if True:\n       print(1)\n   ```\n", "if True:\n    print(1)\n"),
        ("> ```python\n> a\n> ```", "a\n"),
        ("```pycon\n>>> def f():\n...     return 1\n...\n>>> f()\n1\n```", "def f():\n    return 1\n\nf()\n"),
        ("<script>\n```python\n1\n```", "1\n"),
        ("```{python}\n1\n```", "1\n"),
        ("```python\n\n```", ""),
    ],
)
def test_the_python_of_an_answer_is_one_program(text: str, source: str) -> None:
    assert code_of(text).source == source


@pytest.mark.parametrize(
    ("text", "cut"),
    [(ANSWER, False), ("```python\nprint(1)", True), ("```python\n1\n```\n```python\nprint('''", True), ("```python\n1\n```", False)],
)
def test_a_block_without_an_end_is_noticed(text: str, cut: bool) -> None:
    assert code_of(text).cut is cut


def test_what_is_left_out_is_told() -> None:
    code = code_of("```sh\nls\n```\n```python\n1\n```\n```python\n2\n```\n```<b>\nx\n```")
    assert code.blocks == 2
    assert code.notes() == ("2 blocks of Python were joined", "not run: 1 block of sh, 1 block of <b>")


def test_a_block_that_only_looks_like_a_session_stays_as_it_is() -> None:
    assert without_prompts("a >>> b\n") == "a >>> b\n"


# -- the cell ---------------------------------------------------------------------------------------------------------------------


def test_the_code_runs_below_the_answer_and_both_are_shown(shell: Shell) -> None:
    answering(shell, ANSWER)
    shell.engine.sandbox.output = [("stdout", "42\n")]
    shell.engine.sandbox.result = OK
    cell = shell.run("%%llm --run -o answer\nWhat is six times seven?")
    assert cell.error is None
    assert shell.engine.sandbox.runs[0]["code"] == "print(6 * 7)\n"
    assert shell.engine.sandbox.runs[0]["mode"] is None
    assert shell.engine.sandbox.runs[0]["label"] == "[1] %%llm --run"
    assert "print(6 * 7)" in cell.displays[-1]["data"]["text/markdown"]
    assert "42\n" in cell.stdout
    shown = cell.shown_value["text/plain"].splitlines()
    assert shown[0].startswith("north · ")
    assert shown[1] == "its code: docker-sandbox · ok · 12 ms · a container"
    assert shell.ip.user_ns["answer"].execution.stdout == OK.stdout
    assert shell.ip.user_ns["answer"].execution.ok


def test_in_a_later_cell_the_answer_and_its_run_are_shown_again(shell: Shell) -> None:
    answering(shell, ANSWER)
    shell.engine.sandbox.result = replace(OK, stdout="42\n", stderr="\x1b[2Jnearly\n")
    shell.run("%%llm --run -o answer\nhi")
    again = shell.run("answer").shown_value
    assert again["text/plain"].splitlines()[-4:-2] == ["42", "␛[2Jnearly"]
    assert "```text\n42\n" in again["text/markdown"]
    run = shell.run("answer.execution").shown_value
    assert run["text/plain"].splitlines()[:2] == ["42", "␛[2Jnearly"]
    assert "<pre" in run["text/html"]
    assert "docker-sandbox · ok" in run["text/html"]


def test_options_of_the_run_stand_in_a_line_of_their_own(shell: Shell) -> None:
    answering(shell, ANSWER)
    shell.engine.sandbox.result = replace(OK, outputs={"total": 3})
    shell.run("numbers = [1, 2]; limit = '5 --gpu'")
    cell = shell.run('%%llm --run-mode restricted --run-with "--in numbers --out total --session {limit} --fresh"\nhi')
    assert cell.error is None
    run = shell.engine.sandbox.runs[0]
    assert (run["mode"], run["inputs"], run["outputs"], run["fresh"]) == ("restricted", {"numbers": [1, 2]}, ("total",), True)
    assert (run["session"], run["gpu"]) == ("5 --gpu", False)
    assert shell.ip.user_ns["total"] == 3


def test_an_inserted_text_is_not_expanded_again(shell: Shell) -> None:
    answering(shell, ANSWER)
    shell.run("secret = 'S'; name = '{secret}'")
    shell.run("%%llm --run-with '--session {name}'\nhi")
    assert shell.engine.sandbox.runs[0]["session"] == "{secret}"


def test_quiet_shows_neither(shell: Shell) -> None:
    answering(shell, ANSWER)
    shell.engine.sandbox.output = [("stdout", "42\n")]
    cell = shell.run("%%llm --run -q -o answer\nhi")
    assert (cell.stdout, cell.displays, cell.value) == ("", [], None)
    assert shell.ip.user_ns["answer"].execution.ok


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--run --embed", "--embed"),
        ("--run --format json", "--format"),
        ('--run-with "--nope"', "there is no option --nope"),
        ('--run-with "-o x"', "--output"),
        ('--run-with "--mode local" --run-mode restricted', "two modes"),
        ('--run-with "--in nothing_here"', "no variable 'nothing_here'"),
    ],
)
def test_what_is_wrong_with_the_run_costs_no_answer(shell: Shell, line: str, said: str) -> None:
    cell = shell.run(f"%%llm {line}\nhi")
    assert isinstance(cell.error, UsageError)
    assert said in str(cell.error)
    assert shell.engine.pool.requests == []


@pytest.mark.parametrize("line", ["--run-mode local", '--run --run-with "--mode local"', "--run"])
def test_a_mode_that_cannot_be_used_costs_no_answer(shell: Shell, line: str) -> None:
    shell.run("%config GleitzeitNB.mode = 'local'")
    cell = shell.run(f"%%llm {line}\nhi")
    assert isinstance(cell.error, ModeDisabledError)
    assert shell.engine.pool.requests == []


@pytest.mark.parametrize("cell", ["%%sandbox\n1", "%%sandbox --bg -o job\n1", "%%llm --run\nhi", "%%llm --run --bg -o job\nhi"])
def test_the_mode_of_the_settings_holds_in_the_background_too(shell: Shell, cell: str) -> None:
    answering(shell, ANSWER)
    shell.run("%config GleitzeitNB.mode = 'restricted'")
    shell.run(cell)
    shell.run("job = globals().get('job'); job and job.result(30)")
    assert [run["mode"] for run in shell.engine.sandbox.runs] == ["restricted"]


def test_code_that_fails_fails_the_cell_and_the_answer_stays(shell: Shell) -> None:
    answering(shell, ANSWER)
    shell.engine.sandbox.result = replace(OK, status="error", detail="raised ZeroDivisionError", traceback="Traceback: hostile \x1b[31m\n")
    cell = shell.run("%%llm --run -o answer\nhi")
    assert isinstance(cell.error, RunFailedError)
    assert "the model's" in str(cell.error)
    assert "Traceback: hostile ␛" in cell.stderr
    assert "its code: docker-sandbox · error" in cell.stdout
    assert "That was all." in cell.displays[-1]["data"]["text/markdown"]
    assert shell.ip.user_ns["answer"].execution.status == "error"
    assert shell.run('%%llm --run-with "--no-fail "\nhi').error is None


def test_without_a_sandbox_the_answer_stays_and_nothing_weaker_is_tried(shell: Shell) -> None:
    answering(shell, ANSWER)
    shell.engine.sandbox.output = [SandboxUnavailableError("no Docker daemon answers.\nStart Docker.")]
    cell = shell.run("%%llm --run -o answer\nhi")
    assert isinstance(cell.error, SandboxUnavailableError)
    assert len(shell.engine.sandbox.runs) == 1
    assert shell.ip.user_ns["answer"].execution is None
    assert "north · " in cell.stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [("Only prose.", "no block of Python"), ("```bash\nls\n```", "1 block of bash"), ("```python\nprint(", "in the middle of its code")],
)
def test_an_answer_without_code_says_so_and_runs_nothing(shell: Shell, text: str, said: str) -> None:
    answering(shell, text)
    cell = shell.run("%%llm --run -o answer\nhi")
    assert isinstance(cell.error, NoCodeError)
    assert said in str(cell.error)
    assert len(cell.error_lines) <= 6
    assert shell.engine.sandbox.runs == []
    assert shell.ip.user_ns["answer"].text == text


def test_an_interrupt_kills_the_run_and_keeps_the_answer(shell: Shell, interrupting: object) -> None:
    answering(shell, ANSWER)
    shell.engine.sandbox.output = [("stdout", "begun\n"), 30.0]
    assert callable(interrupting)
    with interrupting(after_s=1.0):
        cell = shell.run("%%llm --run -o answer\nhi")
    assert isinstance(cell.error, KeyboardInterrupt)
    assert shell.engine.sandbox.ended == ["killed"]
    assert shell.ip.user_ns["answer"].execution is None
    assert "begun\n" in cell.stdout
