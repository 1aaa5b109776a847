"""Making the images of this version's recipes: which base, which way, and what is there already."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.errors import SandboxUnavailableError
from gleitzeit_nb.sandbox.daemon import DockerDaemon
from gleitzeit_nb.sandbox.images import apt, building, debian, labels, recipes, resolve, wheels
from gleitzeit_nb.sandbox.images.building import Plan, Progress
from gleitzeit_nb.sandbox.images.recipes import DATASCIENCE, LATEST, SANDBOX
from gleitzeit_nb.sandbox.images.workshop import Target, probe

if TYPE_CHECKING:
    from docker import APIClient

LOCKS = ("datascience.txt", "pip.txt")


@dataclass(frozen=True)
class Ways:
    """How an image may be made.

    `pull`: on the pinned slim Python, fetched; `base`: on this image, which must be there; neither: the sandbox's from the
    distribution's packages, the data-science image on the sandbox's. `offline`: fetch no wheels, take those of `wheelhouse` or the cache.
    """

    pull: bool = False
    base: str | None = None
    offline: bool = False
    wheelhouse: Path | None = None


async def make(kind: str, ways: Ways, progress: Progress, daemon: DockerDaemon) -> str:
    """The image's name. Does nothing when it is there. Raises SandboxUnavailableError or ImageMissingError."""
    name = await (_sandbox if kind == SANDBOX else _datascience)(ways, progress, daemon)
    repository, tag = LATEST[kind].split(":")
    await daemon.call("name the image", lambda api: api.tag(name, repository, tag))
    progress(f"{name} is ready")
    return name


async def _sandbox(ways: Ways, progress: Progress, daemon: DockerDaemon) -> str:
    if ways.pull or ways.base:
        base = await _base(ways, recipes.pinned_base(), progress, daemon)
        return await _from_dockerfile(SANDBOX, base, {}, progress, daemon)
    source = apt.find_source()
    if source is None:
        raise SandboxUnavailableError(
            "This machine is neither Debian nor Ubuntu: the image cannot be made from its packages, and nothing is pulled unasked.\n"
            "`gleitzeit-nb images build --pull` fetches a slim Python from the registry; `--base IMAGE` takes an image that the daemon has."
        )
    origin = f"{source.suite} {source.mirror}"
    name = recipes.name_of(SANDBOX, origin)
    if not await _there(name, progress, daemon):
        await debian.bootstrap(name, source, _marks(SANDBOX, one_line(origin)), progress, daemon)
    return name


async def _datascience(ways: Ways, progress: Progress, daemon: DockerDaemon) -> str:
    if not ways.base and not await daemon.call("look for the image", lambda api: bool(api.images(name=LATEST[SANDBOX]))):
        await make(SANDBOX, ways, progress, daemon)
    base = await _base(Ways(base=ways.base or LATEST[SANDBOX]), "", progress, daemon)
    name = recipes.name_of(DATASCIENCE, base.id)
    if await _there(name, progress, daemon):
        return name
    target = await probe(daemon, base.id)
    _refuse_other_pythons(target, base.name)
    pins = tuple(pin for name in LOCKS for pin in recipes.lock(name))
    taken = await _wheels(ways, target, pins, progress)
    context: dict[str, str | Path] = {"datascience.txt": recipes.shipped("datascience.txt")}
    context |= {f"wheels/{path.name}": path for path in taken}
    return await _from_dockerfile(DATASCIENCE, base, context, progress, daemon, python=target.version)


@dataclass(frozen=True)
class _Base:
    """By `id`, because a name might make the daemon look for it elsewhere."""

    name: str
    id: str


async def _base(ways: Ways, pinned: str, progress: Progress, daemon: DockerDaemon) -> _Base:
    name = ways.base or pinned
    if ways.base is None:
        await building.pull(name, progress, daemon)

    def look(api: APIClient) -> str:
        resolve(api, name)
        return str(api.inspect_image(name)["Id"])  # type: ignore[no-untyped-call]

    return _Base(name, await daemon.call("look for the base image", look))


async def _from_dockerfile(
    kind: str, base: _Base, context: dict[str, str | Path], progress: Progress, daemon: DockerDaemon, python: str = ""
) -> str:
    name = recipes.name_of(kind, base.id)
    if not await _there(name, progress, daemon):
        progress(f"building {name} from {base.name}")
        python = python or (await probe(daemon, base.id)).version
        marks = {**_marks(kind, base.id), labels.PYTHON: python}
        await building.build(name, Plan(recipes.dockerfile(kind), {"BASE": base.id}, marks, context), progress, daemon)
    return name


async def _there(name: str, progress: Progress, daemon: DockerDaemon) -> bool:
    found = await daemon.call("look for the image", lambda api: bool(api.images(name=name)))
    if found:
        progress(f"{name} is there already")
    return found


async def _wheels(ways: Ways, target: Target, pins: tuple[recipes.Pin, ...], progress: Progress) -> list[Path]:
    """Exactly the pinned ones, fetched where they are missing."""
    folder = ways.wheelhouse or wheels.wheel_cache(target)
    taken, missing = wheels.pinned(pins, wheels.by_hash(folder))
    if missing and not ways.offline:
        with tempfile.TemporaryDirectory() as locks:
            lock = Path(locks, "lock.txt")
            await asyncio.to_thread(lock.write_text, "".join(map(recipes.shipped, LOCKS)), "utf-8")
            await wheels.fetch(folder, ["--require-hashes", "--no-deps", "-r", str(lock)], target, progress)
        taken, missing = wheels.pinned(pins, wheels.by_hash(folder))
    if missing:
        raise SandboxUnavailableError(
            f"The wheels in {folder} are not those that the image is made of. Missing: {', '.join(missing)}.\n"
            "Without --offline they are fetched; or fetch them elsewhere, with the hashes of datascience.txt and pip.txt in this package, "
            f"for Python {target.version} on {target.machine}."
        )
    return taken


def _refuse_other_pythons(target: Target, base: str) -> None:
    oldest, newest = (tuple(map(int, version.split("."))) for version in recipes.PYTHONS)
    if not oldest <= target.python <= newest or target.libc[0] != "glibc":
        libc = "" if target.libc[0] == "glibc" else " without glibc"
        raise SandboxUnavailableError(
            f"{base} has Python {target.version}{libc}, and the data-science image's wheels "
            f"are pinned for {recipes.PYTHONS[0]} to {recipes.PYTHONS[1]} with glibc.\nChoose another base with --base IMAGE."
        )


def _marks(kind: str, base: str) -> dict[str, str]:
    from gleitzeit_nb import __version__

    return {labels.KIND: kind, labels.RECIPE: recipes.recipe(kind), labels.VERSION: __version__, labels.BASE: base}
