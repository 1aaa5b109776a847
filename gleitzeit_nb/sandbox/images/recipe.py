"""Making the sandbox's image: a minimal system with python3 from the distribution's packages, or a slim Python that is pulled.

The guest arrives over stdin and the profile brings every writable directory, so that the image holds nothing of ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import io
import json
import os
import shutil
import signal
import stat
import tempfile
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gleitzeit_nb.errors import SandboxUnavailableError
from gleitzeit_nb.sandbox.daemon import DockerDaemon
from gleitzeit_nb.sandbox.images import REPOSITORY
from gleitzeit_nb.sandbox.images.apt import Source, find_source

if TYPE_CHECKING:
    from docker import APIClient

PULLED = "python:3.11-slim"
PACKAGES = ("python3",)
RECIPE = 1  # to be raised when what is done with the packages changes
LABEL = "gleitzeit.image"
LEFT_OUT = ("./dev/*", "./proc/*", "./sys/*", "./run/*", "./tmp/*", "./var/cache/apt/*", "./var/lib/apt/lists/*", "./var/log/*")
LEFT_OUT_DOCS = ("./usr/share/doc/*", "./usr/share/man/*", "./usr/share/locale/*", "./usr/share/info/*")
IMPORT_S = 600.0
PULL_S = 1800.0

Progress = Callable[[str], None]


async def make(progress: Progress, *, pull: bool, daemon: DockerDaemon) -> str:
    """The image's name. Does nothing when it is there. Raises SandboxUnavailableError with what is missing."""
    source = None if pull else find_source()
    content = [RECIPE, PULLED] if source is None else [RECIPE, source.suite, source.mirror, *PACKAGES]
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]
    name = f"{REPOSITORY}:{digest}"
    if await daemon.call("look for the image", lambda api: bool(api.images(name=name))):
        progress(f"{name} is there already")
    elif source is None:
        await _pull(name, digest, progress, daemon)
    else:
        await _bootstrap(name, digest, source, progress, daemon)
    await daemon.call("name the image", lambda api: api.tag(name, REPOSITORY, "latest"))
    progress(f"{name} is ready")
    return name


async def _pull(name: str, digest: str, progress: Progress, daemon: DockerDaemon) -> None:
    progress(f"pulling {PULLED}")
    loop = asyncio.get_running_loop()

    def pull(api: APIClient) -> None:
        shown = ""
        for event in api.pull(PULLED, stream=True, decode=True):
            status = str(event.get("status", ""))
            if status != shown:  # one line per stage, not one per layer and percent
                shown = status
                loop.call_soon_threadsafe(progress, f"  {status}")
        dockerfile = io.BytesIO(f"FROM {PULLED}\nLABEL {LABEL}={digest}\n".encode("ascii"))
        answers = list(api.build(fileobj=dockerfile, tag=name, rm=True, decode=True))
        if not api.images(name=name):
            raise SandboxUnavailableError(f"The Docker daemon did not build the image: {str(answers)[-500:]}")

    await daemon.call(f"pull {PULLED}", pull, timeout_s=PULL_S)


async def _bootstrap(name: str, digest: str, source: Source, progress: Progress, daemon: DockerDaemon) -> None:
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        raise SandboxUnavailableError(
            "The image is made from the distribution's packages, which takes root and debootstrap (apt-get install debootstrap).\n"
            f"Or let it be pulled: gleitzeit-nb images build --pull fetches {PULLED}."
        )
    # Not /tmp, which may be small, or forbid programs and device files.
    folder = Path(tempfile.mkdtemp(prefix="gleitzeit-image-", dir="/var/tmp"))
    try:
        progress(f"building {name} from {source.suite} packages of {source.mirror or 'the default mirror'}")
        root = folder / "root"
        # In a mount namespace of its own, so that nothing that is mounted below `root` outlives the command.
        bootstrap = ["debootstrap", "--variant=minbase", "--force-check-gpg", f"--include={','.join(PACKAGES)}"]
        mirror = [source.mirror] if source.mirror else []
        await _command(["unshare", "--mount", "--propagation", "private", *bootstrap, source.suite, str(root), *mirror], progress)
        await asyncio.to_thread(_without_setuid, root)
        progress("packing")
        archive = folder / "root.tar"
        excluded = [f"--exclude={pattern}" for pattern in LEFT_OUT + LEFT_OUT_DOCS]
        await _command(["tar", "--numeric-owner", *excluded, "-C", str(root), "-cf", str(archive), "."], progress)
        progress("importing")
        await daemon.call("import the image", functools.partial(_import, archive=archive, name=name, digest=digest), timeout_s=IMPORT_S)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _import(api: APIClient, *, archive: Path, name: str, digest: str) -> None:
    repository, tag = name.split(":")
    answer = api.import_image(src=str(archive), repository=repository, tag=tag, changes=[f"LABEL {LABEL}={digest}"])
    if not api.images(name=name):
        raise SandboxUnavailableError(f"The Docker daemon did not import the image: {str(answer)[-500:]}")


def _without_setuid(root: Path) -> None:
    """no_new_privs makes setuid programs harmless; not having them is better still."""
    for folder, _, files in os.walk(root):
        for name in files:
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
                os.chmod(path, stat.S_IMODE(mode) & ~(stat.S_ISUID | stat.S_ISGID))


async def _command(command: list[str], progress: Progress) -> None:
    """Run to its end; its stages go to `progress`, its last lines into the error. Cancelling kills it and what it started."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    last: deque[str] = deque(maxlen=8)
    stages: set[str] = set()
    try:
        async for line in process.stdout:
            last.append(line.decode("utf-8", "replace").rstrip())
            words = last[-1].removeprefix("I: ").split()
            if last[-1].startswith("I: ") and words and words[0] not in stages:  # debootstrap says hundreds of lines in ten stages
                stages.add(words[0])
                progress(f"  {words[0]} …")
        status = await process.wait()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    if status != 0:
        said = "".join(f"\n    {line}" for line in last)
        raise SandboxUnavailableError(f"The image could not be made: {' '.join(command[:1])} ended with status {status}.{said}")
