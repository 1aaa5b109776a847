"""The guide's way from one server to several. Rewrites: hosts (see `rewrites`)."""

from __future__ import annotations

from gleitzeit_nb import OllamaPoolProvider, OllamaProvider
from tests.guide.rewrites import rewritten
from tests.support.examples import run
from tests.support.fake_ollama import FakeOllama

BEFORE = """
provider = OllamaProvider(
    provider_id="ollama",
    ollama_url="http://localhost:11434"
)
"""

AFTER = """
provider = OllamaPoolProvider(
    provider_id="ollama_pool",
    instances=[
        {"id": "primary", "url": "http://localhost:11434"},
        {"id": "backup", "url": "http://backup:11434"}
    ]
)
"""

QUESTION = {"model": "llama3.2", "messages": [{"role": "user", "content": "the same"}]}


async def test_the_same_call_works_before_and_after() -> None:
    async with FakeOllama() as primary, FakeOllama() as backup:
        before = await run(rewritten(BEFORE, [primary.url]), {"OllamaProvider": OllamaProvider})
        after = await run(rewritten(AFTER, [primary.url, backup.url]), {"OllamaPoolProvider": OllamaPoolProvider})
        answers = []
        async with before["provider"] as single, after["provider"] as pool:
            for provider in (single, pool):
                answer = await provider.execute("llm/chat", QUESTION)
                answers.append((answer["response"], answer["model"], set(answer)))
            assert answers[0] == answers[1]
            await primary.die()
            assert (await pool.execute("llm/chat", QUESTION))["instance"] == "backup"
