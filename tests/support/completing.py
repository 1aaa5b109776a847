"""Tab as a front end asks for it."""

from __future__ import annotations

from IPython.core.completer import provisionalcompleter

from tests.support.shell import Shell

Completed = dict[str, str]  # each offer: the cell as it would stand then


def completed(shell: Shell, cell: str, at: int | None = None) -> Completed:
    """What is offered at the cursor (default: the end), by the API of `complete_request`."""
    place = len(cell) if at is None else at
    with provisionalcompleter():
        found = list(shell.ip.Completer.completions(cell, place))
    return {each.text: cell[: each.start] + each.text + cell[each.end :] for each in found}


def offered(shell: Shell, cell: str, at: int | None = None) -> list[str]:
    return list(completed(shell, cell, at))
