"""One line below a cell that waits for its turn, and gone when it runs."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

from gleitzeit_nb.core.plain import one_line

AFTER_S = 0.5  # a line that would be gone at once is not shown
RUNNING = "running"
NOTHING = {"text/html": "", "text/plain": ""}  # an output without any form is one that nbconvert warns of


class WaitingLine:
    """Told again and again where a run stands. Only a notebook can take a line back, so nothing is shown elsewhere.

    The line has a place of its own, which is emptied: clearing the cell's output would take what stands there already with it, such as
    the answer whose code is to run.
    """

    def __init__(self, *, in_kernel: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._in_kernel = in_kernel
        self._clock = clock
        self._since = clock()
        self._shown = ""
        self._place = {"display_id": uuid.uuid4().hex}
        self._began = False

    def show(self, state: str) -> None:
        """`state` as the sandbox describes it; "" and "running" take the line away."""
        line = "" if state.startswith(RUNNING) else one_line(state, 80)
        if not self._in_kernel or line == self._shown or (line and self._clock() - self._since < AFTER_S):
            return
        from IPython.display import publish_display_data

        data = {"text/plain": line} if line else NOTHING
        publish_display_data(data=data, transient=self._place, update=self._began)  # type: ignore[no-untyped-call]
        self._shown, self._began = line, True
