"""`--bg` and `%llm jobs` in a real IPython shell, over a scripted pool and a scripted sandbox."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import pytest

from gleitzeit_nb.core.displays import Display
from gleitzeit_nb.core.execution import ExecutionResult, Timings
from gleitzeit_nb.errors import JobCancelledError, ModelNotFoundError, NoCodeError, RunFailedError, StreamInterruptedError, UsageError
from gleitzeit_nb.jobs import Job, Jobs
from gleitzeit_nb.jupyter import extension
from gleitzeit_nb.jupyter.jobs import board
from gleitzeit_nb.jupyter.jobs.handle import JobHandle
from gleitzeit_nb.snapshot import RunView
from tests.support.shell import Cell, Shell
from tests.support.waiting import wait_until

Interrupting = Callable[..., AbstractContextManager[None]]
OK = ExecutionResult("ok", "docker-sandbox", timings=Timings(run_s=0.012), isolation="a container")
FOREVER = 3600.0


def started(shell: Shell, cell: str = "%%llm --bg -o job\nhi") -> JobHandle:
    ran = shell.run(cell)
    assert ran.error is None, ran.error
    handle = shell.ip.user_ns["job"]
    assert isinstance(handle, JobHandle)
    return handle


def display_id(cell: Cell, index: int) -> str:
    return str(cell.displays[index]["transient"]["display_id"])


def updates(shell: Shell, place: str) -> list[dict[str, Any]]:
    kernel: Any = shell.ip.kernel
    return [each["data"] for each in kernel.updates if each["transient"]["display_id"] == place]


def shown(shell: Shell, cell: Cell, index: int) -> dict[str, Any]:
    """What that place of the cell shows now."""
    first: dict[str, Any] = cell.displays[index]["data"]
    return [first, *updates(shell, display_id(cell, index))][-1]


# -- the cell ends at once ----------------------------------------------------------------------------------------------------------


def test_the_cell_gives_a_job_at_once_and_the_answer_comes_below_it(shell: Shell) -> None:
    shell.engine.pool.script = ["Hello, ", 0.3, "world."]
    cell = shell.run("%%llm --bg -o job\nhi")
    job = shell.ip.user_ns["job"]
    assert cell.value is job
    assert len(cell.displays) == 2
    assert "▸ job 1 · " in cell.displays[1]["data"]["text/plain"]
    assert job.result(20).text == "Hello, world."
    assert shown(shell, cell, 0)["text/markdown"] == "Hello, world."
    assert shown(shell, cell, 1)["text/plain"].startswith("✓ job 1 · north · smollm2:135m · 12 tokens")
    assert (job.done, job.state, job.tokens, job.where) == (True, "done", 12, "north")
    assert shell.engine.pool.requests[0].label == "[1] %%llm"


def test_what_has_come_so_far_can_be_read(shell: Shell) -> None:
    shell.engine.pool.script = ["one ", "two ", FOREVER]
    shell.engine.pool.waits = "answering on north, 2 tokens"
    job = started(shell)
    assert wait_until(lambda: job.text == "one two " and bool(job.stage))
    assert (job.done, job.state, job.tokens, job.value) == (False, "running", 2, None)
    assert job.stage == "answering on north, 2 tokens"
    bundle = job._repr_mimebundle_()
    assert bundle["text/markdown"] == "one two"
    assert "answering on north, 2 tokens" in bundle["text/plain"]
    assert "running" not in repr(job)
    assert repr(job).startswith("<JobHandle ▸ job 1 · smollm2:135m · answering on north")


@pytest.mark.parametrize("line", ["--bg -q", "--bg;", "--bg ; # why", "-q --bg"])
def test_quiet_or_a_semicolon_shows_nothing_until_it_is_asked_for(shell: Shell, line: str) -> None:
    shell.engine.pool.script = ["Hello"]
    cell = shell.run(f"%%llm -o job {line}\nhi")
    assert (cell.error, cell.displays, cell.value) == (None, [], None)
    job = shell.ip.user_ns["job"]
    job.result(20)
    kernel: Any = shell.ip.kernel
    assert kernel.updates == []
    again = shell.run("job")
    assert again.displays[0]["data"]["text/plain"] == "Hello"


def test_it_is_shown_a_second_time_in_the_same_places(shell: Shell) -> None:
    shell.engine.pool.script = ["Hello", FOREVER]
    first = shell.run("%%llm --bg -o job\nhi")
    second = shell.run("%llm jobs show 1")
    assert [display_id(first, index) for index in (0, 1)] == [display_id(second, index) for index in (0, 1)]


def test_a_terminal_is_told_in_one_line_and_nothing_is_printed_later(terminal: Shell) -> None:
    terminal.engine.pool.script = ["Hello"]
    cell = terminal.run("%%llm --bg -o job\nhi")
    assert " job 1 · " in cell.stdout
    assert len(cell.stdout.splitlines()) == 1
    assert terminal.ip.user_ns["job"].result(20).text == "Hello"
    shown = terminal.run("job").stdout.splitlines()
    assert shown[-2] == "Hello"
    assert shown[-1].startswith("✓ job 1 · north")
    terminal.front.close()


@pytest.mark.parametrize(("line", "said"), [("--bg --embed", "--embed"), ("--bg --tools print --allow-tools print", "--allow-tools")])
def test_what_needs_a_cell_that_waits_is_refused(shell: Shell, line: str, said: str) -> None:
    cell = shell.run(f"%%llm {line}\nhi")
    assert isinstance(cell.error, UsageError)
    assert said in str(cell.error)
    assert shell.engine.pool.requests == []


def test_an_answer_of_a_thread_is_its_next_turn_when_it_is_whole(shell: Shell) -> None:
    shell.engine.pool.script = ["Hello"]
    job = started(shell, "%%llm --bg --thread t -o job\nhi")
    job.result(20)
    assert len(shell.front.threads["t"].turns) == 1
    shell.engine.pool.script = [FOREVER]
    job = started(shell, "%%llm --bg --thread t -o job\nhi")
    job.cancel()
    with pytest.raises(JobCancelledError):
        job.result(20)
    assert len(shell.front.threads["t"].turns) == 1


def test_without_streaming_only_the_first_and_the_last_state_are_shown(shell: Shell) -> None:
    shell.engine.pool.script = ["one ", 0.7, "two ", 0.7, "three"]
    cell = shell.run("%%llm --bg --no-stream -o job\nhi")
    shell.ip.user_ns["job"].result(20)
    assert [data["text/markdown"] for data in updates(shell, display_id(cell, 0))] == ["one two three"]


# -- waiting --------------------------------------------------------------------------------------------------------------------------


def test_a_wait_can_have_a_limit(shell: Shell) -> None:
    shell.engine.pool.script = [FOREVER]
    job = started(shell)
    with pytest.raises(TimeoutError, match=r"job 1 is still running after 0\.1 s"):
        job.result(0.1)
    assert not job.done
    assert len(shell.run("job.result(0.1)").error_lines) <= 4


def test_an_interrupt_ends_the_wait_and_not_the_job(shell: Shell, interrupting: Interrupting) -> None:
    shell.engine.pool.script = ["Hello", FOREVER]
    job = started(shell)
    with interrupting(after_s=0.5):
        cell = shell.run("job.result()")
    assert isinstance(cell.error, KeyboardInterrupt)
    assert "job 1 goes on" in cell.error_lines[0]
    assert not job.done


def test_an_interrupt_of_another_cell_leaves_the_job_alone(shell: Shell, interrupting: Interrupting) -> None:
    shell.engine.pool.script = ["Hello", 1.5, "there"]
    job = started(shell)
    with interrupting(after_s=0.3):
        cell = shell.run("import time; time.sleep(60)")
    assert isinstance(cell.error, KeyboardInterrupt)
    assert job.result(20).text == "Hellothere"


def test_it_can_be_awaited_by_several_and_outlives_who_waits(shell: Shell) -> None:
    shell.engine.pool.script = ["Hello", 0.8]
    job = started(shell)

    async def awaited() -> tuple[str, str]:
        async def one() -> str:
            return str(await job)

        given_up = asyncio.create_task(one())
        await asyncio.sleep(0.1)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        first, second = await asyncio.gather(one(), one())
        return first, second

    assert asyncio.run(awaited()) == ("Hello", "Hello")
    shell.engine.pool.script = ["Again"]
    started(shell)
    assert str(shell.run("await job").value) == "Again"


def test_the_engines_own_loop_is_never_blocked(shell: Shell) -> None:
    shell.engine.pool.script = [FOREVER]
    job = started(shell)

    async def wait() -> None:
        job.result(1)

    with pytest.raises(RuntimeError, match="await the job"):
        shell.runtime.call(wait())


# -- how it ends ----------------------------------------------------------------------------------------------------------------------


def test_a_failure_stands_below_its_cell_and_is_raised_by_result(shell: Shell) -> None:
    shell.engine.pool.script = [ModelNotFoundError("nobody has it", [("north", "has no such model")])]
    cell = shell.run("%%llm --bg -o job\nhi")
    job = shell.ip.user_ns["job"]
    with pytest.raises(ModelNotFoundError):
        job.result(20)
    assert isinstance(job.error, ModelNotFoundError)
    last = shown(shell, cell, 1)["text/plain"]
    assert last.splitlines()[0] == "✗ job 1 failed · ModelNotFoundError: nobody has it"
    assert "has no such model" in last
    lines = shell.run("job.result()").error_lines
    assert len(lines) <= 6


def test_a_long_sentence_of_a_failure_is_wrapped_by_the_page_alone(shell: Shell) -> None:
    shell.engine.pool.script = [ModelNotFoundError("nobody has it, " + "and so on, " * 20, [("north", "has no such model")])]
    cell = shell.run("%%llm --bg -o job\nhi")
    assert wait_until(shell.ip.user_ns["job"].future.done)
    assert shown(shell, cell, 1)["text/html"].count("<div") == 2


def test_a_hostile_error_is_text(shell: Shell) -> None:
    shell.engine.pool.script = [ModelNotFoundError("<script>alert(1)</script>\x1b[31m")]
    cell = shell.run("%%llm --bg -o job\nhi")
    assert wait_until(shell.ip.user_ns["job"].future.done)
    assert "<script" not in shown(shell, cell, 1)["text/html"]
    assert "\x1b" not in shown(shell, cell, 1)["text/plain"]


def test_a_cut_answer_keeps_its_part_and_says_so(shell: Shell) -> None:
    shell.engine.pool.script = ["part ", StreamInterruptedError("it broke off", partial="part ", instance="north")]
    cell = shell.run("%%llm --bg -o job\nhi")
    with pytest.raises(StreamInterruptedError):
        shell.ip.user_ns["job"].result(20)
    assert shown(shell, cell, 0)["text/markdown"] == "part\n\n*(the answer was cut here)*"


def test_cancelling_keeps_what_had_come(shell: Shell) -> None:
    shell.engine.pool.script = ["part", FOREVER]
    cell = shell.run("%%llm --bg -o job\nhi")
    job = shell.ip.user_ns["job"]
    assert wait_until(lambda: job.text == "part")
    assert job.cancel() is True
    with pytest.raises(JobCancelledError):
        job.result(20)
    assert job.cancel() is False
    assert (job.state, job.done) == ("cancelled", True)
    assert (job.model, job.where) == ("smollm2:135m", "north")
    assert shell.engine.pool.ended == ["cancelled"]
    assert shown(shell, cell, 0)["text/markdown"] == "part\n\n*(cancelled)*"
    assert shown(shell, cell, 1)["text/plain"].startswith("■ job 1 · cancelled after ")


def test_unloading_cancels_and_says_so(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    shell.engine.pool.script = [FOREVER]
    cells = [shell.run(f"%%llm --bg -o job{number}\nhi") for number in range(2)]
    extension.unload(shell.ip)
    assert capsys.readouterr().out.endswith("Cancelled: jobs 1, 2.\n")
    assert "the extension was unloaded" in shown(shell, cells[0], 1)["text/plain"]
    assert len(shell.engine.jobs) == 0


# -- code -----------------------------------------------------------------------------------------------------------------------------


def test_a_run_goes_on_in_the_background(shell: Shell) -> None:
    shell.engine.sandbox.output = [("stdout", "10 %\r50 %\r"), ("stderr", "warn <b>\x1b[1m\n"), Display("42"), 0.3]
    shell.engine.sandbox.result = replace(OK, outputs={"total": 3})
    cell = shell.run("%%sandbox --bg --out total -o job\npass")
    job = shell.ip.user_ns["job"]
    assert cell.value is job
    run = job.result(20)
    assert run.outputs == {"total": 3}
    assert "total" not in shell.ip.user_ns
    output = shown(shell, cell, 0)
    assert "warn &lt;b&gt;" in output["text/html"]
    assert ">50 %<" in output["text/html"]
    assert output["text/plain"].splitlines()[-1] == "42"
    assert shown(shell, cell, 1)["text/plain"] == "✓ job 1 · docker-sandbox · ok · 12 ms · a container"
    assert shell.engine.sandbox.runs[0]["label"] == "[1] %%sandbox --bg"


def test_code_that_fails_fails_the_job_as_it_would_a_cell(shell: Shell) -> None:
    shell.engine.sandbox.result = replace(OK, status="error", detail="raised ValueError", traceback="ValueError: x\n")
    cell = shell.run("%%sandbox --bg -o job\npass")
    job = shell.ip.user_ns["job"]
    with pytest.raises(RunFailedError):
        job.result(20)
    assert job.value.status == "error"
    assert "ValueError: x" in shown(shell, cell, 0)["text/plain"]
    started(shell, "%%sandbox --bg --no-fail -o job\npass").result(20)


def test_the_code_of_an_answer_runs_behind_it(shell: Shell) -> None:
    shell.engine.pool.script = ["```python\nprint(42)\n```"]
    shell.engine.sandbox.output = [("stdout", "42\n")]
    shell.engine.sandbox.result = OK
    cell = shell.run("%%llm --bg --run -o job\nhi")
    reply = shell.ip.user_ns["job"].result(20)
    assert reply.execution.ok
    assert shown(shell, cell, 1)["text/plain"] == "42"
    assert "its code: docker-sandbox · ok" in shown(shell, cell, 2)["text/plain"]


def test_an_answer_without_code_stays_when_the_job_fails(shell: Shell) -> None:
    shell.engine.pool.script = ["prose"]
    cell = shell.run("%%llm --bg --run -o job\nhi")
    job = shell.ip.user_ns["job"]
    with pytest.raises(NoCodeError):
        job.result(20)
    assert job.value.text == "prose"
    assert shown(shell, cell, 0)["text/markdown"] == "prose"


# -- %llm jobs ------------------------------------------------------------------------------------------------------------------------


def test_jobs_are_listed_the_newest_first(shell: Shell) -> None:
    assert "No jobs" in shell.run("%llm jobs").stdout
    shell.engine.pool.script = ["Hello"]
    started(shell).result(20)
    shell.engine.pool.script, shell.engine.pool.waits = [FOREVER], "queued 3rd"
    job = started(shell)
    assert wait_until(lambda: job.stage == "queued 3rd")
    head, second, first = shell.run("%llm jobs").stdout.splitlines()
    assert head.split() == ["Job", "Cell", "Model", "Where", "Elapsed", "Tokens", "State"]
    assert second.split()[0] == "2"
    assert second.endswith("queued 3rd")
    assert first.split()[:4] == ["1", "[2]", "smollm2:135m", "north"]
    assert first.endswith("done")


def test_jobs_are_cancelled_by_their_numbers_or_all(shell: Shell) -> None:
    shell.engine.pool.script = [FOREVER]
    jobs = [started(shell) for _ in range(3)]
    assert shell.run("%llm jobs cancel 1 2").stdout == "cancelled: jobs 1, 2.\n"
    assert wait_until(lambda: jobs[1].done)
    assert shell.run("%llm jobs cancel 1").stdout == "job 1 has ended already.\n"
    assert shell.run("%llm jobs cancel --all").stdout == "cancelled: job 3.\n"
    assert wait_until(lambda: jobs[2].done)
    assert shell.run("%llm jobs cancel --all").stdout == "no job is running.\n"
    assert shell.run("%llm jobs clear").stdout == "3 jobs that have ended are forgotten.\n"
    assert "No jobs" in shell.run("%llm jobs").stdout


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("stop", "no command 'stop'"),
        ("cancel", "the numbers of jobs"),
        ("cancel 7", "no job '7'"),
        ("show", "which one"),
        ("show x", "'x'"),
    ],
)
def test_what_is_wrong_with_a_command_is_told(shell: Shell, line: str, said: str) -> None:
    cell = shell.run(f"%llm jobs {line}")
    assert isinstance(cell.error, UsageError)
    assert said in str(cell.error)


def test_help_is_printed(shell: Shell) -> None:
    assert "cancel" in shell.run("%llm jobs --help").stdout
    assert "--all" in shell.run("%llm jobs cancel --help").stdout
    assert "--bg" in shell.run("%%llm --help\nx").stdout


def test_no_more_are_started_than_can_be_looked_after(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "MOST_RUNNING", 2)
    monkeypatch.setattr(board, "MOST_KEPT", 1)
    shell.engine.pool.script = ["Hello"]
    for _ in range(3):
        started(shell).result(20)
    shell.engine.pool.script = [FOREVER]
    started(shell), started(shell)
    cell = shell.run("%%llm --bg\nhi")
    assert isinstance(cell.error, UsageError)
    assert "2 jobs are running" in str(cell.error)
    assert [each.id for each in shell.front.jobs.known] == [3, 4, 5]


def test_their_traffic_is_shared(shell: Shell) -> None:
    """Each of the jobs alone could take all of the budget."""
    shell.engine.pool.script = [step for _ in range(60) for step in ("word " * 400, 0.02)]
    began = time.monotonic()
    for number in range(4):
        started(shell, f"%%llm --bg -o job{number}\nhi" if number else "%%llm --bg -o job\nhi")
    for each in shell.front.jobs.known:
        each.result(60)
    kernel: Any = shell.ip.kernel
    sizes = [sum(map(len, each["data"].values())) for each in kernel.updates]
    finals = 4 * 2 * 120_000  # the last one of each is the whole answer, as Markdown and as text
    assert sum(sizes) <= 130_000 * (time.monotonic() - began) + finals


# -- beneath --------------------------------------------------------------------------------------------------------------------------


async def test_a_job_is_one_run_in_the_snapshot_and_goes_by_its_own_name() -> None:
    jobs, gate = Jobs(), asyncio.Event()
    job = Job(7, "[3] %%llm --bg", "llama3.2")

    async def work() -> str:
        job.part = "cell-1"
        await gate.wait()
        return "x"

    async def ended() -> None:
        assert not job.future.done()

    jobs.start(job, work, ended)
    between = jobs.merged(())
    assert [(view.id, view.kind, view.label, view.model) for view in between] == [("job-7", "job", "[3] %%llm --bg", "llama3.2")]
    await asyncio.sleep(0)
    other = RunView("cell-2", "llm", "[4] %%llm", "north", "running", 1.0, 3)
    own = RunView("cell-1", "llm", "[3] %%llm", "north", "answering on north, 5 tokens", 1.0, 5)
    merged = jobs.merged((other, own))
    assert merged[0] is other
    assert (merged[1].id, merged[1].kind, merged[1].where, merged[1].tokens) == ("job-7", "job", "north", 5)
    assert len(merged) == 2
    gate.set()
    assert await asyncio.wrap_future(job.future) == "x"
    assert len(jobs) == 0
    assert jobs.cancel("job-7") is False


async def test_closing_cancels_what_runs_and_says_why() -> None:
    jobs, told = Jobs(), threading.Event()
    job = Job(1, "x")

    async def ended() -> None:
        told.set()

    jobs.start(job, lambda: asyncio.sleep(3600), ended)
    await asyncio.sleep(0)
    await jobs.close()
    assert told.is_set()
    with pytest.raises(JobCancelledError, match="the engine was stopped"):
        job.future.result(0)


async def test_who_waits_is_told_also_when_showing_the_end_failed() -> None:
    jobs, job = Jobs(), Job(1, "x")

    async def work() -> int:
        return 1

    async def ended() -> None:
        raise OSError("the front end is gone")

    jobs.start(job, work, ended)
    assert await asyncio.wrap_future(job.future) == 1
