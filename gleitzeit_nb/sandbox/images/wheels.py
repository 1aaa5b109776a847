"""Wheels on this machine: where they lie, which of them a lock takes, and fetching what is missing without running anybody's code."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from gleitzeit_nb.config import cache_directory
from gleitzeit_nb.errors import SandboxUnavailableError
from gleitzeit_nb.sandbox.images import programs
from gleitzeit_nb.sandbox.images.building import Progress
from gleitzeit_nb.sandbox.images.recipes import Pin
from gleitzeit_nb.sandbox.images.workshop import Target

OLDEST_GLIBC = 17  # manylinux2014, the oldest that today's packages still build for
MUSL = ("musllinux_1_2", "musllinux_1_1")


def wheel_cache(target: Target) -> Path:
    """Where fetched wheels for such a Python are kept."""
    return cache_directory() / "wheels" / f"{target.version}-{target.machine}"


def by_hash(folder: Path) -> dict[str, Path]:
    """The wheels of a folder by their sha256."""
    return {_sha256(path): path for path in sorted(folder.glob("*.whl"))} if folder.is_dir() else {}


def pinned(pins: Iterable[Pin], there: Mapping[str, Path]) -> tuple[list[Path], list[str]]:
    """(wheels that the pins take, names of the pins for which there is none)."""
    taken, missing = [], []
    for pin in pins:
        found = sorted(path for digest, path in there.items() if digest in pin.hashes)
        taken += found
        missing += [] if found else [f"{pin.name} {pin.version}"]
    return taken, missing


async def fetch(folder: Path, what: Sequence[str], target: Target, progress: Progress) -> None:
    """Let pip fetch wheels that fit `target`; `what` are its words for them. No source is built, so that nobody's code runs here.

    Raises SandboxUnavailableError.
    """
    if importlib.util.find_spec("pip") is None:
        raise SandboxUnavailableError(
            f"Wheels are fetched with pip, and this Python has none ({sys.executable}).\n"
            "Install it (python3 -m ensurepip), or put the wheels into a folder and name it: --wheelhouse DIR."
        )
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    command += ["--only-binary", ":all:", "--dest", str(folder), *_fitting(target), *what]
    progress(f"fetching wheels for Python {target.version} on {target.machine} into {folder}")
    await programs.run(command, _Fetched(progress), doing="fetch the wheels")


def _fitting(target: Target) -> list[str]:
    """As pip's options. The tags are those of PEP 600 and 656."""
    compact = f"cp{target.python[0]}{target.python[1]}"
    words = ["--implementation", "cp", "--python-version", target.version]
    for abi in (compact, "abi3", "none"):
        words += ["--abi", abi]
    for platform in _platforms(target):
        words += ["--platform", f"{platform}_{target.machine}"]
    return words


def _platforms(target: Target) -> Iterable[str]:
    name, version = target.libc
    if name != "glibc":
        return MUSL
    newest = int(version.partition(".")[2].partition(".")[0] or OLDEST_GLIBC)
    return [*(f"manylinux_2_{minor}" for minor in range(newest, OLDEST_GLIBC - 1, -1)), "manylinux2014"]


class _Fetched:
    """pip's lines, of which those that name a file go on."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __call__(self, line: str) -> None:
        words = line.split()
        if len(words) > 1 and words[0] == "Downloading" and ".whl" in line:
            self._progress(f"  {words[1].rpartition('/')[2]}")


async def sha256_of(path: Path) -> str:
    return await asyncio.to_thread(_sha256, path)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
