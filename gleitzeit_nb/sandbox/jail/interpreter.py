"""Which files of this Python a jail must show, and no others.

A prefix can be a home directory or a project (``python -m venv .``), so it is never shown whole: only `lib`, `lib64`, `pyvenv.cfg` and the
interpreter itself. A virtual environment is shown at a path of its own, which it does not mind, and which keeps it out of the way of the
guest's folders when it lies below /tmp; a base installation stays where it is, because its path may be compiled in.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from gleitzeit_nb.errors import SandboxUnavailableError
from gleitzeit_nb.sandbox.bundle import WRITABLE_DIRS

SYSTEM = "/usr"  # shown whole, whatever else is
VIRTUAL = "/venv"


@dataclass(frozen=True)
class Mount:
    """`source` (no link on the way) is to be seen, read-only, at `path`."""

    source: str
    path: str


@dataclass(frozen=True)
class Interpreter:
    """What to run inside, the file that it is (outside), what must be seen beside the system's own files, and links (target, path)."""

    executable: str
    file: str
    mounts: tuple[Mount, ...] = ()
    links: tuple[tuple[str, str], ...] = ()


def running_interpreter() -> Interpreter:
    """This process's own Python, with the packages of its virtual environment."""
    if not sys.executable:
        raise SandboxUnavailableError("This Python does not know its own executable (sys.executable is empty), so it can start no guest.")
    return describe_interpreter(sys.executable, sys.prefix, sys.base_prefix)


def describe_interpreter(executable: str, prefix: str, base_prefix: str) -> Interpreter:
    """`prefix` differs from `base_prefix` in a virtual environment, as in `sys`."""
    real = os.path.realpath(executable)
    mounts: dict[str, str] = {}
    links: list[tuple[str, str]] = []
    shown_otherwise = {"/"} if prefix == base_prefix else {"/", prefix, os.path.realpath(prefix)}
    for folder in dict.fromkeys((base_prefix, os.path.dirname(os.path.dirname(real)))):
        if folder not in shown_otherwise:
            _show_prefix(folder, folder, mounts, links)
    if prefix == base_prefix:
        _show(real, real, mounts)
        return _checked(real, real, mounts, links)
    _show_prefix(prefix, VIRTUAL, mounts, links)
    inside = f"{VIRTUAL}/bin/{os.path.basename(executable)}"
    if real == os.path.join(os.path.realpath(prefix), "bin", os.path.basename(real)):  # made with --copies
        _show(real, inside, mounts)
    else:
        _show(real, real, mounts)
        links.append((real, inside))
    return _checked(inside, real, mounts, links)


def _checked(inside: str, file: str, mounts: dict[str, str], links: list[tuple[str, str]]) -> Interpreter:
    for path in mounts:
        if path.startswith(tuple(f"{folder}/" for folder in WRITABLE_DIRS)):
            raise SandboxUnavailableError(
                f"This Python is installed in {os.path.dirname(path)}, where a restricted guest has its own empty folders"
                f" ({', '.join(WRITABLE_DIRS)}). Use a Python that is installed elsewhere, or docker-sandbox."
            )
    return Interpreter(inside, file, tuple(Mount(source, path) for path, source in mounts.items()), tuple(links))


def _show_prefix(folder: str, inside: str, mounts: dict[str, str], links: list[tuple[str, str]]) -> None:
    for name in ("lib", "lib64", "pyvenv.cfg"):
        path = os.path.join(folder, name)
        if os.path.islink(path) and not os.path.isabs(os.readlink(path)) and not _is_system(inside):
            links.append((os.readlink(path), os.path.join(inside, name)))
        elif os.path.exists(path):
            _show(os.path.realpath(path), os.path.join(inside, name), mounts)


def _show(source: str, path: str, mounts: dict[str, str]) -> None:
    if not _is_system(path):
        mounts[path] = source


def _is_system(path: str) -> bool:
    return path == SYSTEM or path.startswith(SYSTEM + "/")
