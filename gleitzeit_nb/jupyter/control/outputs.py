"""What a page asks after it was reloaded: what its outputs show now that were not final when it last saw them.

Page → kernel: {"type": "outputs", "ids": ["…"]}, the ids being those that the outputs' metadata hold. Kernel → page: {"type": "outputs",
"outputs": [{"id": "…", "data": {…}, "metadata": {…}}]}; those that are not in it this kernel does not know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gleitzeit_nb.errors import UsageError

if TYPE_CHECKING:
    from gleitzeit_nb.jupyter.display.places import Places

TYPE = "outputs"
TARGET = "gleitzeit_nb.outputs"  # JupyterLab (4.6) ends the subshell that the comms of a target share when the first of them is closed
MOST_IDS = 200
_ID = re.compile(r"[0-9a-f]{32}\Z")


def asks_for_outputs(data: object) -> bool:
    return isinstance(data, Mapping) and data.get("type") == TYPE


def outputs_message(data: object, places: Places) -> dict[str, Any]:
    """The answer. Raises UsageError for what is not exactly such a question."""
    ids = data.get("ids") if isinstance(data, Mapping) and set(data) == {"type", "ids"} else None
    if not isinstance(ids, list) or len(ids) > MOST_IDS or not all(isinstance(each, str) and _ID.match(each) for each in ids):
        raise UsageError(f"outputs names ids, a list of at most {MOST_IDS} ids of outputs, and nothing more.")
    known = places.now(ids)
    return {"type": TYPE, "outputs": [{"id": each, **shown._asdict()} for each, shown in known.items()]}
