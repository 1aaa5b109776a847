"""Long chats, interleaved, on HTTP servers that remember one prompt for each slot: how much of what was said before is not read again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import httpx

from bench.fast_server import TOKEN, Kind, fast_servers
from bench.promises import Promise
from bench.prompt_cache import PromptCache
from bench.scaling import MODEL, instances, total
from gleitzeit_nb.core.requests import Message
from gleitzeit_nb.llm.pool import OllamaPoolManager

SERVER = Kind(service_s=0.05, slots=4, read_s=50e-6)
SERVERS = 3
CHATS = 9  # of the twelve that all servers together remember
TURNS = 20
ROUNDS = 3
SAID = 600  # characters of the user, each time
THINKS_S = (0.1, 0.4)
ANSWER = TOKEN * 8


async def conversation_promises() -> AsyncIterator[Promise]:
    best = CHATS * best_of_one_chat()
    shares = [await reused(seed) / best for seed in range(ROUNDS)]
    scene = f"{CHATS} chats of {TURNS} turns on {SERVERS} servers that remember {SERVER.slots} each, over HTTP"
    seen = f"{', '.join(f'{share:.2f}' for share in shares)} of the {best:,} characters that can be: {scene}"
    yield Promise("prefixes reused in long chats", sum(shares) / ROUNDS, 0.95, seen, at_least=True)


async def reused(seed: int) -> float:
    """Characters that new servers did not have to read again."""
    kinds = [SERVER] * SERVERS
    with fast_servers(*kinds) as urls:
        async with OllamaPoolManager(instances(urls, SERVER)) as pool, httpx.AsyncClient(timeout=30) as client:
            await asyncio.gather(*(chat(pool, number, random.Random(CHATS * seed + number)) for number in range(CHATS)))
            return await total(client, urls, "reused")


async def chat(pool: OllamaPoolManager, number: int, rng: random.Random) -> None:
    dialogue: list[Message] = []
    await asyncio.sleep(rng.uniform(*THINKS_S))
    for turn in range(TURNS):
        dialogue.append(said(number, turn))
        reply = await pool.chat(MODEL, dialogue)
        assert reply.text == ANSWER
        dialogue.append({"role": "assistant", "content": reply.text})
        await asyncio.sleep(rng.uniform(*THINKS_S))


def said(number: int, turn: int) -> Message:
    return {"role": "user", "content": f"chat {number}, turn {turn}: ".ljust(SAID, "x")}


def best_of_one_chat() -> int:
    """What a server that forgets nothing would reuse."""
    cache, dialogue = PromptCache(1), ""
    for turn in range(TURNS):
        dialogue += said(0, turn)["content"]
        place, _ = cache.begin(dialogue)
        dialogue += ANSWER
        cache.end(place, dialogue)
    return cache.reused
