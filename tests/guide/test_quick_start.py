"""The guide's quick start: a provider over two servers. Rewrites: import path, hosts (see `rewrites`)."""

from __future__ import annotations

from tests.guide.rewrites import rewritten
from tests.support.examples import run
from tests.support.fake_ollama import FakeOllama

QUICK_START = """
from gleitzeit.providers.ollama_pool_provider import OllamaPoolProvider

provider = OllamaPoolProvider(
    provider_id="ollama_pool",
    instances=[
        {"id": "primary", "url": "http://localhost:11434", "models": ["llama3.2", "codellama"], "max_concurrent": 5},
        {"id": "secondary", "url": "http://localhost:11435", "models": ["llama3.2", "mistral"], "max_concurrent": 5},
    ],
)
await provider.initialize()
result = await provider.execute(
    method="llm/chat",
    params={"model": "llama3.2", "messages": [{"role": "user", "content": "Good morning!"}]},
)
"""


async def test_a_provider_answers_from_one_of_its_two_servers() -> None:
    models = ["llama3.2:latest", "codellama:latest", "mistral:latest"]
    async with FakeOllama(models=models) as primary, FakeOllama(models=models) as secondary:
        names = await run(rewritten(QUICK_START, [primary.url, secondary.url]))
        provider, result = names["provider"], names["result"]
        assert (result["response"], result["model"]) == ("Good morning! ", "llama3.2")
        assert result["message"] == {"role": "assistant", "content": "Good morning! "}
        assert result["instance"] in ("primary", "secondary")
        for model, only in (("codellama", "primary"), ("mistral", "secondary")):
            answer = await provider.execute("llm/chat", {"model": model, "messages": [{"role": "user", "content": "x"}]})
            assert answer["instance"] == only
        status = await provider.pool.get_pool_status()
        assert [each["max_concurrent"] for each in status["instances"].values()] == [5, 5]
        await provider.close()
        assert len(primary.asked) + len(secondary.asked) == 3
