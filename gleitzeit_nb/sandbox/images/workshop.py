"""A container in which something is found out or made for an image: without network and capabilities, under the sandbox's seccomp list.

Unlike a guest's, its root can be written when that is the purpose; what it runs is ours, what it reads may be anybody's.
"""

from __future__ import annotations

import contextlib
import functools
import json
import tempfile
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from gleitzeit_nb.core.execution import MIB
from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.errors import SandboxUnavailableError
from gleitzeit_nb.sandbox import podman
from gleitzeit_nb.sandbox.bundle import USER_ID
from gleitzeit_nb.sandbox.daemon import DockerDaemon
from gleitzeit_nb.sandbox.images.building import explained
from gleitzeit_nb.sandbox.ownership import Owner
from gleitzeit_nb.sandbox.profile import seccomp_profile

if TYPE_CHECKING:
    from docker import APIClient

RUN_S = 900
PROBE_S = 60
OUTPUT_BYTES = 4 * MIB
MEMORY_BYTES = 2048 * MIB
PROBE = """\
import json, platform, sys
print(json.dumps([list(sys.version_info[:2]), platform.machine(), platform.libc_ver()]))
"""


@dataclass(frozen=True)
class Target:
    """What wheels must fit. `libc`: ("glibc", "2.36"), or empty texts where it is another one."""

    python: tuple[int, int]
    machine: str
    libc: tuple[str, str]

    @property
    def version(self) -> str:
        return f"{self.python[0]}.{self.python[1]}"


@dataclass(frozen=True)
class Workshop:
    """A container that was made and not started."""

    id: str
    daemon: DockerDaemon

    async def put(self, path: str, archive: IO[bytes]) -> None:
        with explained():
            await self.daemon.call_apart("put files into a container", lambda api: api.put_archive(self.id, path, archive), timeout_s=RUN_S)

    async def run(self, timeout_s: float = RUN_S) -> tuple[int, str]:
        """Start it and wait for its end: (exit status, what it said)."""
        with explained():
            return await self.daemon.call_apart("run a container", functools.partial(_run, container=self.id), timeout_s=timeout_s)

    async def take(self, path: str, into: IO[bytes]) -> None:
        """The directory `path` as a tar archive: hostile bytes, to be unpacked nowhere on this machine."""
        with explained():
            work = functools.partial(_take, container=self.id, path=path, into=into)
            await self.daemon.call_apart("take files out of a container", work, timeout_s=RUN_S)


@asynccontextmanager
async def workshop(daemon: DockerDaemon, image: str, command: list[str], *, root: bool = False) -> AsyncIterator[Workshop]:
    """`root`: as user 0, still without capabilities, and on a file system that can be written."""
    name = f"gleitzeit-build-{uuid.uuid4().hex[:12]}"
    with tempfile.TemporaryDirectory(prefix="gleitzeit-build-") as scratch:
        try:
            create = functools.partial(_create, name=name, image=image, command=command, root=root, scratch=Path(scratch))
            yield Workshop(await daemon.call("make a container", create), daemon)
        finally:
            with contextlib.suppress(SandboxUnavailableError):  # the sweep finds it
                await daemon.call("remove a container", functools.partial(_remove, name=name))


async def probe(daemon: DockerDaemon, image: str) -> Target:
    """What the image's Python is. Raises SandboxUnavailableError for an image without one."""
    async with workshop(daemon, image, ["python3", "-I", "-c", PROBE]) as shop:
        status, said = await shop.run(PROBE_S)
    try:
        version, machine, libc = json.loads(said)
        return Target((int(version[0]), int(version[1])), str(machine), (str(libc[0]), str(libc[1])))
    except (ValueError, TypeError, IndexError) as exc:
        raise SandboxUnavailableError(
            f"The image {image} does not say which Python it has (status {status}: {one_line(said, 200)}).\n"
            "Choose a base that has a python3."
        ) from exc


def _create(api: APIClient, *, name: str, image: str, command: list[str], root: bool, scratch: Path) -> str:
    from docker.types import LogConfig, Ulimit

    from gleitzeit_nb import __version__

    options = ["no-new-privileges:true", f"seccomp={seccomp_profile()}"]
    ulimits = [Ulimit(name="core", soft=0, hard=0), Ulimit(name="nofile", soft=1024, hard=1024)]
    if podman.is_podman(api):
        options = podman.security_options(api, options, scratch)
        ulimits.append(Ulimit(name="nproc", soft=podman.PROCESSES, hard=podman.PROCESSES))
    host = api.create_host_config(
        network_mode="none",
        read_only=not root,
        cap_drop=["ALL"],
        security_opt=options,
        ulimits=ulimits,
        pids_limit=128,
        mem_limit=MEMORY_BYTES,
        memswap_limit=MEMORY_BYTES,
        ipc_mode="private",
        log_config=LogConfig(type="json-file", config={"max-size": "4m", "max-file": "1"}),
    )
    config: dict[str, Any] = {
        "image": image,
        "entrypoint": command[:1],
        "command": command[1:],
        "user": "0:0" if root else f"{USER_ID}:{USER_ID}",
        "working_dir": "/",
        "labels": Owner.current().labels(__version__),
        "healthcheck": {"test": ["NONE"]},
        "use_config_proxy": False,
    }
    return str(api.create_container(**config, name=name, host_config=host)["Id"])


def _run(api: APIClient, *, container: str) -> tuple[int, str]:
    api.start(container)
    status = int(api.wait(container, timeout=RUN_S)["StatusCode"])
    said = api.logs(container, stdout=True, stderr=True, tail=20_000)
    return status, said[-OUTPUT_BYTES:].decode("utf-8", "replace")


def _take(api: APIClient, *, container: str, path: str, into: IO[bytes]) -> None:
    pieces, _ = api.get_archive(container, path)
    for piece in pieces:
        into.write(piece)
    into.seek(0)


def _remove(api: APIClient, *, name: str) -> None:
    from docker.errors import NotFound

    with contextlib.suppress(NotFound):
        api.remove_container(name, force=True, v=True)
