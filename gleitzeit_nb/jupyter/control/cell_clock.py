"""Since when a cell runs: a page that comes in the middle of one has not heard it begin."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


class CellClock:
    """Made on the shell's own thread, outside of cells or within one. Read from any thread."""

    def __init__(self, shell: InteractiveShell, clock: Callable[[], float] = time.monotonic) -> None:
        self._shell = shell
        self._clock = clock
        within = _request_of(shell) == "execute_request"
        self._depth = int(within)  # a cell may run others: get_ipython().run_cell("…")
        self._since = clock() if within else None
        # Not pre_execute and post_execute: ipykernel reports each message of a comm by these as well.
        shell.events.register("pre_run_cell", self._began)
        shell.events.register("post_run_cell", self._ended)

    def __repr__(self) -> str:
        return f"<CellClock {'idle' if self._since is None else f'{self._clock() - self._since:.1f} s'}>"

    @property
    def running_s(self) -> float | None:
        """How long the cell has been running; None while none is. The cells of a subshell do not count: nothing waits for those."""
        since = self._since
        return None if since is None else self._clock() - since

    def undo(self) -> None:
        self._shell.events.unregister("pre_run_cell", self._began)
        self._shell.events.unregister("post_run_cell", self._ended)

    def _began(self, _info: object) -> None:
        if threading.current_thread() is threading.main_thread():
            self._depth += 1
            if self._depth == 1:
                self._since = self._clock()

    def _ended(self, _result: object) -> None:
        if threading.current_thread() is threading.main_thread():
            self._depth = max(0, self._depth - 1)  # IPython reports no beginning of a cell that is no Python, but its end
            if self._depth == 0:
                self._since = None


def _request_of(shell: InteractiveShell) -> str:
    """What the kernel was last asked for; a configuration that loads extensions does so before anything was."""
    parent: object = getattr(getattr(shell, "kernel", None), "get_parent", dict)()
    header = parent.get("header", {}) if isinstance(parent, dict) else {}
    kind = header.get("msg_type", "") if isinstance(header, dict) else ""
    return kind if isinstance(kind, str) else ""
