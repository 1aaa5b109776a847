"""What the magics of one shell share: the settings, the way to the engine, and the dashboard."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gleitzeit_nb.jupyter.display.pace import ANSWERS_BYTES_PER_S, Budget
from gleitzeit_nb.jupyter.display.places import Places
from gleitzeit_nb.jupyter.settings import GleitzeitNB

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from gleitzeit_nb.core.threads import Thread
    from gleitzeit_nb.engine import Engine
    from gleitzeit_nb.jupyter.control.comms import ControlTarget
    from gleitzeit_nb.jupyter.dashboard.live import Dashboard
    from gleitzeit_nb.jupyter.jobs.board import JobBoard
    from gleitzeit_nb.runtime import Runtime
    from gleitzeit_nb.sandbox.artifacts import ArtifactFolder


class Front:
    """One per shell. Nothing heavy is imported, and no engine started, before a magic needs it."""

    def __init__(self, shell: InteractiveShell, runtime_of: Callable[[], Runtime] | None = None) -> None:
        self.shell = shell
        self.settings = GleitzeitNB.of(shell)
        self.control: ControlTarget | None = None
        self.threads: dict[str, Thread] = {}  # the conversations of this notebook; they end with its kernel
        self.asked: Counter[str] = Counter()  # how many answers each question was asked for that wanted several at once
        self.budget = Budget(ANSWERS_BYTES_PER_S)
        self.places = Places()
        self._runtime_of = runtime_of or _process_runtime
        self._dashboard: Dashboard | None = None
        self._artifacts: ArtifactFolder | None = None
        self._jobs: JobBoard | None = None

    def __repr__(self) -> str:
        return f"<Front of {type(self.shell).__name__}, {'kernel' if self.in_kernel else 'terminal'}>"

    @property
    def in_kernel(self) -> bool:
        """Whether a front end listens that can update what it shows. A terminal cannot."""
        return getattr(self.shell, "kernel", None) is not None

    @property
    def runtime(self) -> Runtime:
        return self._runtime_of()

    @property
    def current_runtime(self) -> Runtime | None:
        """The runtime if there is one. Looking makes none and imports nothing."""
        return current_process_runtime() if self._runtime_of is _process_runtime else self._runtime_of()

    @property
    def engine(self) -> Engine:
        """Started at the first use, which blocks."""
        return self.runtime.engine

    @property
    def streams(self) -> bool:
        """Whether answers are shown as they arrive."""
        if self.settings.stream is not None:
            return bool(self.settings.stream)
        return self.engine.config.stream

    @property
    def cell_number(self) -> int:
        """Of the running cell, as the notebook shows it; the shell's own counter may already stand on the next."""
        return len(self.shell.history_manager.input_hist_parsed) - 1 if self.shell.history_manager is not None else 0

    def this_cell(self) -> Callable[[], bool]:
        """Tells, at any time, whether the cell that runs now is still the one that runs."""
        number = self.cell_number
        return lambda: self.cell_number == number

    @property
    def artifacts(self) -> ArtifactFolder:
        """What writes the files that runs leave, and remembers which are its own."""
        if self._artifacts is None:
            from gleitzeit_nb.sandbox.artifacts import ArtifactFolder

            self._artifacts = ArtifactFolder()
        return self._artifacts

    @property
    def cell_id(self) -> str:
        """The front end's own name for the running cell, which stays when it runs again; "" where there is none."""
        parent: object = getattr(getattr(self.shell, "kernel", None), "get_parent", dict)()
        name = parent.get("metadata", {}).get("cellId", "") if isinstance(parent, dict) else ""
        return name if isinstance(name, str) else ""

    @property
    def jobs(self) -> JobBoard:
        """What goes on in the background."""
        if self._jobs is None:
            from gleitzeit_nb.jupyter.jobs.board import JobBoard

            self._jobs = JobBoard(self)
        return self._jobs

    def evaluate(self, expression: str) -> Any:
        """The value of a user's expression, in their namespace."""
        return self.shell.ev(expression)  # type: ignore[no-untyped-call]

    def dashboard(self) -> Dashboard:
        """The kernel's one dashboard: every place that shows it is a view of the same widgets."""
        if self._dashboard is None or self._dashboard.closed:
            from gleitzeit_nb.jupyter.dashboard.live import Dashboard

            self._dashboard = Dashboard(self.runtime)
        return self._dashboard

    def close(self) -> None:
        """Cancel the jobs, and close what front ends are connected to. The engine goes on."""
        if self._jobs is not None and (cancelled := self._jobs.close()):
            print(f"Cancelled: {'job' if len(cancelled) == 1 else 'jobs'} {', '.join(map(str, cancelled))}.")  # noqa: T201
        dashboard, self._dashboard = self._dashboard, None
        if dashboard is not None:
            dashboard.close()
        control, self.control = self.control, None
        if control is not None:
            control.close()


def current_process_runtime() -> Runtime | None:
    """As `runtime.current_runtime`; imports nothing, and finds none while another thread still imports that module."""
    current: Callable[[], Runtime | None] | None = getattr(sys.modules.get("gleitzeit_nb.runtime"), "current_runtime", None)
    return None if current is None else current()


def _process_runtime() -> Runtime:
    from gleitzeit_nb.runtime import get_runtime

    return get_runtime()
