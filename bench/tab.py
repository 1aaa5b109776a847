"""How long Tab takes behind `-m` in a kernel whose pool is large and busy."""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

from bench.promises import Promise, at_most
from bench.telemetry import INSTANCES, Fleet
from gleitzeit_nb.jupyter import extension
from gleitzeit_nb.runtime import Runtime

NAMES = tuple(f"family-{number // 5}:{number % 5}b" for number in range(50))
LINE = "%%llm -m family"
PRESSES = 100


async def tab_promises() -> AsyncIterator[Promise]:
    with ThreadPoolExecutor(max_workers=1) as thread:  # as in a kernel: its own thread, beside the engine's
        for promise in await asyncio.get_running_loop().run_in_executor(thread, lambda: list(_measured())):
            yield promise


def _measured() -> Iterator[Promise]:
    runtime = Runtime()
    shell = InteractiveShell.instance()
    try:
        runtime.configure({"instances": []})
        fleet = Fleet(runtime.engine)
        runtime.call(_grow(fleet))
        own = _pressed(shell, fleet, runtime)
        front = extension.load(shell, lambda: runtime)
        ours = _pressed(shell, fleet, runtime)
        offered = _offered(shell)
        extension.unload(front.shell)
    finally:
        runtime.close()
        if shell.history_manager is not None:
            shell.history_manager.end_session()
        InteractiveShell.clear_instance()
    if len(offered) != len(NAMES):
        raise RuntimeError(f"Tab offered {len(offered)} models of {len(NAMES)}")
    seen = f"median {statistics.median(ours):.1f}; IPython's own completion of it: {_p95(own):.1f}, median {statistics.median(own):.1f}"
    yield at_most(f"Tab: {INSTANCES} instances of {len(NAMES)} models (p95)", _p95(ours), 100, seen, "ms")


async def _grow(fleet: Fleet) -> None:
    await fleet.grow()
    fleet.learn(NAMES)


async def _moment(fleet: Fleet) -> None:
    fleet.picture()


def _pressed(shell: InteractiveShell, fleet: Fleet, runtime: Runtime) -> list[float]:
    """Milliseconds of each; between two of them every instance does something."""
    took_ms = []
    for _ in range(PRESSES):
        runtime.call(_moment(fleet))
        begun = time.perf_counter()
        _offered(shell)
        took_ms.append((time.perf_counter() - begun) * 1000)
    return took_ms


def _offered(shell: InteractiveShell) -> list[str]:
    with provisionalcompleter():
        return [each.text for each in shell.Completer.completions(LINE, len(LINE))]


def _p95(values: list[float]) -> float:
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]
