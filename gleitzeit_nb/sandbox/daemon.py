"""The Docker daemon: every call of its SDK on a small executor, with a timeout, its errors mapped here and nowhere else."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from gleitzeit_nb.errors import SandboxUnavailableError
from gleitzeit_nb.sandbox.daemon_address import DaemonAddress, current_address, other_sockets
from gleitzeit_nb.sandbox.podman import is_podman

if TYPE_CHECKING:
    from docker import APIClient

T = TypeVar("T")

WORKERS = 4
CALL_S = 30.0
HTTP_S = 60  # the SDK's own limit, so that a thread whose caller has gone ends some day

START_IT = (
    "Start it (Linux: `sudo systemctl start docker`; else Docker Desktop), or point DOCKER_HOST at one. "
    "Without Docker, `restricted` mode is the strongest that this machine can have."
)
ALLOW_IT = "Add this user to its group (`sudo usermod -aG docker $USER`, then log in again), or use rootless Docker."

CORRECT_IT = "Correct DOCKER_HOST: it should be such as unix:///var/run/docker.sock or tcp://docker.example.org:2376."


LOOPBACK = ("http://127.0.0.1", "http://localhost", "http://[::1]")
TRUST_IT = (
    "DOCKER_CERT_PATH (or the Docker context) must name the authority of its certificate as ca.pem, and cert.pem and key.pem of a client "
    "that it accepts."
)


class DaemonRefusalError(SandboxUnavailableError):
    """The daemon answered, and its answer is no. `status` is HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class ProcessEndingError(SandboxUnavailableError):
    """The interpreter is on its way out, and nobody is left to be told."""


@dataclass(frozen=True)
class DaemonFacts:
    """What the daemon says about itself, for the doctor. `lacks` names what a hardened one would have."""

    url: str
    source: str
    product: str
    version: str
    api_version: str
    operating_system: str
    rootless: bool
    userns_remap: bool
    seccomp: bool
    cgroup_version: str
    cgroup_driver: str
    swap_limit: bool
    runtimes: tuple[str, ...]
    default_runtime: str
    cpus: int
    memory_bytes: int

    @property
    def lacks(self) -> tuple[str, ...]:
        missing = []
        if not self.seccomp:
            missing.append("seccomp: the sandbox refuses to start without it")
        if not (self.rootless or self.userns_remap):
            missing.append("user namespaces: the daemon is neither rootless nor started with userns-remap")
        if self.url.startswith("http://") and not self.url.startswith(LOOPBACK):
            missing.append("encryption: whoever is on the way to it can take its place, and is root on its machine")
        if not self.swap_limit:
            missing.append("swap accounting: memory limits do not cover swap")
        return tuple(missing)


