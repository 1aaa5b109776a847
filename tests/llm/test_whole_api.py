"""The rest of Ollama's API through the pool: thinking, tools, logprobs, gaps to fill, raw prompts, pictures."""

from __future__ import annotations

from typing import Any

import pytest

from tests.llm.conftest import pool_of
from tests.support.fake_ollama import FakeOllama

CALL = {"id": "call_1", "function": {"name": "look", "arguments": {"where": "up"}}}


async def test_thoughts_calls_and_logprobs_come_with_the_reply() -> None:
    said = [{"thinking": "Hm, "}, {"thinking": "well."}, "Yes", {"tool_calls": [CALL, "no call"]}]
    async with FakeOllama(tokens=lambda _body: said) as server, pool_of(server) as pool:
        reply = await pool.chat("llama3.2", "?", think="high", logprobs=2)
    assert (reply.text, reply.thinking, reply.tool_calls) == ("Yes", "Hm, well.", (CALL,))
    assert [each["logprob"] for each in reply.logprobs] == [-0.5] * 4
    assert len(reply.logprobs[0]["top_logprobs"]) == 2
    body = server.asked[0].body
    assert (body["think"], body["logprobs"], body["top_logprobs"]) == ("high", True, 2)


async def test_a_gap_is_filled_and_a_raw_prompt_stays_raw() -> None:
    async with FakeOllama() as server, pool_of(server) as pool:
        await pool.generate("llama3.2", "def f(", suffix="): pass", raw=True, logprobs=True)
    assert server.asked[0].body == {
        "model": "llama3.2",
        "stream": True,
        "prompt": "def f(",
        "suffix": "): pass",
        "raw": True,
        "logprobs": True,
    }


@pytest.mark.parametrize(
    ("keywords", "said"),
    [({"suffix": "x"}, "'suffix' is for generate"), ({"raw": True}, "'raw' is for generate")],
)
async def test_what_only_generate_has_is_refused_elsewhere(keywords: dict[str, Any], said: str) -> None:
    async with FakeOllama() as server, pool_of(server) as pool:
        with pytest.raises(TypeError, match=said):
            await pool.chat("llama3.2", "hi", **keywords)


@pytest.mark.parametrize("value", [21, -1, "many", 1.5])
async def test_logprobs_take_a_small_number(value: Any) -> None:
    async with FakeOllama() as server, pool_of(server) as pool:
        with pytest.raises(ValueError, match="from 0 to 20"):
            await pool.chat("llama3.2", "hi", logprobs=value)
