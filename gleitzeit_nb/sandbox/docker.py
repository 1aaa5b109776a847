"""Guests in Docker containers: made with the hardened profile, attached before they start, removed by force and never stopped."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gleitzeit_nb.core.execution import Limits, ModeSettings
from gleitzeit_nb.errors import ImageMissingError, SandboxProtocolError, SandboxUnavailableError
from gleitzeit_nb.sandbox import images, orphans, podman
from gleitzeit_nb.sandbox.bundle import USER_ID
from gleitzeit_nb.sandbox.cgroup import Cgroup, group_of
from gleitzeit_nb.sandbox.channel import Expectations
from gleitzeit_nb.sandbox.daemon import DaemonRefusalError, DockerDaemon, ProcessEndingError
from gleitzeit_nb.sandbox.equipment import NO_DRIVER, daemon_cpus, gpu_request, isolation_line, no_gpu, refuse_runtime
from gleitzeit_nb.sandbox.ownership import Owner
from gleitzeit_nb.sandbox.profile import Profile, nano_cpus
from gleitzeit_nb.sandbox.stream import KEPT_STDERR_BYTES, AttachedSocket, Demultiplexer
from gleitzeit_nb.sandbox.volumes import Held, hold

if TYPE_CHECKING:
    from docker import APIClient

logger = logging.getLogger("gleitzeit_nb.sandbox")

LAUNCH_S = 60.0
REMOVE_S = 20.0
STREAMS = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}


class DockerLauncher:
    """Starts guests on one daemon. `owner` is written on every container, so that a later process can tell orphans."""

    def __init__(self, daemon: DockerDaemon | None = None, owner: Owner | None = None, profile: Profile | None = None) -> None:
        self.daemon = daemon or DockerDaemon()
        self.profile = profile or Profile()
        self.owner = owner or Owner.current()
        self._numbers = itertools.count(1)
        self._sweeping: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<DockerLauncher {self.daemon!r} owner {self.owner.id[:8]}>"

    async def check(self, mode: ModeSettings) -> str:
        image = await self.daemon.call("look for the image", functools.partial(_look, mode=mode))
        if self._sweeping is None:  # once, and nobody waits for it
            self._sweeping = asyncio.create_task(self._sweep_quietly(), name="gleitzeit-sweep")
        return isolation_line(mode, image, USER_ID)

    async def launch(self, mode: ModeSettings, limits: Limits, image: str | None) -> DockerChannel:
        name = f"gleitzeit-{self.owner.id[:8]}-{next(self._numbers)}"
        handover = _Handover()
        start = functools.partial(self._start, name=name, mode=mode, limits=limits, wanted=image or mode.image, handover=handover)
        try:
            started = await self.daemon.call("start a container", start, timeout_s=LAUNCH_S)
        except DaemonRefusalError as exc:
            raise _explained(exc, image or mode.image, mode.id) from exc
        except BaseException:
            late = handover.abandon()
            if late is not None:
                await DockerChannel(self.daemon, late).kill()
            raise
        return DockerChannel(self.daemon, started)

    async def sweep(self) -> int:
        """Remove the containers whose owners have provably ended; how many there were."""
        return len(await self.daemon.call("sweep", functools.partial(orphans.sweep, here=self.owner)))

    async def aclose(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)
        self.daemon.close()

    async def _sweep_quietly(self) -> None:
        try:
            swept = await self.sweep()
        except SandboxUnavailableError as exc:
            logger.debug("no sweep: %s", exc)
            return
        if swept:
            logger.info("removed %d containers that ended processes had left", swept)

    def _start(self, api: APIClient, *, name: str, mode: ModeSettings, limits: Limits, wanted: str | None, handover: _Handover) -> _Started:
        from gleitzeit_nb import __version__

        image = images.resolve(api, wanted)
        mode = replace(mode, preload=images.preload_of(api, image, mode.preload))
        info = functools.lru_cache(maxsize=1)(api.info)
        limits = replace(limits, cpus=daemon_cpus(limits.cpus, info))
        config = self.profile.container_config(image, mode, self.owner.labels(__version__))
        held = hold(mode.volumes, own_sockets(api)) if mode.volumes else Held()
        attached = container = None
        volumes: tuple[str, ...] = ()
        try:
            self.profile.refuse_doors(held)
            arguments = {**self.profile.host_config(limits), **self.profile.equipment(mode, held, info)}
            with contextlib.ExitStack() as while_starting:
                if podman.is_podman(api):
                    volumes = podman.volumes_of(name, arguments["tmpfs"])
                    arguments = while_starting.enter_context(podman.hosted(api, name, config["labels"], arguments))
                host = api.create_host_config(**arguments)
                host.update(self.profile.raw_host_config())
                container = api.create_container(**config, name=name, host_config=host)["Id"]
                attached = AttachedSocket.take_over(api.attach_socket(container, params=STREAMS))
                api.start(container)
                pid = api.inspect_container(container)["State"]["Pid"]
                expected = self.profile.expectations_of(mode, held)
                return handover.give(_Started(container, attached, group_of(pid, container), expected, held, volumes))
        except BaseException:
            held.release()
            if attached is not None:
                attached.close()
            if container is not None:
                _remove(api, container, volumes)
            raise


@dataclass(frozen=True)
class _Started:
    container: str
    attached: AttachedSocket
    group: Cgroup | None
    expectations: Expectations
    held: Held
    volumes: tuple[str, ...] = ()


class _Handover:
    """From the thread that starts a container to the task that waits for it, which may leave at any moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # invariant: a started container has exactly one side that is responsible for it
        self._given: _Started | None = None
        self._abandoned = False

    def give(self, started: _Started) -> _Started:
        """By the thread. Raises when nobody waits any more: then the thread has to clean up."""
        with self._lock:
            if self._abandoned:
                raise SandboxUnavailableError("Nobody waits for this container any more.")
            self._given = started
            return started

    def abandon(self) -> _Started | None:
        """By the task that leaves. What was given before is the task's to clean up."""
        with self._lock:
            self._abandoned = True
            return self._given


