"""Who stands before the queue while it has no room: requests that would rather wait there than fail, such as those of a map."""

from __future__ import annotations

import asyncio
from collections import deque

from gleitzeit_nb.errors import EngineClosedError


class Outside:
    """In order of arrival. Each is let in to try, one after the other; who finds no room comes back to the front."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def __repr__(self) -> str:
        return f"<Outside {len(self)} waiting>"

    async def wait(self, timeout_s: float | None, *, again: bool) -> bool:
        """Until there may be room; False: time ran out. `again`: it has been let in already, and came too late."""
        future = asyncio.get_running_loop().create_future()
        if again:
            self._waiting.appendleft(future)
        else:
            self._waiting.append(future)
        try:
            await asyncio.wait({future}, timeout=timeout_s)
        except asyncio.CancelledError:
            if future.done():
                self.let_in()  # the next one, in its place
            raise
        finally:
            if not future.done():
                self._waiting.remove(future)
        if not future.done():
            return False
        future.result()
        return True

    def let_in(self) -> None:
        """There may be room for one. Synchronous; costs nothing while nobody is there."""
        if self._waiting:
            self._waiting.popleft().set_result(None)

    def close(self) -> None:
        """Nobody will be let in any more."""
        while self._waiting:
            self._waiting.popleft().set_exception(EngineClosedError("the pool was closed while the request waited for room in its queue"))
