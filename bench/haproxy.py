"""One of three servers is five times slower: how much of the work it gets, and the slowest answers against HAProxy's `leastconn`.

Arrivals are the same for both. HAProxy is told of the same slots (`maxconn`), so that it too queues what nobody can take. It knows
neither models nor what is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from bench.calls import PROMPT, body_for
from bench.fast_server import Kind, fast_servers
from bench.promises import Promise
from bench.scaling import MODEL, instances, total
from gleitzeit_nb.llm.pool import OllamaPoolManager
from tests.provision import StepError, may_install, run_quietly

FAST = Kind(service_s=0.05, slots=2)
SLOW = Kind(service_s=0.25, slots=2)
FLEET = (FAST, FAST, SLOW)
LOAD = 0.6  # of what all slots together can do
CALLS = 400
ROUNDS = 3


async def haproxy_promises() -> AsyncIterator[Promise]:
    program = haproxy()
    with fast_servers(*FLEET) as urls, contextlib.ExitStack() as stack:
        front = stack.enter_context(balanced(program, urls)) if program is not None else None
        async with OllamaPoolManager(instances(urls, FAST)) as pool, httpx.AsyncClient(timeout=60) as client:
            scene = SlowOne(pool, client, urls, front)
            yield await scene.share()
            if front is None:
                print("haproxy: not measured, it is not installed (as root on Debian: apt-get install haproxy)")
            else:
                yield scene.tail()


class SlowOne:
    """`share` measures, also for `tail`, where there is an HAProxy (`front`)."""

    def __init__(self, pool: OllamaPoolManager, client: httpx.AsyncClient, urls: Sequence[str], front: str | None) -> None:
        self._pool = pool
        self._client = client
        self._urls = urls
        self._front = front
        self._tails: tuple[list[float], list[float]] = ([], [])

    async def share(self) -> Promise:
        """Of the calls of the pool, those that the slow one answered."""
        given = 0.0
        for seed in range(ROUNDS):
            for which in (0, 1) if seed % 2 else (1, 0):
                if which == 0:
                    given -= await total(self._client, self._urls[-1:], "answered")
                    self._tails[0].append(await p99(self._ours, random.Random(seed)))
                    given += await total(self._client, self._urls[-1:], "answered")
                elif self._front is not None:
                    self._tails[1].append(await p99(self._control, random.Random(seed)))
        rates = [kind.slots / kind.service_s for kind in FLEET]
        by_capacity, share = rates[-1] / sum(rates), given / (ROUNDS * CALLS)
        seen = f"{share:.1%} of {ROUNDS * CALLS} calls against {by_capacity:.1%} by capacity, {LOAD:.0%} load, over HTTP"
        return Promise("one of three 5× slower: its share", share / by_capacity, 1.1, seen)

    def tail(self) -> Promise:
        mine, others = map(statistics.median, self._tails)
        seen = f"{mine * 1000:.0f} ms against {others * 1000:.0f} ms: HAProxy leastconn, {LOAD:.0%} load, {ROUNDS} × {CALLS} calls each"
        return Promise("one of three 5× slower: p99", mine / others, 1.0, seen)

    async def _ours(self) -> None:
        await self._pool.chat(MODEL, PROMPT)

    async def _control(self) -> None:
        (await self._client.post(f"{self._front}/api/chat", json=body_for(MODEL, True))).raise_for_status()


async def p99(call: Callable[[], Awaitable[None]], rng: random.Random) -> float:
    """Of calls that arrive by chance, as fast as the servers can take, whoever still waits."""
    loop = asyncio.get_running_loop()
    rate = LOAD * sum(kind.slots / kind.service_s for kind in FLEET)

    async def timed() -> float:
        begin = loop.time()
        await call()
        return loop.time() - begin

    tasks = []
    due = loop.time()
    for _ in range(CALLS):
        due += rng.expovariate(rate)
        await asyncio.sleep(max(0.0, due - loop.time()))
        tasks.append(asyncio.ensure_future(timed()))
    return statistics.quantiles(await asyncio.gather(*tasks), n=100)[98]


def haproxy() -> str | None:
    """Debian's; installed where we may."""
    if shutil.which("haproxy") is None and may_install():
        try:
            run_quietly("apt", ["apt-get", "-y", "-qq", "update"], DEBIAN_FRONTEND="noninteractive")
            run_quietly("apt", ["apt-get", "-y", "-qq", "install", "--no-install-recommends", "haproxy"], DEBIAN_FRONTEND="noninteractive")
        except (StepError, OSError):
            return None
    return shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")


@contextmanager
def balanced(program: str, urls: Sequence[str]) -> Iterator[str]:
    """The URL of an HAProxy before these servers, in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    servers = [f"  server s{number} {url.removeprefix('http://')} maxconn {FAST.slots}" for number, url in enumerate(urls)]
    rows = [
        "defaults",
        "  mode http",
        "  timeout connect 2s",
        "  timeout client 60s",
        "  timeout server 60s",
        "  timeout queue 60s",
        f"listen front\n  bind 127.0.0.1:{port}",
        "  balance leastconn",
        *servers,
    ]
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder) / "haproxy.cfg"
        configuration.write_text("\n".join(rows) + "\n")
        with subprocess.Popen([program, "-q", "-db", "-f", str(configuration)]) as process:
            try:
                wait_for(port)
                yield f"http://127.0.0.1:{port}"
            finally:
                process.terminate()


def wait_for(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            probe.settimeout(0.05)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError("HAProxy does not listen")
