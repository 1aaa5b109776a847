"""What a pool is while it is open: its parts, the loop that they live on, and the upkeep of models that runs beside its requests."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gleitzeit_nb.core.settings import PoolSettings
from gleitzeit_nb.errors import EngineClosedError, WrongLoopError
from gleitzeit_nb.llm.parts import Parts
from gleitzeit_nb.llm.upkeep import Complete, Upkeep


class Opened:
    """Made on the loop that it lives on. `begin` once, then `end`; a pool that was not begun whole may be ended too."""

    def __init__(self, parts: Parts, complete: Complete) -> None:
        self.parts = parts
        self._loop = asyncio.get_running_loop()
        self._upkeep: Upkeep | None = Upkeep(parts, complete)

    def __repr__(self) -> str:
        return f"<Opened {len(self.parts.members)} instances, {self._upkeep!r}>"

    async def begin(self, settings: PoolSettings) -> None:
        """Look at every instance once."""
        if self.parts.memory.recording is None:  # which answers in place of all instances
            for each in settings.instances:
                self.parts.members.add(each)
            await self.parts.health.look(self.parts.members)
            self.preload(settings.preload)

    def here(self) -> Parts:
        """The parts, if this is their loop."""
        if asyncio.get_running_loop() is not self._loop:
            raise WrongLoopError("this pool lives on the event loop that initialised it: make one pool per loop, or use ask()")
        return self.parts

    @property
    def upkeep(self) -> Upkeep:
        if self._upkeep is None:
            raise EngineClosedError("the pool is closing")
        return self._upkeep

    def preload(self, models: Sequence[str]) -> None:
        if self._upkeep is not None:
            self._upkeep.preload(models)

    async def end_upkeep(self) -> None:
        """The first step of an end: its loads are requests of the pool, which is still open."""
        upkeep, self._upkeep = self._upkeep, None
        if upkeep is not None:
            await upkeep.close()

    async def end(self) -> None:
        """Who waits or is being answered hears EngineClosedError."""
        self.parts.closed = True
        self.parts.dispatcher.close()
        await asyncio.gather(self.parts.health.close(), self.parts.showings.close())
        await self.parts.members.close()
