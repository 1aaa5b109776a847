"""`make bench`: every figure is a ratio against a control of the same run, or a count. Exits 1 when a promise is missed.

python -m bench.run                 all
python -m bench.run calls sandbox   some
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable

from bench.calls import call_promises
from bench.conversations import conversation_promises
from bench.faults import fault_promises
from bench.front import front_promises
from bench.haproxy import haproxy_promises
from bench.imports import import_promises
from bench.loads import load_promises
from bench.promises import Promise
from bench.routing import routing_promises
from bench.sandbox import sandbox_promises
from bench.sandbox_datascience import datascience_promises
from bench.sandbox_output import output_promises
from bench.sandbox_restricted import restricted_promises
from bench.scaling import scaling_promises
from bench.streaming import streaming_promises
from bench.tab import tab_promises
from bench.telemetry import telemetry_promises

GROUPS: dict[str, Callable[[], AsyncIterator[Promise]]] = {
    "import": import_promises,
    "routing": routing_promises,
    "calls": call_promises,
    "scaling": scaling_promises,
    "chats": conversation_promises,
    "faults": fault_promises,
    "haproxy": haproxy_promises,
    "loads": load_promises,
    "sandbox": sandbox_promises,
    "restricted": restricted_promises,
    "output": output_promises,
    "datascience": datascience_promises,
    "telemetry": telemetry_promises,
    "tab": tab_promises,
    "front": front_promises,
    "streaming": streaming_promises,
}


async def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in GROUPS]
    if unknown:
        print(f"unknown group {unknown[0]!r}; there are: {', '.join(GROUPS)}")
        return 2
    missed = 0
    for name in names or list(GROUPS):
        async for promise in GROUPS[name]():
            print(promise.line(), flush=True)
            missed += not promise.held
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
