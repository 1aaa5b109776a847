"""What the pool adds to a call: admission, pick, lease, stream and verification, against one bare POST."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx

from bench.fake_server import fake_server
from bench.paired import Ratio, compare
from gleitzeit_nb.llm.pool import OllamaPoolManager

MODEL = "llama3.2"
PROMPT = "one two three four five six seven eight"


async def pool_ratios() -> AsyncIterator[Ratio]:
    async with fake_server() as url, httpx.AsyncClient(base_url=url) as client, OllamaPoolManager([{"id": "one", "url": url}]) as pool:
        body = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}], "stream": False}

        async def ours() -> None:
            reply = await pool.chat(MODEL, PROMPT)
            assert reply.text.split() == PROMPT.split()

        async def control() -> None:
            answer = (await client.post("/api/chat", json=body)).json()
            assert answer["message"]["content"].split() == PROMPT.split()

        yield await compare(
            "a call through the pool", ours, control, against="bare httpx, stream: false", limit=1.25, pairs=300, warm_up=30
        )
