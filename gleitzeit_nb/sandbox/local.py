"""The mode `local`: this machine's Python in a process of its own, with no isolation whatever. Off unless the configuration enables it.

What is left is tidiness: a clean environment, a work directory that is emptied and removed, resource limits, and a supervisor that ends
all processes with the run. Code that wants to leave, leaves.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys

from gleitzeit_nb.core.execution import Limits, ModeSettings
from gleitzeit_nb.errors import ConfigError, SandboxUnavailableError
from gleitzeit_nb.sandbox.channel import Expectations, GuestChannel
from gleitzeit_nb.sandbox.jail.commands import Doors, Jail, guest_environment, guest_program, jail_command, jail_message, resource_limits
from gleitzeit_nb.sandbox.jail.enclosure import make_work_directory
from gleitzeit_nb.sandbox.jail.process import GuestProcess, at_once, signal_process, start_process

KIND = "local"
NO_ISOLATION = "no isolation"


class LocalLauncher:
    """A `Launcher`. Whether the mode is enabled is asked before this is used."""

    def __init__(self) -> None:
        self._guests: set[GuestProcess] = set()

    def __repr__(self) -> str:
        return f"<LocalLauncher {NO_ISOLATION}>"

    async def check(self, mode: ModeSettings) -> str:
        if sys.platform != "linux":
            raise SandboxUnavailableError(f"The mode {mode.id!r} was written for Linux, and this is {sys.platform}. Use docker-sandbox.")
        return f"{NO_ISOLATION}: a process of user {os.geteuid()} with resource limits"

    async def launch(self, mode: ModeSettings, limits: Limits, image: str | None) -> GuestChannel:
        if image is not None:
            raise ConfigError(f"The mode {mode.id!r} runs this machine's own Python and has no images; {image!r} needs a docker mode.")
        await self.check(mode)
        directory = make_work_directory(os.geteuid(), root=False)
        doors = Doors(resource_limits(limits, None), address_space=limits.memory_bytes, supervised=True)
        program = guest_program(sys.executable, directory, (directory,), doors)
        environment = guest_environment(mode, limits, sys.executable, directory, directory)
        try:
            message = jail_message(Jail(program, supervise=True, directory=directory))
            pipes = await start_process(jail_command(), environment, tell=at_once(message))
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
            raise
        guest = GuestProcess(
            pipes, KIND, Expectations(weaker=NO_ISOLATION, own_python=True), lambda: signal_process(pipes, signal.SIGTERM), None
        )
        self._guests = {each for each in self._guests if not each.ended} | {guest}
        return guest

    async def aclose(self) -> None:
        await asyncio.gather(*(guest.kill() for guest in self._guests))
        self._guests.clear()
