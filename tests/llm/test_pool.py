"""The pool on servers that behave: asking, streaming, waiting, names."""

from __future__ import annotations

import asyncio

import pytest

from gleitzeit_nb.core.settings import PoolSettings
from gleitzeit_nb.llm.pool import OllamaPoolManager
from tests.support.fake_ollama import FakeOllama


async def test_chat_returns_the_whole_answer_and_who_gave_it() -> None:
    async with FakeOllama("a") as server, OllamaPoolManager(settings=PoolSettings(instances=(server.settings(),))) as pool:
        reply = await pool.chat("llama3.2", "Hello there")
    assert reply.text == "Hello there "
    assert (reply.model, reply.instance) == ("llama3.2", "a")
    assert reply.usage.completion_tokens == 2
    assert reply.route.attempts[0].outcome == "ok"
    assert reply.route.candidates == (("a", "picked: 0/4 in flight"),)
