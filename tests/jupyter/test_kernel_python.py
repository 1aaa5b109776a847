"""The Python API in the cells of a real kernel: blocking and awaited, on the engine that the magics use."""

from __future__ import annotations

import pytest

from tests.support.fake_ollama import FakeOllama
from tests.support.kernel import Kernel, Run
from tests.support.waiting import wait_until

pytest.importorskip("ipykernel", reason="ipykernel is not installed")

POOL = "from gleitzeit_nb.runtime import get_runtime\npool = get_runtime().engine.pool\n"
TOTAL = POOL + "print(pool.instance_views()[0].total_requests)"
STATE = POOL + "print(pool.in_flight, pool.queue_depth)"


@pytest.fixture(scope="module")
def kernel(kernel: Kernel) -> Kernel:
    assert kernel.run("from gleitzeit_nb import GleitzeitClient, ask").reply["status"] == "ok"
    return kernel


@pytest.fixture(autouse=True)
def _fresh(north: FakeOllama) -> None:
    north.token_s = 0.0


def printed(run: Run) -> str:
    assert not run.error, run.error
    return run.stream("stdout").strip()


def test_ask_answers_in_a_cell_on_the_magics_engine(kernel: Kernel) -> None:
    kernel.run("%%llm -q\nfirst")
    before = int(printed(kernel.run(TOTAL)))
    assert printed(kernel.run("print(ask('hello there').text)")) == "hello there"
    assert int(printed(kernel.run(TOTAL))) == before + 1 == 2


def test_ask_serves_a_column_of_a_data_frame(kernel: Kernel) -> None:
    pytest.importorskip("pandas")
    run = kernel.run("import pandas\nprint(list(pandas.Series(['a', 'b c']).map(lambda text: ask(text).text.strip())))")
    assert printed(run) == "['a', 'b c']"


def test_awaited_calls_and_ask_mix_in_one_cell(kernel: Kernel) -> None:
    run = kernel.run(
        "async with GleitzeitClient() as client:\n"
        "    whole = (await client.chat('awaited')).text\n"
        "    blocked = ask('blocked').text\n"
        "    mapped = {item.index: item.reply.text.strip() async for item in client.map(['x', 'y'])}\n"
        "    streamed = ''.join([chunk.text async for chunk in client.stream('p q')])\n"
        "print(repr(client), whole, blocked, mapped, streamed, sep='|')"
    )
    assert printed(run) == "<GleitzeitClient on the notebook's engine, closed>|awaited |blocked |{0: 'x', 1: 'y'}|p q"


def test_interrupting_a_map_ends_its_requests_and_the_next_cell_works(kernel: Kernel, north: FakeOllama) -> None:
    north.token_s = 3600.0
    run = kernel.run(
        "async with GleitzeitClient() as client:\n    async for item in client.map(['x'] * 50, 3):\n        pass",
        interrupt_when=lambda run: north.in_flight > 0,
    )
    assert run.error["ename"] in ("KeyboardInterrupt", "CancelledError")
    assert wait_until(lambda: north.in_flight == 0)
    north.token_s = 0.0
    assert printed(kernel.run(STATE)) == "0 0"
    assert printed(kernel.run("print(ask('again').text)")) == "again"


def test_a_setting_that_is_refused_fails_its_cell_so_that_what_follows_is_not_run(kernel: Kernel) -> None:
    run = kernel.run("%config GleitzeitNB.strategy = 'nearest'\nprint('went on')")
    assert (run.reply["status"], run.error["ename"], run.stream("stdout")) == ("error", "SettingError", "")
    assert len(run.error["traceback"]) == 3
