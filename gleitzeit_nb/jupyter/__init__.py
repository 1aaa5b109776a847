"""The notebook's side: magics, what they show, the dashboard, and the line to the side panel.

The only package that imports IPython or ipywidgets. `extension` loads it into a shell; `front` is what the magics share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def load_ipython_extension(shell: object) -> None:
    from gleitzeit_nb.jupyter.extension import load

    load(cast("InteractiveShell", shell))


def unload_ipython_extension(shell: object) -> None:
    from gleitzeit_nb.jupyter.extension import unload

    unload(cast("InteractiveShell", shell))
