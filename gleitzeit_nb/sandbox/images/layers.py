"""Images with the packages of some requirements on top of another image: found, or made from wheels, without any network.

What wheels bring is unpacked in a container under the sandbox's own hardening, taken out of it as one directory, and added to the base by
the daemon. So nothing else that happened in that container can get into the image.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import io
import json
import re
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import IO, TYPE_CHECKING

from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.core.requirements import Requirements
from gleitzeit_nb.errors import ImageMissingError, SandboxUnavailableError
from gleitzeit_nb.sandbox.bundle import PACKAGES_DIR
from gleitzeit_nb.sandbox.daemon import DockerDaemon
from gleitzeit_nb.sandbox.images import building, labels, recipes, resolve, wheels
from gleitzeit_nb.sandbox.images.building import Plan, Progress
from gleitzeit_nb.sandbox.images.layering import ANSWER
from gleitzeit_nb.sandbox.images.workshop import Target, probe, workshop

if TYPE_CHECKING:
    from docker import APIClient

REPOSITORY = "gleitzeit/requirements"
KIND = "requirements"
INSIDE = "/wheels"
FILE = "requirements.txt"
DOCKERFILE = "ARG BASE\nFROM ${{BASE}}\nADD packages.tar {parent}\n"
MOST_WHEEL_BYTES = 4 << 30
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,100}")
_OWN_NAME = re.compile(rf"(^|/){REPOSITORY}:")  # Podman puts localhost/ before it
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Base:
    """The image that a layer is made on."""

    name: str
    id: str


@dataclass(frozen=True)
class Resolved:
    """What a container says that it has unpacked, checked. `replaced`: some of it takes the place of what the base has."""

    packages: tuple[tuple[str, str, str], ...]  # name, version, sha256
    replaced: bool

    @classmethod
    def of(cls, said: str, there: Mapping[str, Path]) -> Resolved:
        """Raises ValueError for what is impossible: it read wheels that may be anybody's."""
        lines = [line for line in said.splitlines() if line.startswith(ANSWER)]
        content = json.loads(lines[-1].removeprefix(ANSWER)) if lines else {}
        packages = tuple((str(name), str(version), str(digest)) for name, version, digest in content["packages"])
        for name, version, digest in packages:
            if not (_WORD.fullmatch(name) and _WORD.fullmatch(version) and _DIGEST.fullmatch(digest) and digest in there):
                raise ValueError(f"an impossible package {name[:40]!r}")
        return cls(packages, bool(content["replaced"]))


async def base_of(image: str | None, daemon: DockerDaemon) -> Base:
    """Raises ImageMissingError."""

    def look(api: APIClient) -> Base:
        name = resolve(api, image)
        return Base(name, str(api.inspect_image(name)["Id"]))  # type: ignore[no-untyped-call]

    return await daemon.call("look for the image", look)


async def find(base: Base, wanted: Requirements, daemon: DockerDaemon) -> str | None:
    """The newest image with exactly these requirements on exactly this base."""
    marks = {labels.BASE: base.id, labels.REQUIREMENTS: wanted.digest}
    # Compared here: Podman does not find values by its filter.
    every = await daemon.call("look for the image", lambda api: api.images(filters={"label": labels.REQUIREMENTS}))
    found = [each for each in every if marks.items() <= (each.get("Labels") or {}).items()]
    named = [(each["Created"], name) for each in found for name in each.get("RepoTags") or () if _OWN_NAME.search(name)]
    return max(named)[1] if named else None


async def find_or_make(base: Base, wanted: Requirements, wheelhouse: Path | None, progress: Progress, daemon: DockerDaemon) -> str:
    """For a run: fetches nothing. Raises ImageMissingError with the command that does."""
    found = await find(base, wanted, daemon)
    if found is not None:
        return found
    try:
        return await make(base, wanted, wheelhouse, progress, daemon)
    except MissingWheelsError as exc:
        raise ImageMissingError(
            f"No image has {wanted.short} on top of {base.name}, and nothing is fetched unasked.\n{exc}\n"
            f"Fetch the wheels and make it: gleitzeit-nb images build --base {base.name} --requirements {_quoted(wanted)} --download"
        ) from exc


class MissingWheelsError(SandboxUnavailableError):
    """The wheels that are there do not do."""


async def make(
    base: Base, wanted: Requirements, wheelhouse: Path | None, progress: Progress, daemon: DockerDaemon, *, download: bool = False
) -> str:
    """The image's name. `wheelhouse` None: the cache, where `download` puts wheels too. Raises SandboxUnavailableError."""
    target = await probe(daemon, base.id)
    cache = wheels.wheel_cache(target)
    folder = wheelhouse or cache
    if download:
        await _fetch(folder, cache, wanted, target, progress)
    there = await asyncio.to_thread(wheels.by_hash, folder)
    pip = await _pip(there, cache)
    if not there or pip is None:
        held = f"{len(there)} wheels" if there else "no wheel"
        raise MissingWheelsError(f"{folder} holds {held}{'' if pip else ', and none of pip'}. With --download they are fetched.")
    progress(f"unpacking {wanted.short} on {base.name}, without network")
    with tempfile.TemporaryDirectory() as scratch:
        unpacked = Path(scratch, "packages.tar")
        resolved = await _unpack(base, wanted, [*there.values(), pip], pip.name, unpacked, daemon, there)
        name = f"{REPOSITORY}:{_key(base, wanted, resolved)}"
        if await daemon.call("look for the image", lambda api: bool(api.images(name=name))):
            progress(f"{name} is there already")
            return name
        marks = _marks(base, wanted, resolved, target)
        plan = Plan(DOCKERFILE.format(parent=f"{Path(PACKAGES_DIR).parent}/"), {"BASE": base.id}, marks, {"packages.tar": unpacked})
        await building.build(name, plan, progress, daemon)
    if resolved.replaced:
        progress("  it replaces packages of the base, so that nothing is imported before a cell does")
    progress(f"{name} holds {', '.join(f'{package} {version}' for package, version, _ in resolved.packages) or 'nothing new'}")
    return name