class DockerChannel:
    """A started container. `group` None: its cgroup is not on this machine, so the daemon is asked instead."""

    def __init__(self, daemon: DockerDaemon, started: _Started) -> None:
        self._daemon = daemon
        self._container = started.container
        self._volumes = started.volumes
        self._socket = started.attached
        self._group = started.group
        self._expectations = started.expectations
        self._held = started.held
        self._streams = Demultiplexer()
        self._stderr = bytearray()
        self._spoke = False
        self._oom_kills = 0

    def __repr__(self) -> str:
        return f"<DockerChannel {self.name}>"

    @property
    def name(self) -> str:
        return self._container[:12]

    @property
    def expectations(self) -> Expectations:
        return self._expectations

    async def read(self) -> bytes:
        while data := await self._socket.read():
            out, err = self._streams.feed(data)
            self._stderr += err[: KEPT_STDERR_BYTES - len(self._stderr)]
            if out:
                self._spoke = True
                return out
        if self._stderr:
            said = self._stderr.decode("utf-8", "replace").strip()
            if not self._spoke:
                raise SandboxProtocolError(f"the container's python3 could not run the guest: {said}")
            logger.warning("the guest in %s ended with: %s", self.name, said)
            self._stderr.clear()
        return b""

    async def write(self, data: bytes) -> None:
        await self._socket.write(data)

    async def kill(self) -> None:
        held, self._held = self._held, Held()
        held.release()
        self._socket.close()  # even a daemon that does not answer cannot keep the guest alive: it ends with its input
        try:
            await self._daemon.call(
                "remove a container", functools.partial(_remove, container=self._container, volumes=self._volumes), timeout_s=REMOVE_S
            )
        except ProcessEndingError:
            logger.debug("the container %s ends with this process", self.name)
        except SandboxUnavailableError as exc:
            logger.info("the container %s could not be removed, and ends by itself: %s", self.name, exc)

    async def oom_kills(self) -> int:
        try:
            if self._group is not None:
                self._oom_kills = self._group.oom_kills()
            else:
                self._oom_kills = await self._daemon.call("inspect a container", functools.partial(_oom_killed, container=self._container))
        except (OSError, SandboxUnavailableError):
            logger.debug("the container %s has gone, and its counters with it", self.name)
        return self._oom_kills

    async def resize(self, memory_bytes: int, cpus: float) -> None:
        change = functools.partial(_resize, container=self._container, memory_bytes=memory_bytes, cpus=cpus)
        await self._daemon.call("change a container's limits", change)

    def begin_peak(self) -> None:
        if self._group is not None:
            self._group.begin_peak()

    def peak_bytes(self) -> int | None:
        return self._group.peak_bytes() if self._group is not None else None

    async def memory_bytes(self) -> int | None:
        try:
            return self._group.memory_bytes() if self._group is not None else None
        except OSError:
            return None


