"""GleitzeitClient and ask(): whose engine, on which loop, and what reaches the caller."""

from __future__ import annotations

import asyncio
import builtins
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gleitzeit_nb import GleitzeitClient, StreamInterrupted, ask, configure
from gleitzeit_nb.config import Config, load
from gleitzeit_nb.errors import (
    AlreadyOpenError,
    ConfigError,
    EngineClosedError,
    ModeDisabledError,
    ModelNotFoundError,
    NoInstanceError,
    SandboxError,
    WrongLoopError,
)
from gleitzeit_nb.runtime import Runtime, current_runtime
from gleitzeit_nb.sandbox import Sandbox
from tests.support.fake_ollama import FakeOllama, Fault, Kind

LIMIT_S = 30.0


@pytest.fixture
def server() -> Iterator[FakeOllama]:
    """A server on a loop of its own, so that a caller may block its own."""
    elsewhere, made = Runtime(), FakeOllama("fake")
    elsewhere.call(made.listen())
    yield made
    elsewhere.call(made.die())
    elsewhere.close()


@pytest.fixture(autouse=True)
def _no_runtime_before_or_after() -> Iterator[None]:
    assert current_runtime() is None
    yield
    if (runtime := current_runtime()) is not None:
        runtime.close()


def pointing_at(server: FakeOllama) -> dict[str, Any]:
    return {"instances": [{"id": server.id, "url": server.url}]}


# -- an engine of one's own ---------------------------------------------------------------------------------------------------


async def test_with_configuration_a_client_owns_its_engine_and_ends_it(server: FakeOllama) -> None:
    async with GleitzeitClient(ollama_config=pointing_at(server)) as client:
        reply = await client.chat("hello there", model="llama3.2")
        assert (reply.text.strip(), reply.instance) == ("hello there", "fake")
        assert client.snapshot().instances[0].total_requests == 1
        assert repr(client) == "<GleitzeitClient on an engine of its own>"
        pool = client.pool
    assert current_runtime() is None
    assert repr(pool) == "<OllamaPoolManager closed>"
    assert repr(client) == "<GleitzeitClient on an engine of its own, closed>"


async def test_a_stream_arrives_in_pieces_and_ends_with_the_whole(server: FakeOllama) -> None:
    async with GleitzeitClient(ollama_config=pointing_at(server)) as client:
        chunks = [chunk async for chunk in client.stream("one two three")]
    assert "".join(chunk.text for chunk in chunks) == "one two three "
    assert len(chunks) > 3
    assert chunks[-1].reply is not None
    assert chunks[-1].reply.text == "one two three "


async def test_embeddings_are_one_vector_per_input(server: FakeOllama) -> None:
    async with GleitzeitClient(ollama_config=pointing_at(server)) as client:
        vectors = await client.embed(["a", "b", "a"])
    assert len(vectors) == 3
    assert vectors[0] == vectors[2] != vectors[1]


async def test_what_the_request_asks_for_reaches_the_server(server: FakeOllama) -> None:
    async with GleitzeitClient(ollama_config=pointing_at(server)) as client:
        await client.chat([{"role": "user", "content": "x"}], options={"seed": 7}, format="json")
    body = server.asked[0].body
    assert (body["options"]["seed"], body["format"], body["model"].removesuffix(":latest")) == (7, "json", "llama3.2")


async def test_an_unknown_keyword_is_a_type_error_that_names_the_nearest(server: FakeOllama) -> None:
    async with GleitzeitClient(ollama_config=pointing_at(server)) as client:
        with pytest.raises(TypeError, match="'strategy'"):
            await client.chat("x", stratgy="round_robin")  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="'deadline'"):
            _ = [chunk async for chunk in client.stream("x", deadlin=3)]  # type: ignore[call-arg]


async def test_a_bad_configuration_is_told_when_the_client_is_made() -> None:
    with pytest.raises(ConfigError, match="did you mean 'instances'"):
        GleitzeitClient(ollama_config={"instance": []})
    with pytest.raises(TypeError, match="not both"):
        GleitzeitClient(Config(), ollama_config={})


async def test_a_client_that_is_not_open_says_how_to_open_it() -> None:
    client = GleitzeitClient(ollama_config={"instances": []})
    for state in ("is not open", "was closed"):
        uses = [client.chat("x"), client.embed("x"), client.generate("x"), client.models(), client.ps(), client.status()]
        for use in [*uses, client.execute_python("1"), anext(client.stream("x"))]:
            with pytest.raises(EngineClosedError, match=f"{state}: use it in `async with GleitzeitClient"):
                await use
        with pytest.raises(EngineClosedError):
            client.snapshot()
        with pytest.raises(EngineClosedError):
            client.map(["x"])
        await client.close()
        async with client:
            pass


