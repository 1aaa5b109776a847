"""A kernel of its own for the tests of shared slots: `python -m tests.llm.slot_user URL LIMIT COUNT [fork]`.

Asks COUNT times at once (LIMIT 0: no max_concurrent), says `asking`, and `done` with the receipts' longest wait at the end. With `fork`
it forks a child, once a request is under way, that sleeps for a minute, and says its pid.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from gleitzeit_nb.core.instances import InstanceSettings
from gleitzeit_nb.core.settings import PoolSettings
from gleitzeit_nb.llm.pool import OllamaPoolManager


async def main(url: str, limit: int, count: int, forks: bool) -> None:
    instance = InstanceSettings("a", url, max_concurrent=limit or None)
    async with OllamaPoolManager(settings=PoolSettings(instances=(instance,))) as pool:
        asking = [asyncio.create_task(pool.chat("llama3.2", "one two")) for _ in range(count)]
        while not pool.in_flight and not all(task.done() for task in asking):  # noqa: ASYNC110 - the pool has no event for it
            await asyncio.sleep(0.005)
        print("asking", flush=True)
        if forks:
            print("child", fork(), flush=True)
        await asyncio.gather(*asking)
        print("done", max(receipt.timings.queue_s for receipt in pool.receipts()), flush=True)


def fork() -> int:
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        time.sleep(60)
        os._exit(0)
    return child


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), "fork" in sys.argv[4:]))
