"""The sandbox's image without any registry: a minimal system with python3, from this machine's own distribution's packages."""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gleitzeit_nb.errors import SandboxUnavailableError
from gleitzeit_nb.sandbox.daemon import DockerDaemon
from gleitzeit_nb.sandbox.images import labels, programs
from gleitzeit_nb.sandbox.images.apt import Source
from gleitzeit_nb.sandbox.images.building import Progress, explained
from gleitzeit_nb.sandbox.images.recipes import DEBIAN_PACKAGES

if TYPE_CHECKING:
    from docker import APIClient

LEFT_OUT = ("./dev/*", "./proc/*", "./sys/*", "./run/*", "./tmp/*", "./var/cache/apt/*", "./var/lib/apt/lists/*", "./var/log/*")
LEFT_OUT_DOCS = ("./usr/share/doc/*", "./usr/share/man/*", "./usr/share/locale/*", "./usr/share/info/*")
CHANGES = ("USER 65534:65534", "WORKDIR /work", 'CMD ["python3"]')
IMPORT_S = 600.0


async def bootstrap(name: str, source: Source, marks: Mapping[str, str], progress: Progress, daemon: DockerDaemon) -> None:
    """Make the image `name` with `marks` as labels. Raises SandboxUnavailableError."""
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        raise SandboxUnavailableError(
            "The image is made from the distribution's packages, which takes root and debootstrap (apt-get install debootstrap).\n"
            "Or let it be made otherwise: `gleitzeit-nb images build --pull` fetches a slim Python from the registry, and `--base IMAGE` "
            "takes an image that the daemon has."
        )
    # Not /tmp, which may be small, or forbid programs and device files.
    folder = Path(tempfile.mkdtemp(prefix="gleitzeit-image-", dir="/var/tmp"))
    try:
        progress(f"building {name} from {source.suite} packages of {source.mirror or 'the default mirror'}")
        root = folder / "root"
        # In a mount namespace of its own, so that nothing that is mounted below `root` outlives the command.
        command = ["unshare", "--mount", "--propagation", "private", "debootstrap", "--variant=minbase", "--force-check-gpg"]
        command += [f"--include={','.join(DEBIAN_PACKAGES)}", source.suite, str(root), *([source.mirror] if source.mirror else [])]
        await programs.run(command, _Stages(progress), doing="install the packages")
        await asyncio.to_thread(_without_setuid, root)
        progress("packing")
        archive = folder / "root.tar"
        excluded = [f"--exclude={pattern}" for pattern in LEFT_OUT + LEFT_OUT_DOCS]
        packing = ["tar", "--numeric-owner", *excluded, "-C", str(root), "-cf", str(archive), "."]
        await programs.run(packing, lambda _: None, doing="pack the image")
        progress("importing")
        marks = {**marks, labels.PYTHON: _python(root)}
        work = functools.partial(_import, archive=archive, name=name, marks=marks)
        with explained():
            await daemon.call_apart("import the image", work, timeout_s=IMPORT_S)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


class _Stages:
    """debootstrap says hundreds of lines in ten stages: the first of each."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._seen: set[str] = set()

    def __call__(self, line: str) -> None:
        words = line.removeprefix("I: ").split()
        if line.startswith("I: ") and words and words[0] not in self._seen:
            self._seen.add(words[0])
            self._progress(f"  {words[0]} …")


def _import(api: APIClient, *, archive: Path, name: str, marks: Mapping[str, str]) -> None:
    repository, tag = name.split(":")
    changes = [*CHANGES, *(f'LABEL {key}="{value}"' for key, value in marks.items())]
    answer = api.import_image(src=str(archive), repository=repository, tag=tag, changes=changes)
    if not api.images(name=name):
        raise SandboxUnavailableError(f"The Docker daemon did not import the image: {str(answer)[-500:]}")


def _python(root: Path) -> str:
    link = root / "usr/bin/python3"
    return os.readlink(link).removeprefix("python") if link.is_symlink() else ""


def _without_setuid(root: Path) -> None:
    """no_new_privs makes set-uid programs harmless; not having them is better still."""
    for folder, _, files in os.walk(root):
        for name in files:
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
                os.chmod(path, stat.S_IMODE(mode) & ~(stat.S_ISUID | stat.S_ISGID))