async def test_a_client_is_opened_once_and_again_after_it_was_closed(server: FakeOllama) -> None:
    async with GleitzeitClient(ollama_config=pointing_at(server)) as client:
        with pytest.raises(AlreadyOpenError, match="use it as it is"):
            async with client:
                pass
        assert (await client.chat("still open")).text
        async with GleitzeitClient(ollama_config=pointing_at(server)) as inner:
            assert (await inner.chat("another")).text
    async with client:
        assert (await client.chat("again")).text


async def test_a_client_on_another_loop_says_so_and_stays_open(server: FakeOllama) -> None:
    async with GleitzeitClient(ollama_config=pointing_at(server)) as client:

        async def elsewhere() -> None:
            for use in (client.chat("x"), client.status(), client.execute_python("1"), client.close(), anext(client.stream("x"))):
                with pytest.raises(WrongLoopError, match=r"asyncio\.run"):
                    await use

        await asyncio.to_thread(asyncio.run, elsewhere())
        with pytest.raises(WrongLoopError):
            await asyncio.to_thread(client.map, ["x"])
        assert (await client.chat("still open")).text


async def test_an_opening_that_was_cancelled_can_be_repeated(server: FakeOllama) -> None:
    server.fault = Fault(Kind.HANG_BEFORE_HEADERS, everywhere=True)
    client = GleitzeitClient(ollama_config=pointing_at(server))
    opening = asyncio.ensure_future(client.initialize())
    await _until(lambda: server.requests)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    server.fault = None
    await client.initialize()
    assert (await client.chat("x")).text
    await client.close()


async def test_a_client_says_that_the_shared_engine_has_ended(server: FakeOllama) -> None:
    configure(pointing_at(server))
    async with GleitzeitClient() as client:
        runtime = current_runtime()
        assert runtime is not None
        await asyncio.to_thread(runtime.close)
        with pytest.raises(EngineClosedError, match="has ended"):
            await client.chat("x")


@pytest.mark.parametrize("shared", [False, True], ids=["own engine", "shared engine"])
async def test_generate_models_ps_status_and_map(server: FakeOllama, shared: bool) -> None:
    if shared:
        configure(pointing_at(server))
    async with GleitzeitClient(*([] if shared else [None, pointing_at(server)])) as client:
        reply = await client.generate("def f(", "llama3.2", system="code only", suffix="return x")
        assert reply.text.strip() == "def f("
        assert {"system": "code only", "suffix": "return x"}.items() <= server.asked[0].body.items()
        assert [(row.instance, row.name) for row in (await client.models()).rows] == [("fake", "llama3.2:latest")]
        assert [row.name for row in (await client.ps()).rows] == ["llama3.2:latest"]
        assert (await client.status())["instances"]["fake"]["total_requests"] == 1
        caller = threading.get_ident()
        seen_from: set[int] = set()

        def words() -> Iterator[str]:
            for word in ("a", "b", "c"):
                seen_from.add(threading.get_ident())
                yield word

        items = {item.index: item.result().text.strip() async for item in client.map(words(), model="llama3.2", tags=[])}
        assert items == {0: "a", 1: "b", 2: "c"}
        assert seen_from == {caller}
        mapping = client.map(iter(int, 1), method="llm/chat")  # endless, and of no use
        assert "not int" in str((await anext(mapping)).error)
        await mapping.aclose()


@pytest.mark.parametrize("shared", [False, True], ids=["own engine", "shared engine"])
async def test_models_are_looked_after_and_instances_drained(server: FakeOllama, shared: bool) -> None:
    if shared:
        configure(pointing_at(server))
    async with GleitzeitClient(*([] if shared else [None, pointing_at(server)])) as client:
        (warmed,) = await client.warm("llama3.2")
        assert (warmed.instance, warmed.was_warm) == ("fake", False)
        told = [progress async for progress in client.pull("llama3.2", instance="fake")]
        assert told[-1].done
        assert await client.unload("llama3.2") == ("fake",)
        assert (await client.ps()).rows == ()
        await client.drain("fake")
        with pytest.raises(NoInstanceError, match="draining"):
            await client.chat("x", model="llama3.2")
        await client.resume("fake")
        assert (await client.chat("x", model="llama3.2")).text
        assert await client.delete("llama3.2", instance="fake") == ("fake",)


