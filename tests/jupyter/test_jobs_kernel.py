"""Background jobs in a real kernel, over real sockets and a real sandbox: what a front end is sent while other cells run."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.fake_ollama import FakeOllama, echo
from tests.support.kernel import Kernel, Run, wire_bytes
from tests.support.waiting import wait_until

pytest.importorskip("ipykernel", reason="ipykernel is not installed")

WORDS = " ".join(f"word{number}" for number in range(60))


@pytest.fixture(autouse=True)
def _fresh(north: FakeOllama, kernel: Kernel) -> None:
    kernel.run("%llm jobs cancel --all")
    kernel.seen.clear()
    north.token_s, north.fault, north.tokens = 0.0, None, echo
    north.abandoned = 0


def places(run: Run) -> list[str]:
    return [content["transient"]["display_id"] for content in run.of("display_data")]


def updates(kernel: Kernel, place: str) -> list[tuple[float, dict[str, Any]]]:
    return [
        (at, message)
        for at, message in kernel.seen
        if message["msg_type"] == "update_display_data" and message["content"]["transient"]["display_id"] == place
    ]


def test_its_output_moves_while_another_cell_runs_and_belongs_to_its_own(kernel: Kernel, north: FakeOllama) -> None:
    north.token_s = 0.05
    begun = kernel.run(f"%%llm --bg -o job\n{WORDS}")
    cell = begun.messages[0][1]["parent_header"]["msg_id"]
    answer, line = places(begun)
    other = kernel.run("import time\nprint('here')\ntime.sleep(2)")
    during = [(at, message) for at, message in updates(kernel, answer) if at < other.idle_at]
    assert len(during) >= 5
    assert {message["parent_header"]["msg_id"] for _, message in during} == {cell}
    assert other.of("display_data", "update_display_data") == []
    assert kernel.run("print(job.result(60).text.strip())").stream("stdout").strip() == WORDS
    assert kernel.shown(answer)["text/markdown"] == WORDS
    assert kernel.shown(line)["text/plain"].startswith("✓ job ")


def test_what_a_cell_captures_is_its_own(kernel: Kernel, north: FakeOllama) -> None:
    north.token_s = 0.05
    begun = kernel.run(f"%%llm --bg -o job\n{WORDS}")
    run = kernel.run("%%capture caught\nimport time\ntime.sleep(1)\nprint('mine')")
    assert run.of("stream", "display_data") == []
    assert kernel.run("print(len(caught.outputs), caught.stdout)").stream("stdout").split() == ["0", "mine"]
    assert len(updates(kernel, places(begun)[0])) >= 3


def test_an_interrupt_of_another_cell_leaves_it_alone(kernel: Kernel, north: FakeOllama) -> None:
    north.token_s = 0.05
    kernel.run(f"%%llm --bg -o job\n{WORDS}")
    run = kernel.run("print('started')\nimport time\ntime.sleep(60)", interrupt_when=lambda run: "started" in run.stream("stdout"))
    assert run.error["ename"] == "KeyboardInterrupt"
    assert kernel.run("print(job.result(60).text.strip())").stream("stdout").strip() == WORDS


def test_a_cancelled_job_closes_its_connection(kernel: Kernel, north: FakeOllama) -> None:
    north.token_s = 0.2
    kernel.run(f"%%llm --bg -o job\n{WORDS}")
    assert wait_until(lambda: north.in_flight == 1)
    assert "cancelled: job" in kernel.run("%llm jobs cancel --all").stream("stdout")
    assert wait_until(lambda: north.abandoned == 1)


def test_several_jobs_share_the_display_traffic(kernel: Kernel, north: FakeOllama) -> None:
    north.tokens = lambda _body: ["word " * 50] * 100
    north.token_s = 0.02
    five_at_once = {"instances": [{"id": "north", "url": north.url, "max_concurrent": 5}]}
    kernel.run(f"from gleitzeit_nb import configure\nconfigure(ollama_config={five_at_once})\njobs = []")
    for _ in range(5):
        kernel.run("%%llm --bg -q -o job\nhi")
        kernel.run("jobs.append(job)")
    begun = kernel.run("[display(each) for each in jobs];")
    kernel.run("import concurrent.futures\nconcurrent.futures.wait([each.future for each in jobs], 60);")
    sent = [(at, wire_bytes(message)) for at, message in kernel.seen if "display_data" in message["msg_type"]]
    span_s = sent[-1][0] - begun.messages[0][0]
    print(f"{sum(size for _, size in sent) / span_s / 1000:.0f} kB/s in {span_s:.1f} s, {len(sent)} messages")
    last_of_each = 5 * 2 * 25_000
    assert sum(size for _, size in sent) <= 250_000 * max(1.0, span_s) + last_of_each


@pytest.fixture(scope="module")
def sandboxed(kernel: Kernel) -> Kernel:
    run = kernel.run("%%sandbox\nprint(1)")
    if run.reply["status"] == "error":
        pytest.skip(f"no sandbox can be had here: {run.error['evalue']}")
    return kernel


def test_a_real_run_goes_on_in_the_background(sandboxed: Kernel) -> None:
    code = "import time\nfor i in range(4):\n    print('step', i, flush=True)\n    time.sleep(0.3)\ntotal = 6 * 7\ntotal"
    begun = sandboxed.run(f"%%sandbox --bg --out total -o job\n{code}")
    output, line = places(begun)
    assert sandboxed.run("import time; time.sleep(0.5); print(job.done)").stream("stdout") == "False\n"
    assert sandboxed.run("print(job.result(60).outputs)").stream("stdout") == "{'total': 42}\n"
    assert sandboxed.shown(output)["text/plain"].split() == ["step", "0", "step", "1", "step", "2", "step", "3", "42"]
    assert " · ok · " in sandboxed.shown(line)["text/plain"]
    assert len(updates(sandboxed, output)) >= 2


def test_the_code_of_an_answer_really_runs(sandboxed: Kernel, north: FakeOllama) -> None:
    north.tokens = lambda _body: ["Look:\n\n```python\n", "import sys\nprint(6 * 7, len(sys.argv) > 99)\n", "```\n"]
    run = sandboxed.run("%%llm --run -o answer\nhi")
    assert run.stream("stdout") == "42 False\n"
    assert "its code: " in run.value
    assert sandboxed.run("print(answer.execution.status)").stream("stdout") == "ok\n"


def test_code_of_an_answer_that_fails_names_the_answer_in_its_trace(sandboxed: Kernel, north: FakeOllama) -> None:
    north.tokens = lambda _body: ["```python\ndef f():\n    return 1 / 0\nf()\n```"]
    run = sandboxed.run("%%llm --run -o answer\nhi")
    assert run.error["ename"] == "RunFailedError"
    assert 'File "<answer [' in run.stream("stderr")
    assert run.markdown[-1].startswith("```")
    assert "its code: " in run.value


def test_an_interrupt_of_an_answers_code_ends_it(sandboxed: Kernel, north: FakeOllama) -> None:
    north.tokens = lambda _body: ["```python\nprint('started', flush=True)\nwhile True: pass\n```"]
    run = sandboxed.run("%%llm --run -o answer\nhi", interrupt_when=lambda run: "started" in run.stream("stdout"))
    assert run.idle_at - run.interrupted_at < 5  # half a second on an idle machine
    assert run.error["ename"] == "KeyboardInterrupt"
    assert len("\n".join(run.error["traceback"]).split("\n")) <= 3
    assert sandboxed.run("print(answer.execution)").stream("stdout") == "None\n"


def test_unloading_says_which_jobs_it_cancelled_and_leaves_none(sandboxed: Kernel, north: FakeOllama) -> None:
    north.token_s = 0.2
    begun = sandboxed.run(f"%%llm --bg\n{WORDS}")
    sandboxed.run("%%sandbox --bg --timeout 60\nwhile True: pass")
    assert "Cancelled: jobs " in sandboxed.run("%unload_ext gleitzeit_nb").stream("stdout")
    assert "the extension was unloaded" in sandboxed.shown(places(begun)[1])["text/plain"]
    sandboxed.run("%load_ext gleitzeit_nb")