async def _fetch(folder: Path, cache: Path, wanted: Requirements, target: Target, progress: Progress) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        for text, place in ((wanted.text, folder), (recipes.shipped("pip.txt"), cache)):
            file = Path(scratch, FILE)
            await asyncio.to_thread(file.write_text, text, "utf-8")
            hashed = ["--require-hashes"] if "--hash" in text else []
            await wheels.fetch(place, [*hashed, "-r", str(file)], target, progress)


async def _pip(there: Mapping[str, Path], cache: Path) -> Path | None:
    """The pinned one, from the folder or from the cache."""
    pins = recipes.lock("pip.txt")
    found, _ = wheels.pinned(pins, there)
    if not found:
        found, _ = wheels.pinned(pins, await asyncio.to_thread(wheels.by_hash, cache))
    return found[0] if found else None


async def _unpack(
    base: Base, wanted: Requirements, taken: Sequence[Path], pip: str, into: Path, daemon: DockerDaemon, there: Mapping[str, Path]
) -> Resolved:
    if sum(path.stat().st_size for path in taken) > MOST_WHEEL_BYTES:
        raise SandboxUnavailableError(f"The wheelhouse {taken[0].parent} is too large to be handed over whole: name one with fewer wheels.")
    options = {"pip": pip, "wheels": INSIDE, "requirements": FILE, "hashed": wanted.hashed, "target": PACKAGES_DIR}
    program = f"{_program()}\nmain({options!r})\n"
    async with workshop(daemon, base.id, ["python3", "-I", "-c", program], root=True) as shop:
        with tempfile.TemporaryFile() as archive:
            await asyncio.to_thread(_pack, archive, taken, wanted.text)
            await shop.put("/", archive)
        status, said = await shop.run()
        if status != 0:
            raise MissingWheelsError(f"pip could not resolve it with the wheels of {taken[0].parent}:{_last(said)}")
        try:
            resolved = Resolved.of(said, there)
        except (ValueError, KeyError, TypeError, RecursionError) as exc:
            raise SandboxUnavailableError(f"The container that unpacked the wheels answered what it cannot have found: {exc}") from exc
        with await asyncio.to_thread(into.open, "w+b") as file:
            await shop.take(PACKAGES_DIR, file)
    return resolved


def _pack(archive: IO[bytes], taken: Sequence[Path], requirements: str) -> None:
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path in dict.fromkeys(taken):
            info = tarfile.TarInfo(f"{INSIDE[1:]}/{path.name}")
            info.size = path.stat().st_size
            with path.open("rb") as file:
                tar.addfile(info, file)
        data = requirements.encode("utf-8")
        info = tarfile.TarInfo(f"{INSIDE[1:]}/{FILE}")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
        end = tar.offset + 2 * tarfile.BLOCKSIZE
    archive.truncate(end)  # Podman stops reading there, and breaks the pipe of whoever writes the padding behind it
    archive.seek(0)


def _key(base: Base, wanted: Requirements, resolved: Resolved) -> str:
    content = [recipes.RECIPE, base.id, wanted.digest, sorted(digest for _, _, digest in resolved.packages)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]


def _marks(base: Base, wanted: Requirements, resolved: Resolved, target: Target) -> dict[str, str]:
    from gleitzeit_nb import __version__

    marks = {
        labels.KIND: KIND,
        labels.VERSION: __version__,
        labels.RECIPE: str(recipes.RECIPE),
        labels.BASE: base.id,
        labels.PYTHON: target.version,
        labels.REQUIREMENTS: wanted.digest,
        labels.PACKAGES: " ".join(f"{name}=={version}" for name, version, _ in resolved.packages),
    }
    # A module that process 1 has imported from the base would hide the one that takes its place.
    return {**marks, labels.REPLACED: "true", labels.PRELOAD: ""} if resolved.replaced else marks


def _last(said: str) -> str:
    lines = [one_line(line, 200) for line in said.splitlines() if line.strip()]
    return "".join(f"\n    {line}" for line in lines[-4:])


def _quoted(wanted: Requirements) -> str:
    return f"'{wanted.lines[0]}'" if len(wanted.lines) == 1 and not wanted.hashed else "FILE"


@functools.lru_cache(maxsize=1)
def _program() -> str:
    return resources.files("gleitzeit_nb.sandbox.images").joinpath("layering.py").read_text("utf-8")