async def test_leaving_a_map_on_the_shared_engine_frees_its_slots(server: FakeOllama) -> None:
    server.fault = Fault(Kind.HANG_BEFORE_HEADERS)
    configure(pointing_at(server))
    async with GleitzeitClient() as client:
        mapping = client.map(["x"] * 5, 2)
        waiting = asyncio.ensure_future(anext(mapping))
        await _until(lambda: len(server.asked) >= 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await _until(lambda: not client.snapshot().in_flight and not client.snapshot().queue_depth)


# -- files --------------------------------------------------------------------------------------------------------------------


async def test_every_file_of_a_folder_gets_one_result_in_the_order_of_names(server: FakeOllama, tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("beta")
    (tmp_path / "a.txt").write_text("alpha ä")
    (tmp_path / "broken.txt").write_bytes(b"\xff\xfe")
    (tmp_path / "other.md").write_text("not asked")
    (tmp_path / "folder.txt").mkdir()
    async with GleitzeitClient(ollama_config=pointing_at(server)) as client:
        report = await client.batch_process(tmp_path, "*.txt", prompt="Sum up:", max_concurrent=2)
        vectors = await client.batch_process(str(tmp_path), "[ab].txt", method="llm/embed", model="llama3.2")
        for wrong, expected in (
            ({"directory": tmp_path / "nowhere"}, FileNotFoundError),
            ({"directory": tmp_path, "pattern": "*.none"}, FileNotFoundError),
            ({"directory": tmp_path, "method": "llm/sum"}, ValueError),
            ({"directory": tmp_path, "method": "llm/embed", "prompt": "useless"}, TypeError),
        ):
            with pytest.raises(expected):
                await client.batch_process(**wrong)
    assert [result.path.name for result in report] == ["a.txt", "b.txt", "broken.txt"]
    assert [result.reply.text.strip() for result in report if result.reply] == ["Sum up: alpha ä", "Sum up: beta"]
    assert [type(result.error) for result in report.failed] == [UnicodeDecodeError]
    assert repr(report) == "<BatchReport 3 files, 1 failed>"
    assert [len(result.reply.embeddings) for result in vectors if result.reply] == [1, 1]


async def test_a_client_takes_a_whole_configuration(server: FakeOllama) -> None:
    config = load(pointing_at(server), environ={}, home=Path("/nowhere"))
    async with GleitzeitClient(config) as client:
        assert (await client.chat("x")).instance == "fake"


# -- the process's engine -----------------------------------------------------------------------------------------------------


async def test_without_configuration_in_a_notebook_a_client_attaches_to_the_notebooks_engine(
    server: FakeOllama, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builtins, "__IPYTHON__", True, raising=False)
    configure(pointing_at(server))
    async with GleitzeitClient() as client:
        assert repr(client) == "<GleitzeitClient on the notebook's engine>"
        assert (await client.chat("hello")).text.strip() == "hello"
        assert [chunk.text async for chunk in client.stream("a b")][:2] == ["a ", "b "]
        assert len(await client.embed("a")) == 1
        assert client.snapshot().instances[0].total_requests == 3
        runtime = current_runtime()
        assert runtime is not None
        assert runtime.engine.pool is client.pool
    assert runtime.running


async def test_the_pool_of_a_shared_engine_says_that_it_lives_on_another_loop(server: FakeOllama) -> None:
    configure(pointing_at(server))
    async with GleitzeitClient() as client:
        with pytest.raises(WrongLoopError):
            await client.pool.chat("llama3.2", "x")


async def test_a_cut_answer_raises_with_the_partial_text_on_the_callers_loop(server: FakeOllama) -> None:
    server.fault = Fault(Kind.CUT, after=2)
    configure(pointing_at(server))
    async with GleitzeitClient() as client:
        seen: list[str] = []

        async def read() -> None:
            async for chunk in client.stream("one two three four"):
                seen.append(chunk.text)

        with pytest.raises(StreamInterrupted) as caught:
            await read()
    assert "".join(seen) == caught.value.partial == "one two "


async def test_leaving_a_stream_early_cancels_the_request(server: FakeOllama) -> None:
    server.token_s = 0.05
    configure(pointing_at(server))
    async with GleitzeitClient() as client:
        stream = client.stream("word " * 500)
        async for chunk in stream:
            assert chunk.text
            break
        await stream.aclose()
        await _until(lambda: server.abandoned == 1 and not client.snapshot().in_flight)


async def test_cancelling_a_chat_on_the_shared_engine_frees_its_slot(server: FakeOllama) -> None:
    server.fault = Fault(Kind.HANG_BEFORE_HEADERS)
    configure(pointing_at(server))
    async with GleitzeitClient() as client:
        asking = asyncio.ensure_future(client.chat("x"))
        await _until(lambda: len(server.asked) == 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await _until(lambda: not client.snapshot().in_flight)


async def test_the_callers_loop_turns_while_the_shared_engine_answers(server: FakeOllama) -> None:
    server.token_s = 0.05
    configure(pointing_at(server))
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.01)

    async with GleitzeitClient() as client:
        turning = asyncio.ensure_future(turn())
        await client.chat("a b c d e f g h")
        turning.cancel()
    assert turns > 5


# -- code ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def isolation() -> str:
    """The mode that untrusted code gets here; skips where none can be had."""
    async with Sandbox() as sandbox:
        try:
            return (await sandbox.resolve_default())[0]
        except SandboxError as error:
            pytest.skip(f"no sandbox can be had: {str(error).splitlines()[0]}")


@pytest.mark.parametrize("shared", [False, True], ids=["own engine", "shared engine"])
async def test_python_runs_in_the_sandbox_with_values_in_and_out(isolation: str, shared: bool) -> None:
    if shared:
        configure({"instances": []})
    async with GleitzeitClient(*([] if shared else [None, {"instances": []}])) as client:
        result = await client.execute_python("y = [n * 2 for n in x]; print(sum(y))", inputs={"x": [1, 2, 3]}, outputs=["y"], timeout=30)
        assert (result.status, result.stdout, result.outputs, result.mode) == ("ok", "12\n", {"y": [2, 4, 6]}, isolation)
        failed = await client.execute_python("1 / 0", isolation)
        assert (failed.status, failed.ok) == ("error", False)
        assert "ZeroDivisionError" in failed.traceback
        with pytest.raises(ModeDisabledError):
            await client.execute_python("1", "local")
        with pytest.raises(TypeError, match="memory"):
            await client.execute_python("1", memory="1g")  # type: ignore[call-arg]


# -- ask ----------------------------------------------------------------------------------------------------------------------


def test_ask_blocks_for_the_whole_answer(server: FakeOllama) -> None:
    configure(pointing_at(server))
    assert ask("hello there", model="llama3.2").text.strip() == "hello there"
    assert ask([{"role": "user", "content": "again"}]).instance == "fake"


async def test_ask_works_in_a_thread_whose_loop_runs(server: FakeOllama) -> None:
    configure(pointing_at(server))
    assert ask("hello").text.strip() == "hello"


def test_ask_works_from_many_threads_at_once(server: FakeOllama) -> None:
    configure(pointing_at(server))
    answers: list[str] = []
    threads = [threading.Thread(target=lambda word=str(index): answers.append(ask(word).text.strip())) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    assert sorted(answers) == [str(index) for index in range(8)]


def test_ask_serves_a_column_of_a_data_frame(server: FakeOllama) -> None:
    pandas = pytest.importorskip("pandas")
    configure(pointing_at(server))
    frame = pandas.DataFrame({"text": ["one", "two three"]})
    frame["answer"] = frame["text"].map(lambda text: ask(text, model="llama3.2").text)
    assert list(frame["answer"]) == ["one ", "two three "]
    with pytest.raises(TypeError, match="not float"):
        ask(float("nan"))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="many prompts are for map"):
        ask(["one", "two"])  # type: ignore[list-item]


def test_ask_refuses_to_block_the_loop_that_answers_it(server: FakeOllama) -> None:
    configure(pointing_at(server))
    ask("x")
    runtime = current_runtime()
    assert runtime is not None

    async def on_the_engines_loop() -> None:
        ask("x")

    with pytest.raises(WrongLoopError, match="would block"):
        runtime.call(on_the_engines_loop())


def test_ask_raises_the_pools_errors(server: FakeOllama) -> None:
    configure(pointing_at(server))
    with pytest.raises(ModelNotFoundError, match="llama9"):
        ask("x", model="llama9")


def test_configure_keeps_what_is_not_given_and_refuses_what_is_wrong(server: FakeOllama) -> None:
    configure(pointing_at(server))
    configure(python_config={"modes": {"docker-sandbox": {"timeout": 5}}})
    with pytest.raises(ConfigError):
        configure({"instance": []})
    assert ask("x").instance == "fake"
    runtime = current_runtime()
    assert runtime is not None
    assert runtime.engine.config.sandbox.modes["docker-sandbox"].limits.timeout_s == 5.0


def test_configure_reaches_a_running_engine(server: FakeOllama) -> None:
    configure(pointing_at(server))
    assert ask("x").instance == "fake"
    configure({"instances": [{"id": "renamed", "url": server.url}]})
    assert ask("x").instance == "renamed"


def test_a_script_that_asks_ends_by_itself(server: FakeOllama, project_root: Path) -> None:
    code = (
        "from gleitzeit_nb import ask, configure\n"
        f"configure({{'instances': [{{'id': 'a', 'url': {server.url!r}}}]}})\n"
        "print(ask('hello').text)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project_root, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "hello", "")


def test_a_script_that_ran_code_on_the_shared_engine_ends_without_a_word(isolation: str, project_root: Path) -> None:
    code = (
        "import asyncio\nfrom gleitzeit_nb import GleitzeitClient, configure\n"
        "configure({'instances': []})\n"
        "async def main():\n"
        "    async with GleitzeitClient() as client:\n"
        "        print((await client.execute_python('1')).status)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project_root, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "ok", "")


async def _until(condition: Any) -> None:
    """Wait for what must come true."""
    for _ in range(int(LIMIT_S / 0.02)):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come true")
