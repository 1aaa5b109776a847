"""One embedded instance in the foreground: address, uvicorn, an orderly and quick end."""

from __future__ import annotations

import ctypes
import errno
import ipaddress
import logging
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING

from gleitzeit_nb.embedded import weights
from gleitzeit_nb.embedded.cpu import CPUINFO, check_cpu
from gleitzeit_nb.embedded.process import available_cpus
from gleitzeit_nb.errors import ChildStartError, ConfigError, EmbeddedError, GleitzeitError, MissingDependencyError, PortInUseError

if TYPE_CHECKING:
    import uvicorn

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 11434  # Ollama's
_MAX_THREADS = 8  # a model of this size gains nothing beyond
_GRACE_S = 1
_KEEP_ALIVE_S = 120  # longer than any client keeps an idle connection, so that none breaks just as it is used again
_PACKAGES = ("xllamacpp", "starlette", "uvicorn", "httpx")
_LIBRARY = "libgomp.so.1"  # its wheel for Linux expects this one of the system; slim images and minimal installations go without


@dataclass(frozen=True)
class ServerSettings:
    """What one embedded instance serves, and how. Ollama's defaults where it has the same setting.

    `model`: a known name or a path to a GGUF file. `port` 0: any free one. `token`: what callers must send as bearer token.
    `threads` None: half of the CPUs that may be used, 8 at most. `keep_alive_s`: math.inf keeps models loaded.
    """

    cache_dir: Path
    model: str = weights.DEFAULT_MODEL
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    parallel: int = 1
    threads: int | None = None
    token: str | None = None
    max_queue: int = 512
    keep_alive_s: float = 300.0
    num_ctx: int = 4096

    def __post_init__(self) -> None:
        for name, least in (("parallel", 1), ("threads", 1), ("max_queue", 0), ("keep_alive_s", 0), ("num_ctx", 4), ("port", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name} of an embedded instance is {value}; it must be at least {least}")
        if self.token is not None and not (self.token.isascii() and self.token.isprintable() and self.token.strip()):
            raise ConfigError("the token of an embedded instance must be printable ASCII: it travels in a header")

    @property
    def is_file(self) -> bool:
        """Whether the model is a file of the caller's own, not one of the table."""
        return self.model.lower().endswith(".gguf")

    def __repr__(self) -> str:
        return f"<ServerSettings {self.model} on {self.host}:{self.port} parallel={self.parallel}{' with a token' if self.token else ''}>"


def check_installation(cpuinfo: Path = CPUINFO) -> None:
    """MissingDependencyError or ChildStartError where no instance could work here."""
    for package in _PACKAGES:
        if util.find_spec(package) is None:
            raise MissingDependencyError(package, "embedded", "The embedded instance")
    _check_library()
    check_cpu(cpuinfo)


def _check_library() -> None:
    if sys.platform != "linux":
        return
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise ChildStartError(
            f"The embedded instance needs the system library {_LIBRARY} (GCC's OpenMP), which is not here: {error}\n"
            "Install it as root. Debian and Ubuntu: apt-get install libgomp1; Fedora and Red Hat: dnf install libgomp"
        ) from error


def is_ready(model: str = weights.DEFAULT_MODEL, cache_dir: Path | None = None) -> bool:
    """Whether an instance could be launched here without downloading or installing anything."""
    try:
        check_installation()
        weights.locate(model, cache_dir)
    except GleitzeitError:
        return False
    return True


def serve(
    *,
    model: str = weights.DEFAULT_MODEL,
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    parallel: int = 1,
    token: str | None = None,
    threads: int | None = None,
    cache_dir: Path | None = None,
    announce: Callable[[str], None] = print,
    progress: weights.Progress | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM. Fetches the weights first when they are missing; `announce` gets one line with the address.

    PortInUseError, WeightsError, ChildStartError and MissingDependencyError are raised before anything is announced.
    """
    settings = ServerSettings(weights.cache(cache_dir), model, host, port, parallel, threads, token)
    check_installation()
    if not settings.is_file:
        weights.fetch(settings.model, progress, cache_dir=settings.cache_dir)
    listener = listen(settings.host, settings.port)
    with listener:
        url = url_of(listener)
        line = f"Embedded instance with {settings.model} on {url} (Ctrl-C stops it)"
        if token is None and not is_loopback(listener):
            line += " – open to everyone who can reach this address; --token closes it"
        with suppress(KeyboardInterrupt):  # the server has ended in order before it passes the interrupt on
            run(settings, listener, lambda server: announce(line))


def default_threads(cpus: int) -> int:
    """Half of the CPUs. The engine's threads meet after every layer, so that one that waits for a CPU stalls them all:

    with 2 threads on 2 CPUs that others use too, a small model was measured 3 to 30 times slower than with 1;
    on idle ones it gains nothing but the reading of the prompt.
    """
    return max(1, min(_MAX_THREADS, cpus // 2))


def listen(host: str, port: int) -> socket.socket:
    """A bound and listening socket. PortInUseError when the address is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"{host}:{port} is taken by another program (perhaps Ollama itself).\n"
                "Use another port (--port 0 takes any free one), or stop that program."
            ) from error
        raise EmbeddedError(f"The embedded instance cannot listen on {host}:{port}: {error}\nChoose another host or port.") from error
    return listener


def url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(listener: socket.socket) -> bool:
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def run(settings: ServerSettings, listener: socket.socket, on_ready: Callable[[uvicorn.Server], None]) -> None:
    """Serve on `listener` until the server is told to exit; children end with it."""
    import uvicorn

    from gleitzeit_nb.embedded.api import build_app
    from gleitzeit_nb.embedded.models import Limits, ModelTable
    from gleitzeit_nb.embedded.store import ModelStore

    limits = Limits(
        parallel=settings.parallel,
        max_queue=settings.max_queue,
        keep_alive_s=settings.keep_alive_s,
        num_ctx=settings.num_ctx,
        threads=settings.threads or default_threads(available_cpus()),
    )
    table = ModelTable(ModelStore([settings.model], settings.cache_dir), limits)

    class Announced(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if not self.should_exit:
                on_ready(self)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            await table.close()  # first: requests that still run end with it, instead of being waited for
            await super().shutdown(sockets)

    config = uvicorn.Config(
        build_app(table, loopback=is_loopback(listener), token=settings.token),
        http="h11",
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
    )
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    Announced(config).run(sockets=[listener])
