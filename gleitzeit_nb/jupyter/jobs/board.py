"""The background jobs of one kernel."""

from __future__ import annotations

import concurrent.futures
from typing import TYPE_CHECKING

from gleitzeit_nb.errors import UsageError

if TYPE_CHECKING:
    from gleitzeit_nb.jupyter.front import Front
    from gleitzeit_nb.jupyter.jobs.handle import JobHandle, Work

MOST_RUNNING = 50
MOST_KEPT = 100  # of those that have ended
UNLOAD_S = 3.0


class JobBoard:
    """Remembers every job that is running and the last ones that have ended."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._count = 0
        self._jobs: dict[int, JobHandle] = {}

    def __repr__(self) -> str:
        return f"<JobBoard {len(self.running)} running, {len(self._jobs)} known>"

    @property
    def running(self) -> tuple[JobHandle, ...]:
        return tuple(each for each in self._jobs.values() if not each.done)

    @property
    def known(self) -> tuple[JobHandle, ...]:
        """Oldest first."""
        return tuple(self._jobs.values())

    def start(self, work: Work, magic: str, *, streams: bool = True) -> JobHandle:
        """`magic`: how views name it. `streams`: else only its first and last state are shown. UsageError when too many are running."""
        from gleitzeit_nb.jupyter.jobs.handle import JobHandle

        if len(self.running) >= MOST_RUNNING:
            raise UsageError(
                f"{MOST_RUNNING} jobs are running, and no more are started beside them.\n"
                "Wait for one (job.result()), or end some: %llm jobs cancel ID, or --all."
            )
        self._count += 1
        handle = JobHandle(self._front, work, self._count, f"[{self._front.cell_number}] {magic}", streams=streams)
        handle.start()
        self._jobs[handle.id] = handle
        ended = [each.id for each in self._jobs.values() if each.done]
        for number in ended[: max(0, len(ended) - MOST_KEPT)]:
            del self._jobs[number]
        return handle

    def named(self, word: str) -> JobHandle:
        """The job of that number. Raises UsageError."""
        number = word.removeprefix("job-")
        found = self._jobs.get(int(number)) if number.isdecimal() and number.isascii() else None
        if found is None:
            known = ", ".join(map(str, list(self._jobs)[-20:])) or "none; %%llm --bg starts one"
            raise UsageError(f"There is no job {word[:40]!r}.\nThere are: {known}.")
        return found

    def clear(self) -> int:
        """Forget those that have ended; how many there were."""
        ended = [each.id for each in self._jobs.values() if each.done]
        for number in ended:
            del self._jobs[number]
        return len(ended)

    def close(self) -> list[int]:
        """Cancel all that are running, and give them a moment to say so; their numbers."""
        running = self.running
        for each in running:
            each.cancel("the extension was unloaded")
        concurrent.futures.wait([each.future for each in running], timeout=UNLOAD_S)
        return [each.id for each in running]
