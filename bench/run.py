"""`make bench`: every figure is a ratio against a control of the same run. Exits 1 when a promise is missed.

python -m bench.run                 all
python -m bench.run pool sandbox    some
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable

from bench.imports import import_ratios
from bench.paired import Ratio
from bench.pool import pool_ratios
from bench.sandbox import sandbox_ratios

GROUPS: dict[str, Callable[[], AsyncIterator[Ratio]]] = {
    "import": import_ratios,
    "pool": pool_ratios,
    "sandbox": sandbox_ratios,
}


async def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in GROUPS]
    if unknown:
        print(f"unknown group {unknown[0]!r}; there are: {', '.join(GROUPS)}")
        return 2
    missed = 0
    for name in names or list(GROUPS):
        async for ratio in GROUPS[name]():
            print(ratio.line(), flush=True)
            missed += not ratio.held
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
