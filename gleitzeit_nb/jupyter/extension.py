"""`%load_ext gleitzeit_nb` and its undoing. Loading registers; it imports nothing heavy, starts no thread and asks no network."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gleitzeit_nb.jupyter import registering
from gleitzeit_nb.jupyter.completion.matcher import offer
from gleitzeit_nb.jupyter.failures import BriefErrors
from gleitzeit_nb.jupyter.front import Front, current_process_runtime

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from gleitzeit_nb.runtime import Runtime

_ATTRIBUTE = "_gleitzeit_nb_loaded"


class Loaded:
    """What was registered in one shell."""

    def __init__(self, shell: InteractiveShell, runtime_of: Callable[[], Runtime] | None) -> None:
        self.front = Front(shell, runtime_of)
        self._forget_magics = registering.register(self.front)
        shell.configurables.append(self.front.settings)  # type: ignore[arg-type]
        self._forget_completion = offer(self.front)
        self._errors = BriefErrors(self.front)
        manager = getattr(getattr(shell, "kernel", None), "comm_manager", None)
        if manager is not None:
            from gleitzeit_nb.jupyter.control.comms import ControlTarget

            self.front.control = ControlTarget(self.front, manager)

    def undo(self) -> None:
        shell = self.front.shell
        self.front.close()
        self._forget_completion()
        self._errors.undo()
        self._forget_magics()
        shell.configurables[:] = [each for each in shell.configurables if id(each) != id(self.front.settings)]


def load(shell: InteractiveShell, runtime_of: Callable[[], Runtime] | None = None) -> Front:
    """Register the magics. Loading twice changes nothing. `runtime_of`: where the engine comes from; default: the process's runtime."""
    loaded: Loaded | None = getattr(shell, _ATTRIBUTE, None)
    if loaded is None:
        loaded = Loaded(shell, runtime_of)
        setattr(shell, _ATTRIBUTE, loaded)
    return loaded.front


def unload(shell: InteractiveShell) -> None:
    """Take back what `load` did, and stop the engine. Unloading what is not loaded changes nothing."""
    loaded: Loaded | None = getattr(shell, _ATTRIBUTE, None)
    if loaded is not None:
        delattr(shell, _ATTRIBUTE)
        loaded.undo()
        _stop_engine()


def _stop_engine() -> None:
    current = current_process_runtime()
    if current is not None:
        current.close()
