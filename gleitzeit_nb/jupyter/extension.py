"""`%load_ext gleitzeit_nb` and its undoing. Loading registers; it imports nothing heavy, starts no thread and asks no network."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from gleitzeit_nb.jupyter import completion
from gleitzeit_nb.jupyter.failures import BriefErrors
from gleitzeit_nb.jupyter.front import Front
from gleitzeit_nb.jupyter.gleitzeit_magic import GleitzeitMagics
from gleitzeit_nb.jupyter.llm_magic import LLMMagics
from gleitzeit_nb.jupyter.sandbox_magic import SandboxMagics

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.core.magic import Magics

    from gleitzeit_nb.runtime import Runtime

MAGICS = {"cell": ("llm", "sandbox"), "line": ("llm", "gleitzeit")}
_ATTRIBUTE = "_gleitzeit_nb_loaded"


class Loaded:
    """What was registered in one shell."""

    def __init__(self, shell: InteractiveShell, runtime_of: Callable[[], Runtime] | None) -> None:
        self.front = Front(shell, runtime_of)
        self._magics: list[Magics] = [LLMMagics(self.front), SandboxMagics(self.front), GleitzeitMagics(self.front)]
        shell.register_magics(*self._magics)
        shell.configurables.append(self.front.settings)  # type: ignore[arg-type]
        self._forget_completion = completion.register(self.front)
        self._errors = BriefErrors(self.front)
        manager = getattr(getattr(shell, "kernel", None), "comm_manager", None)
        if manager is not None:
            from gleitzeit_nb.jupyter.comms import ControlTarget

            self.front.control = ControlTarget(self.front, manager.register_target, manager.unregister_target)

    def undo(self) -> None:
        shell = self.front.shell
        self.front.close()
        self._forget_completion()
        self._errors.undo()
        for kind, names in MAGICS.items():
            for name in names:
                shell.magics_manager.magics[kind].pop(name, None)
        gone = {id(each) for each in (*self._magics, self.front.settings)}
        shell.configurables[:] = [each for each in shell.configurables if id(each) not in gone]
        for each in self._magics:
            shell.magics_manager.registry.pop(type(each).__name__, None)


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
    runtime_module = sys.modules.get("gleitzeit_nb.runtime")
    current = runtime_module.current_runtime() if runtime_module is not None else None
    if current is not None:
        current.close()