def _look(api: APIClient, mode: ModeSettings) -> str:
    """The image of the mode, when all else that it asks of the daemon is there too."""
    image = images.resolve(api, mode.image)
    if mode.runtime is not None or mode.gpu:
        info = api.info()
        if mode.runtime is not None:
            refuse_runtime(mode, info)
        if mode.gpu:
            gpu_request(mode.id, info)
    return image


def own_sockets(api: APIClient) -> list[str]:
    """Of the daemon that this client speaks to. Raises SandboxUnavailableError unless it is on this machine, as volumes need."""
    socket = getattr(api.adapters.get("http+docker://"), "socket_path", None)
    if not isinstance(socket, str):
        raise SandboxUnavailableError(
            f"The Docker daemon at {api.base_url} is not on this machine, where the volumes are, so nothing can be mounted.\n"
            "Pass values with inputs and outputs, or files with the run."
        )
    return [socket]


def _remove(api: APIClient, container: str, volumes: Iterable[str] = ()) -> None:
    orphans.remove(api, container)
    podman.remove_volumes(api, volumes)


def _resize(api: APIClient, container: str, memory_bytes: int, cpus: float) -> None:
    """By the API's own words: the SDK's `update_container` knows no NanoCPUs, and a container that has them takes nothing else."""
    cpus = daemon_cpus(cpus, api.info)
    change = {"Memory": memory_bytes, "MemorySwap": memory_bytes, "NanoCPUs": nano_cpus(cpus)}
    inner: Any = api  # what the SDK builds its own calls of, untyped
    inner._raise_for_status(inner._post_json(inner._url("/containers/{0}/update", container), data=change))


def _oom_killed(api: APIClient, container: str) -> int:
    """The daemon says only whether, not how often; it also says so when a mere grandchild was the victim."""
    return int(bool(api.inspect_container(container)["State"].get("OOMKilled")))


def _explained(exc: DaemonRefusalError, image: str | None, mode: str) -> SandboxUnavailableError | ImageMissingError:
    text = str(exc)
    if "executable file not found" in text or "no such file or directory" in text:
        return SandboxUnavailableError(
            f"The image {image} has no python3, which the sandbox needs. Choose an image with Python 3.8 or newer."
        )
    if NO_DRIVER in text:  # what is left after the daemon was asked: a runtime that is registered and broken
        return no_gpu(mode)
    if "no space left on device" in text:
        return SandboxUnavailableError(
            f"The disk of the Docker daemon is full, and no container can be made: {text}\n"
            "`docker system df` shows what takes the space, `docker system prune` frees what nobody uses; then run the cell again."
        )
    if exc.status == 404 and "image" in text.lower():
        return images.missing(image)
    return exc
