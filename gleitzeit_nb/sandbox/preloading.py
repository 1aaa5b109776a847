"""What every run of a guest shall find imported: imported once, before the guest serves, and inherited by each run's fork.

Travels to the guest with its source: standard library only, Python 3.8. The modules are the image's own and run as process 1, so they are
trusted as far as the image is. What requirements brought is not: it is offered to the code alone, after the fork.
"""

from __future__ import annotations

import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

REASON_CHARS = 500
# What the code of a run, or what runs it, often needs. A guest gets it once there is time: it would double the time to the first run.
COMMON = "ast base64 collections contextlib ctypes importlib.util inspect json linecache re signal struct traceback typing".split()


def load(names: list[str]) -> dict[str, Any]:
    """Import in order, up to the first that cannot be: {"preloaded": names, "preload_failed": "why" or ""}."""
    import importlib

    loaded: list[str] = []
    failed = ""
    kept = [os.dup(fd) for fd in (1, 2)]
    null = os.open(os.devnull, os.O_WRONLY)
    for fd in (1, 2):
        os.dup2(null, fd)  # what a module says while it is imported must not get between the frames
    try:
        for name in names:
            importlib.import_module(name)
            loaded.append(name)
    except BaseException as exc:  # noqa: BLE001 - a module may raise anything, SystemExit too, and the host has to be told
        failed = f"{names[len(loaded)]}: {type(exc).__name__}: {exc}"[:REASON_CHARS]
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for fd, copy in zip((1, 2), kept):  # noqa: B905 - Python 3.8 has no strict=
            os.dup2(copy, fd)
            os.close(copy)
        os.close(null)
    return {"preloaded": loaded, "preload_failed": failed}


def furnish() -> None:
    """Import what is common, and keep the collector from copying its pages in each run's process."""
    for name in COMMON:
        __import__(name)
    gc.collect()
    gc.freeze()


def offer(packages: list[str]) -> None:
    """To the code: before the image's own, which they may replace, and behind the standard library; to Pythons that it starts, too."""
    if not packages:
        return
    own = [place for place, path in enumerate(sys.path) if path.endswith("-packages")]
    sys.path[own[0] if own else len(sys.path) :] = [*packages, *(sys.path[own[0] :] if own else [])]
    os.environ["PYTHONPATH"] = os.pathsep.join(packages)
