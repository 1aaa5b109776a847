"""A process that holds one guest and runs code in it as it is told, one JSON line each way.

Run as a script by `held_guest.py`: as another user, with another Python, or as a host that a test may kill. Standard library and this
package only.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
from typing import Any


class Host:
    def __init__(self, options: dict[str, Any]) -> None:
        from gleitzeit_nb.core.execution import Limits, ModeSettings
        from gleitzeit_nb.sandbox.local import LocalLauncher
        from gleitzeit_nb.sandbox.restricted import RestrictedLauncher

        self.limits = Limits(**options["limits"])
        kind = "local" if options["form"] == "local" else "restricted"
        self.mode = ModeSettings(kind, kind, kind, environment=options["environment"], allow_weaker=True)
        if kind == "local":
            self.launcher: Any = LocalLauncher()
        elif "weaker" in options["form"]:
            self.launcher = RestrictedLauncher(survey=self.without_namespaces)
        else:
            self.launcher = RestrictedLauncher()
        self.connection: Any = None

    async def without_namespaces(self) -> Any:
        from gleitzeit_nb.sandbox.restricted import RestrictedLauncher

        return dataclasses.replace(await RestrictedLauncher().survey(), jail_problem="a test says that user namespaces are refused")

    async def launch(self) -> dict[str, Any]:
        from gleitzeit_nb.sandbox.connection import GuestConnection

        if self.connection is None or not self.connection.usable:
            if self.connection is not None:
                await self.connection.close()
            self.connection = GuestConnection(await self.launcher.launch(self.mode, self.limits, None))
            await self.connection.open()
        channel = self.connection.channel
        return {
            "name": channel.name,
            "pid": int(channel.name.rpartition("-")[2]),
            "facts": self.connection.facts,
            "weaker": channel.expectations.weaker,
            "isolation": await self.launcher.check(self.mode),
            "memory": await channel.memory_bytes(),
            "usable": self.connection.usable,
        }

    async def run(self, code: str, limits: dict[str, Any]) -> dict[str, Any]:
        from gleitzeit_nb.core.execution import ExecutionRequest

        await self.launch()
        wanted = dataclasses.replace(self.limits, **limits)
        result = await self.connection.run(ExecutionRequest("run", code), wanted)
        return {name: getattr(result, name) for name in ("status", "stdout", "stderr", "traceback", "exit_code", "detail")}

    async def kill(self) -> None:
        if self.connection is not None:
            await self.connection.close()

    async def aclose(self) -> None:
        await self.kill()
        await self.launcher.aclose()


async def serve(options: dict[str, Any]) -> None:
    host = Host(options)
    doing = None
    while line := await asyncio.to_thread(sys.stdin.readline):
        asked = json.loads(line)
        doing = asyncio.create_task(answer(getattr(host, asked.pop("do"))(**asked)))
    if doing is not None and not doing.done():
        doing.cancel()
    await host.aclose()


async def answer(work: Any) -> None:
    try:
        said = await work
    except Exception as error:  # noqa: BLE001 - the test reads it and fails
        said = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    sys.path.insert(0, given["source"])
    for procs in given.get("cgroup", ()):
        with open(procs, "w", encoding="ascii") as file:
            file.write(str(os.getpid()))
    if given["uid"] is not None:
        os.setgroups([])
        os.setgid(given["uid"])
        os.setuid(given["uid"])
    asyncio.run(serve(given))
