"""Answers written down once and given again without a server."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from gleitzeit_nb.core.receipts import ReceiptSettings
from gleitzeit_nb.core.requests import build_request
from gleitzeit_nb.core.settings import PoolSettings
from gleitzeit_nb.errors import (
    ConfigError,
    DeadlineExceededError,
    ModelNotFoundError,
    NoInstanceError,
    PoolError,
    ReplayMissError,
    StreamInterruptedError,
)
from gleitzeit_nb.llm.pool import OllamaPoolManager
from tests.llm.conftest import pool_of, settings_for
from tests.support.fake_ollama import FakeOllama, Fault, Kind, status
from tests.support.waiting import until


async def recorded(file: Path, *prompts: str, **keywords: Any) -> list[str]:
    """What a server said to these, in a run of their own."""
    counts = iter(range(100))
    async with FakeOllama("a", tokens=lambda body: [f"{body['messages'][-1]['content']} ", str(next(counts))]) as server:
        async with pool_of(server, record=str(file)) as pool:
            return [(await pool.chat("llama3.2", prompt, **keywords)).text for prompt in prompts]


def replaying(file: Path, **changes: Any) -> OllamaPoolManager:
    return OllamaPoolManager(settings=PoolSettings(replay=str(file), **changes))


async def test_what_was_recorded_is_given_again_without_any_instance(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    said = await recorded(file, "one", "two", "one")
    async with replaying(file) as pool:
        assert [(await pool.chat("LLAMA3.2:latest", prompt)).text for prompt in ("two", "one", "one", "one")] == [
            said[1],
            said[0],
            said[2],
            said[2],
        ]
        reply = await pool.chat("llama3.2", "two", tags=["gpu"], deadline=3, session="s")
        assert (reply.source, reply.instance, reply.usage.completion_tokens) == ("recording", "a", 2)
        chunks = [chunk async for chunk in pool.stream("llama3.2", "two")]
        assert (chunks[0].text, chunks[-1].reply.text) == (said[1], said[1])


async def test_no_instance_is_asked_though_some_are_configured(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    await recorded(file, "one")
    async with FakeOllama("a") as server, OllamaPoolManager(settings=settings_for(server, replay=str(file), preload=("llama3.2",))) as pool:
        await pool.chat("llama3.2", "one")
    assert server.requests == []


async def test_a_question_that_was_not_asked_then_says_how_to_record(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    await recorded(file, "one")
    async with replaying(file) as pool:
        request = build_request("r", "chat", "llama3.2", messages="three\x1b[2J", label="[7] %%llm")
        with pytest.raises(ReplayMissError) as caught:
            await pool.complete_request(request)
        message = str(caught.value)
        assert message.startswith(f"[7] %%llm: the recording '{file}' has no answer to 'three␛[2J' from llama3.2: nothing like it")
        assert f"GLEITZEIT_RECORD={file}" in message
        with pytest.raises(ReplayMissError, match=r"was asked of the model llama3\.2"):
            await pool.chat("phi", "one")
        with pytest.raises(ReplayMissError, match="other messages or options"):
            await pool.chat("llama3.2", "one", options={"seed": 1})


async def test_of_several_runs_the_last_that_asked_it_counts(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    await recorded(file, "one", "two")
    last = await recorded(file, "zero", "one")
    async with replaying(file) as pool:
        assert [(await pool.chat("llama3.2", prompt)).text for prompt in ("one", "one", "two")] == [last[1], last[1], "two 1"]


async def test_vectors_tool_calls_and_schemas_are_replayed(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    call = {"function": {"name": "look", "arguments": {"where": "up"}}}
    async with FakeOllama("a", tokens=lambda _body: ["[1, 2]", {"thinking": "hm"}, {"tool_calls": [call]}]) as server:
        async with pool_of(server, record=str(file)) as pool:
            vectors = await pool.embed("llama3.2", ["a", "b"])
            await pool.chat("llama3.2", "hi", schema=list[int], logprobs=1)
    async with replaying(file) as pool:
        assert await pool.embed("llama3.2", ["a", "b"]) == vectors
        reply = await pool.chat("llama3.2", "hi", schema=list[int], logprobs=1)
    assert (reply.parsed, reply.thinking, reply.tool_calls) == ([1, 2], "hm", (call,))
    assert reply.logprobs[0]["logprob"] == -0.5


async def test_a_recording_is_readable_and_private(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    async with FakeOllama("a") as server, pool_of(server, record=str(file)) as pool:
        await pool.warm("llama3.2")
        await pool.chat("llama3.2", "What is a pool?")
    (line,) = file.read_text().splitlines()
    data = json.loads(line)
    assert (data["asked"], data["model"], data["reply"]["text"]) == ("What is a pool?", "llama3.2", "What is a pool? ")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_a_file_that_is_no_recording_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    await recorded(file, "one")
    good = file.read_text()
    for text, line in ((f"{good}not JSON\n{good}", 2), ('{"key": "x"}\n', 1), (good.replace('"version": 2', '"version": 9'), 1)):
        file.write_text(text)
        with pytest.raises(ConfigError, match=rf"run\.jsonl, line {line}: no recorded answer"):
            await replaying(file).initialize()


async def test_a_last_line_that_was_cut_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    await recorded(file, "one", "two")
    file.write_text(file.read_text()[:-20])
    async with replaying(file) as pool:
        assert (await pool.chat("llama3.2", "one")).text
        with pytest.raises(ReplayMissError):
            await pool.chat("llama3.2", "two")


async def test_a_recording_that_cannot_be_written_or_read_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        await OllamaPoolManager(settings=PoolSettings(record=str(tmp_path / "no" / "run.jsonl"))).initialize()
    with pytest.raises(ConfigError, match="cannot be read"):
        await replaying(tmp_path / "no.jsonl").initialize()


async def failure(pool: OllamaPoolManager, model: str, prompt: str, **keywords: Any) -> tuple[PoolError, str]:
    """(the error that it ends with, what was seen of an answer before)."""
    text = ""
    try:
        async for chunk in pool.stream(model, prompt, **keywords):
            text += chunk.text
    except PoolError as error:
        return error, text
    pytest.fail("it was answered")


async def test_an_expected_failure_is_replayed_as_the_same_error(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    asks: list[tuple[str, str, dict[str, Any]]] = [
        ("nope", "hi", {}),
        ("llama3.2", "hi", {"tags": ["gpu"]}),
        ("llama3.2", "one two three", {}),
        ("llama3.2", "late", {"deadline": 0.2}),
    ]
    async with FakeOllama("a") as server, pool_of(server, record=str(file)) as pool:
        said = [await failure(pool, *asks[0][:2]), await failure(pool, *asks[1][:2], **asks[1][2])]
        server.fault = Fault(Kind.CUT, after=1)
        said.append(await failure(pool, *asks[2][:2]))
        server.fault = Fault(Kind.HANG_BEFORE_TOKEN)
        said.append(await failure(pool, *asks[3][:2], **asks[3][2]))
    assert [type(error) for error, _ in said] == [ModelNotFoundError, NoInstanceError, StreamInterruptedError, DeadlineExceededError]
    assert said[2][1] == "one "
    async with replaying(file) as pool:
        again = [await failure(pool, model, prompt, **keywords) for model, prompt, keywords in asks]
        receipts = pool.receipts()
    assert [(type(error), str(error), vars(error), text) for error, text in again] == [
        (type(error), str(error), vars(error), text) for error, text in said
    ]
    assert [(each.outcome, each.error, each.source, each.tries) for each in reversed(receipts)] == [
        ("failed", type(error).__name__, "recording", ()) for error, _ in said
    ]


async def test_a_failure_and_the_answer_after_it_are_replayed_in_their_order(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    async with FakeOllama("a") as server, pool_of(server, record=str(file)) as pool:
        server.fault = status(400, "no")
        await failure(pool, "llama3.2", "hi")
        server.fault = None
        await pool.chat("llama3.2", "hi")
    async with replaying(file) as pool:
        await failure(pool, "llama3.2", "hi")
        assert (await pool.chat("llama3.2", "hi")).text == "hi "


async def test_an_error_is_for_its_own_demands_and_an_answer_for_all(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    async with FakeOllama("a") as server, pool_of(server, record=str(file)) as pool:
        await failure(pool, "llama3.2", "hi", tags=["gpu"])
        await pool.chat("llama3.2", "hi")
        await failure(pool, "llama3.2", "ho", tags=["gpu"])
    async with replaying(file) as pool:
        assert (await pool.chat("llama3.2", "hi")).text == "hi "
        for _ in range(2):
            error, _ = await failure(pool, "llama3.2", "hi", tags=["gpu"])
            assert isinstance(error, NoInstanceError)
        assert (await pool.chat("llama3.2", "hi", tags=["other"])).text == "hi "
        error, _ = await failure(pool, "llama3.2", "ho")
    assert isinstance(error, ReplayMissError)


async def test_no_key_stands_in_a_recorded_failure(tmp_path: Path) -> None:
    file, key = tmp_path / "run.jsonl", "canary-7f3a-key"
    async with FakeOllama("a", api_key=key) as server, pool_of(server, record=str(file)) as pool:
        server.fault = status(400, f"bad header: Bearer {key}")
        error, _ = await failure(pool, "llama3.2", "hi")
    assert "bad header" in str(error)
    assert "bad header" in file.read_text()
    assert key not in file.read_text()


async def test_who_gave_up_leaves_nothing_in_the_recording(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    async with FakeOllama("a") as server, pool_of(server, record=str(file)) as pool:
        server.gate.clear()
        asking = asyncio.create_task(pool.chat("llama3.2", "hi"))
        await until(lambda: server.in_flight)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        server.gate.set()
    assert file.read_text() == ""


async def test_a_recording_of_the_first_version_is_still_read(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    (said,) = await recorded(file, "one")
    line = json.loads(file.read_text())
    del line["reply"]["digest"], line["demands"]
    file.write_text(json.dumps({**line, "version": 1}) + "\n")
    async with replaying(file) as pool:
        reply = await pool.chat("llama3.2", "one")
    assert (reply.text, reply.receipt.digest) == (said, "")


async def test_a_replayed_answer_has_a_receipt_that_says_so(tmp_path: Path) -> None:
    file, sink = tmp_path / "run.jsonl", tmp_path / "receipts.jsonl"
    await recorded(file, "one")
    async with replaying(file, receipts=ReceiptSettings(file=str(sink), prompts=True)) as pool:
        reply = await pool.chat("llama3.2", "one")
        with pytest.raises(ReplayMissError):
            await pool.chat("llama3.2", "three")
        miss, receipt = pool.receipts()
    assert reply.receipt is receipt
    assert (receipt.source, receipt.outcome, receipt.instance, receipt.tries, receipt.candidates) == ("recording", "ok", "", (), ())
    assert (receipt.model, receipt.digest) == ("llama3.2", hashlib.sha256(b"llama3.2:latest").hexdigest())
    assert (receipt.usage.completion_tokens, receipt.timings.first_token_s) == (None, None), "nothing was generated"
    assert (miss.error, miss.source) == ("ReplayMissError", "recording")
    first, second = map(json.loads, sink.read_text().splitlines())
    assert (first["source"], first["answer"]["text"], second["error"]) == ("recording", reply.text, "ReplayMissError")