class DockerDaemon:
    """The daemon that the environment or a Docker context names. Connects when first called, and again after a failure."""

    def __init__(self, connect: Callable[[], APIClient] | None = None) -> None:
        self._connect = connect
        self._address: DaemonAddress | None = None
        self._client: APIClient | None = None
        self._connecting = threading.Lock()  # invariant: at most one client is made at a time
        self._executor: concurrent.futures.ThreadPoolExecutor | None = None

    def __repr__(self) -> str:
        return f"<DockerDaemon {self._client.base_url if self._client is not None else 'not connected'}>"

    async def call(self, what: str, function: Callable[[APIClient], T], timeout_s: float = CALL_S) -> T:
        """`function(api)` in a thread. `what` completes "could not …" in the message of a SandboxUnavailableError."""
        if self._executor is None:
            self._executor = concurrent.futures.ThreadPoolExecutor(WORKERS, thread_name_prefix="gleitzeit-docker")
        try:
            work = asyncio.get_running_loop().run_in_executor(self._executor, functools.partial(self._call, function))
        except RuntimeError as exc:  # the interpreter ends, and starts no more threads; guests end with their stdin
            raise ProcessEndingError(f"This process is ending; it could not {what}.") from exc
        return await self._answer(work, what, timeout_s)

    async def call_apart(self, what: str, function: Callable[[APIClient], T], timeout_s: float) -> T:
        """`call` in a thread of its own, for what takes minutes: neither other calls nor the end of this process wait for it.

        A caller that is cancelled leaves it to end by itself; with the process its connection ends, and so does the daemon's work.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def settle(value: T | None, exc: BaseException | None) -> None:
            if answer.done():
                return
            if exc is not None:
                answer.set_exception(exc)
            else:
                answer.set_result(cast("T", value))

        def work() -> None:
            value, failure = None, None
            try:
                value = self._call(function)
            except BaseException as exc:  # noqa: BLE001 - it is raised where the answer is awaited
                failure = exc
            with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits
                loop.call_soon_threadsafe(settle, value, failure)

        threading.Thread(target=work, name="gleitzeit-docker-apart", daemon=True).start()
        return await self._answer(answer, what, timeout_s)

    async def _answer(self, work: asyncio.Future[T], what: str, timeout_s: float) -> T:
        try:
            return await asyncio.wait_for(work, timeout_s)
        except asyncio.TimeoutError as exc:
            self._forget()
            raise SandboxUnavailableError(f"The Docker daemon did not answer within {timeout_s:g} s; it could not {what}.") from exc
        except SandboxUnavailableError:
            raise
        except Exception as exc:
            raise self._mapped(exc, what) from exc

    async def facts(self) -> DaemonFacts:
        facts = await self.call("describe itself", _facts)
        address = self._address
        return facts if address is None else replace(facts, source=address.source, url=address.shown or facts.url)

    def close(self) -> None:
        """Calls that are under way end by themselves."""
        self._forget()
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=False)

    def _call(self, function: Callable[[APIClient], T]) -> T:
        with self._connecting:
            client = self._client = self._connected()
        return function(client)

    def _connected(self) -> APIClient:
        if self._connect is not None:
            return self._client or self._connect()
        address = self._address = self._address or current_address()
        address.probe()
        return self._client or address.connect(HTTP_S)

    def _forget(self) -> None:
        self._address = None
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _mapped(self, exc: Exception, what: str) -> Exception:
        """An error of the SDK, of HTTP or of a socket as one of ours; anything else is a bug and stays what it is."""
        from docker.errors import APIError, DockerException
        from requests import RequestException

        if isinstance(exc, APIError):
            status = exc.response.status_code if exc.response is not None else 500
            return DaemonRefusalError(f"The Docker daemon could not {what}: {_explanation(exc)}", status)
        causes = list(_causes(exc))
        unread = self._client is None and any(isinstance(cause, ValueError) for cause in causes)  # no client came of the address
        if not unread and not isinstance(exc, (DockerException, RequestException, OSError)):
            return exc
        where = f" where {self._address.source} says" if self._address is not None and self._address.url else ""
        self._forget()
        if any(isinstance(cause, PermissionError) for cause in causes):
            return SandboxUnavailableError(f"This user may not talk to the Docker daemon. {ALLOW_IT}{_others()}")
        if any(isinstance(cause, ssl.SSLError) for cause in causes):
            return SandboxUnavailableError(f"The Docker daemon and this side do not trust each other: {_shortest(causes)}. {TRUST_IT}")
        if any(isinstance(cause, (FileNotFoundError, ConnectionRefusedError)) for cause in causes):
            return SandboxUnavailableError(f"No Docker daemon answers{where}. {START_IT}{_others()}")
        if unread or any(isinstance(cause, socket.gaierror) or "Invalid bind address" in str(cause) for cause in causes):
            return SandboxUnavailableError(f"The address of the Docker daemon leads nowhere ({_shortest(causes)}). {CORRECT_IT}")
        return SandboxUnavailableError(f"The Docker daemon went away and could not {what} ({_shortest(causes)}). {START_IT}")


def _others() -> str:
    found = other_sockets()
    return f"\nThere is another daemon's socket here: DOCKER_HOST={' or '.join(found)}" if found else ""


def _explanation(exc: Any) -> str:
    return str(exc.explanation or exc).strip()[:1000]


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """The error, what it was raised from, and what urllib3 hides in arguments; outermost first."""
    seen: set[int] = set()
    waiting: list[BaseException] = [exc]
    while waiting:
        cause = waiting.pop(0)
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        waiting += [each for each in (cause.__cause__, cause.__context__) if each is not None]
        waiting += [each for each in cause.args if isinstance(each, BaseException)]


def _shortest(causes: list[BaseException]) -> str:
    """The plainest of nested messages; HTTP libraries wrap them in reprs of one another."""
    return min((str(cause) for cause in causes if str(cause)), key=len, default=type(causes[0]).__name__)


def _facts(api: APIClient) -> DaemonFacts:
    info, version = api.info(), api.version()
    security = " ".join(info.get("SecurityOptions") or ())
    return DaemonFacts(
        url=str(api.base_url),
        source="",
        product="Podman" if is_podman(api) else "Docker",
        version=str(info.get("ServerVersion", "")),
        api_version=str(version.get("ApiVersion", "")),
        operating_system=str(info.get("OperatingSystem", "")),
        rootless="name=rootless" in security,
        userns_remap="name=userns" in security,
        seccomp="name=seccomp" in security,
        cgroup_version=str(info.get("CgroupVersion", "1")),
        cgroup_driver=str(info.get("CgroupDriver", "")),
        swap_limit=bool(info.get("SwapLimit")),
        runtimes=tuple(sorted(info.get("Runtimes") or ())),
        default_runtime=str(info.get("DefaultRuntime", "")),
        cpus=int(info.get("NCPU", 0)),
        memory_bytes=int(info.get("MemTotal", 0)),
    )
