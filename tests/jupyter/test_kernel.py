"""The magics in a real kernel, over real sockets: what a front end is sent, and when."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.fake_ollama import FakeOllama, Fault, Kind, echo
from tests.support.kernel import Kernel, Run, instances, wire_bytes
from tests.support.waiting import wait_until

pytest.importorskip("ipykernel", reason="ipykernel is not installed")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")

WORDS = " ".join(f"word{number}" for number in range(60))
LONG_PARAGRAPH = "The quick brown fox jumps over the lazy dog, again and again. "


@pytest.fixture(autouse=True)
def _fresh(north: FakeOllama) -> None:
    north.token_s, north.fault, north.tokens = 0.0, None, echo
    north.faults.clear()
    north.abandoned = 0


def test_an_answer_streams_into_one_display(kernel: Kernel, north: FakeOllama) -> None:
    north.token_s = 0.03
    run = kernel.run(f"%%llm -o answer\n{WORDS}")
    shown = run.of("display_data", "update_display_data")
    assert len(shown) >= 5
    assert len(run.of("display_data")) == 1
    assert len({content["transient"]["display_id"] for content in shown}) == 1
    assert run.markdown[-1] == WORDS
    assert run.value.startswith("north · llama3.2")
    assert kernel.run("print(answer.text.strip(), answer.instance)").stream("stdout") == f"{WORDS} north\n"


def test_repaints_are_at_most_twenty_a_second(kernel: Kernel, north: FakeOllama) -> None:
    north.token_s = 0.005
    run = kernel.run(f"%%llm\n{WORDS * 3}")
    times = [at for at, message in run.messages if message["msg_type"] in ("display_data", "update_display_data")]
    assert len(times) <= 2 + (times[-1] - times[0]) * 20


def test_a_long_answer_is_shown_whole_within_the_traffic_limit(kernel: Kernel, north: FakeOllama) -> None:
    text = LONG_PARAGRAPH * (200_000 // len(LONG_PARAGRAPH))
    north.tokens = lambda _body: [text[start : start + 250] for start in range(0, len(text), 250)]
    north.token_s = 0.002
    run = kernel.run("%%llm -o answer\nhi")
    sent = [(at, wire_bytes(message)) for at, message in run.messages if "display_data" in message["msg_type"]]
    assert run.markdown[-1].split() == text.split()
    assert kernel.run("print(len(answer.text.split()))").stream("stdout").strip() == str(len(text.split()))
    begun = next(at for at, message in run.messages if message["msg_type"] == "execute_input")
    assert sum(size for _, size in sent) <= 250_000 * max(1.0, sent[-1][0] - begun) + 50_000


def test_without_streaming_nothing_is_updated(kernel: Kernel) -> None:
    kernel.run("%config GleitzeitNB.stream = False")
    run = kernel.run("%%llm\nHello there")
    kernel.run("%config GleitzeitNB.stream = None")
    assert [message["msg_type"] for _, message in run.messages if "display" in message["msg_type"]] == ["display_data"]
    assert run.markdown == ["Hello there"]


def test_a_hostile_answer_is_harmless_on_the_wire(kernel: Kernel) -> None:
    run = kernel.run("%%llm\n<script>alert(1)</script> ![x](http://e.x/p.png) <img src=x onerror=alert(1)>")
    assert all("<" not in text and "![" not in text for text in run.markdown)


def test_interrupt_ends_the_request_and_keeps_what_came(kernel: Kernel, north: FakeOllama) -> None:
    north.token_s = 0.1
    run = kernel.run(f"%%llm\n{WORDS}", interrupt_when=lambda run: any("word3" in text for text in run.markdown))
    assert run.idle_at - run.interrupted_at < 5  # half a second on an idle machine
    assert run.error["ename"] == "KeyboardInterrupt"
    assert len("\n".join(run.error["traceback"]).split("\n")) <= 3
    assert "word3" in run.markdown[-1]
    assert run.markdown[-1].endswith("*(interrupted)*")
    assert wait_until(lambda: north.abandoned == 1), "the server did not see its client go"
    assert kernel.run("%%llm\nstill there?").markdown[-1] == "still there?"


def test_an_interrupt_while_nothing_came_yet_leaves_only_the_error(kernel: Kernel, north: FakeOllama) -> None:
    north.fault = Fault(Kind.HANG_BEFORE_TOKEN)
    run = kernel.run("%%llm\nhi", interrupt_when=lambda run: bool(run.markdown))  # the line that says why it waits
    assert run.idle_at - run.interrupted_at < 5
    assert run.markdown[-1] == "*(interrupted)*"


def test_an_expected_error_is_short_and_fails_the_cell(kernel: Kernel) -> None:
    run = kernel.run("%%llm -m no-such-model\nhi")
    lines = "\n".join(run.error["traceback"]).split("\n")
    assert run.reply["status"] == "error"
    assert run.error["ename"] == "ModelNotFoundError"
    assert 3 <= len(lines) <= 6
    assert len("\n".join(kernel.run("%tb").error["traceback"] or kernel.run("%tb").of("stream")).split("\n")) > 6


def test_a_cut_answer_keeps_its_part_and_says_so(kernel: Kernel, north: FakeOllama) -> None:
    north.faults.append(Fault(Kind.CUT, after=3))
    run = kernel.run(f"%%llm\n{WORDS}")
    assert run.error["ename"] == "StreamInterruptedError"
    assert run.markdown[-1].startswith("word0 word1")
    assert run.markdown[-1].endswith("*(the answer was cut here)*")


def test_a_failure_in_a_cell_stops_tools_that_run_notebooks(north: FakeOllama, project_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat")
    for name, value in instances(north).items():
        monkeypatch.setenv(name, value)
    book = nbformat.v4.new_notebook()
    book.cells = [nbformat.v4.new_code_cell(source) for source in ("%load_ext gleitzeit_nb", "%%llm --modle x\nhi", "print('not reached')")]
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="UsageError"):
        nbclient.NotebookClient(book, timeout=60, resources={"metadata": {"path": str(project_root)}}).execute()
    assert book.cells[2].outputs == []


def test_output_can_be_captured_and_timed(kernel: Kernel) -> None:
    run = kernel.run("%%capture caught\n%%llm\nHello")
    assert (run.markdown, run.value) == ([], "")
    assert kernel.run("print(len(caught.outputs) > 0)").stream("stdout") == "True\n"
    assert "Wall time" in kernel.run("%%time\n%%llm\nHello").stream("stdout")


def test_unloading_and_loading_again_works(kernel: Kernel) -> None:
    kernel.run("%unload_ext gleitzeit_nb")
    assert kernel.run("%%llm\nhi").reply["status"] == "error"
    kernel.run("%load_ext gleitzeit_nb")
    assert kernel.run("%%llm\nback").markdown[-1] == "back"


def blocked(run: Run) -> bool:
    return "started" in run.stream("stdout")


@pytest.fixture(scope="module")
def sandboxed(kernel: Kernel) -> Kernel:
    run = kernel.run("%%sandbox\nprint(1)")
    if run.reply["status"] == "error":
        pytest.skip(f"no sandbox can be had here: {run.error['evalue']}")
    return kernel


def test_a_real_sandbox_runs_a_cell(sandboxed: Kernel) -> None:
    sandboxed.run("numbers = [1, 2, 3]")
    run = sandboxed.run(
        "%%sandbox --in numbers --out total\nimport sys\ntotal = sum(numbers)\nprint('out')\nprint('err', file=sys.stderr)\ntotal * 2"
    )
    assert run.stream("stdout") == "out\n"
    assert [shown["data"] for shown in run.of("display_data")] == [{"text/plain": "12"}]
    assert run.stream("stderr") == "err\n"
    assert " · ok · " in run.value
    assert sandboxed.run("print(total)").stream("stdout") == "6\n"


def test_a_real_sandbox_fails_its_cell_with_the_codes_own_trace(sandboxed: Kernel) -> None:
    run = sandboxed.run("%%sandbox\ndef f():\n    return 1 / 0\nf()")
    assert run.error["ename"] == "RunFailedError"
    assert run.stream("stderr").startswith("Traceback (most recent call last):\n")
    assert run.stream("stderr").endswith("ZeroDivisionError: division by zero\n")
    assert "gleitzeit" not in run.stream("stderr")
    assert " · error · " in run.value


def test_shell_commands_in_a_sandbox_are_refused_with_a_sentence(sandboxed: Kernel) -> None:
    run = sandboxed.run("%%sandbox\n!ls /")
    assert run.error["ename"] == "RunFailedError"
    assert "plain Python" in run.stream("stderr")


def test_interrupt_kills_a_real_run_and_keeps_its_output(sandboxed: Kernel) -> None:
    run = sandboxed.run("%%sandbox --timeout 60\nprint('started')\nwhile True: pass", interrupt_when=blocked)
    assert run.idle_at - run.interrupted_at < 5
    assert run.error["ename"] == "KeyboardInterrupt"
    assert len("\n".join(run.error["traceback"]).split("\n")) <= 3
    assert sandboxed.run("%%sandbox\nprint('next')").stream("stdout") == "next\n"


def test_tab_is_answered_as_the_protocol_has_it_and_soon(kernel: Kernel) -> None:
    kernel.run("%llm models\nmy_data = 1")
    for code, at, matches, start in (
        ("%%llm -m lla\nhi", 12, ["llama3.2"], 9),
        ("%%llm --instance=no", 19, ["north"], 17),
        ("%%llm\nhello {my_", 16, ["my_data"], 13),
        ("%%llm\nhello my_", 15, [], 15),
    ):
        begun = time.monotonic()
        reply = kernel.client.complete(code, at, reply=True, timeout=30)["content"]
        assert time.monotonic() - begun < 5
        assert (reply["matches"], reply["cursor_start"], reply["cursor_end"]) == (matches, start, at), code
        types = reply["metadata"]["_jupyter_types_experimental"]
        assert [(each["start"], each["text"]) for each in types] == [(start, each) for each in matches]
