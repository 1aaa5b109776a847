"""The magics by name, before they are needed: the module of one is imported when it is first used, or asked for its help."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from IPython.core.magic import Magics, no_var_expand

if TYPE_CHECKING:
    from gleitzeit_nb.jupyter.front import Front

Kind = Literal["cell", "line"]


class Entry(NamedTuple):
    """`of`: the class that has it. `summary`: for lists of all magics; its whole help comes from its own docstring."""

    kind: Kind
    name: str
    of: tuple[str, str]  # module, class
    summary: str


_LLM = ("gleitzeit_nb.jupyter.llm_magic", "LLMMagics")
_GLEITZEIT = ("gleitzeit_nb.jupyter.gleitzeit_magic", "GleitzeitMagics")
_SANDBOX = ("gleitzeit_nb.jupyter.sandbox_magic", "SandboxMagics")
ENTRIES = (
    Entry("cell", "llm", _LLM, "Ask the pool of models; the cell's text is the prompt."),
    Entry("line", "llm", _LLM, "Look at what the pool has and does."),
    Entry("cell", "sandbox", _SANDBOX, "Run the cell's Python code in a sandbox."),
    Entry(
        "line",
        "gleitzeit",
        ("gleitzeit_nb.jupyter.gleitzeit_magic", "GleitzeitMagics"),
        "Look at the pool and the sandbox, and steer them.",
    ),
)


def register(front: Front) -> Callable[[], None]:
    """Put the magics into the front's shell. Returns the way to take them out again."""
    made: dict[tuple[str, str], Magics] = {}

    def instance(of: tuple[str, str]) -> Magics:
        if of not in made:
            module, name = of
            made[of] = getattr(importlib.import_module(module), name)(front)
        return made[of]

    ours = {entry: _at_first_use(entry, instance) for entry in ENTRIES}
    for entry, magic in ours.items():
        front.shell.register_magic_function(magic, entry.kind, entry.name)  # type: ignore[arg-type]

    def unregister() -> None:
        magics = front.shell.magics_manager.magics
        for entry, magic in ours.items():
            if magics[entry.kind].get(entry.name) is magic:  # not one that somebody has put in its place
                del magics[entry.kind][entry.name]
        gone = set(map(id, made.values()))
        front.shell.configurables[:] = [each for each in front.shell.configurables if id(each) not in gone]

    return unregister


def _at_first_use(entry: Entry, instance: Callable[[tuple[str, str]], Magics]) -> Callable[..., Any]:
    def own() -> Callable[..., Any]:
        magic: Callable[..., Any] = instance(entry.of).magics[entry.kind][entry.name]
        return magic

    def magic(*args: str) -> Any:
        return own()(*args)

    magic.__name__ = magic.__qualname__ = entry.name
    magic.__doc__ = entry.summary
    magic.getdoc = lambda: own().__doc__  # type: ignore[attr-defined]  # what IPython's inspector asks first
    return no_var_expand(magic)
