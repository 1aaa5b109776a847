"""Answers written down once and given again without a server."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from gleitzeit_nb.core.requests import build_request
from gleitzeit_nb.core.settings import PoolSettings
from gleitzeit_nb.errors import ConfigError, ModelNotFoundError, ReplayMissError
from gleitzeit_nb.llm.pool import OllamaPoolManager
from tests.llm.conftest import pool_of, settings_for
from tests.support.fake_ollama import FakeOllama


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


async def test_a_recording_is_readable_private_and_holds_no_failures(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    async with FakeOllama("a") as server, pool_of(server, record=str(file)) as pool:
        with pytest.raises(ModelNotFoundError):
            await pool.chat("nope", "hi")
        await pool.chat("llama3.2", "What is a pool?")
    (line,) = file.read_text().splitlines()
    data = json.loads(line)
    assert (data["asked"], data["model"], data["reply"]["text"]) == ("What is a pool?", "llama3.2", "What is a pool? ")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_a_file_that_is_no_recording_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    await recorded(file, "one")
    good = file.read_text()
    for text, line in ((f"{good}not JSON\n{good}", 2), ('{"key": "x"}\n', 1), (good.replace('"version": 1', '"version": 9'), 1)):
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
