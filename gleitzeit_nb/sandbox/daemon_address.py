"""Where the Docker daemon is: found as Docker's own command line finds it, and what else there might be when it is not there."""

from __future__ import annotations

import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gleitzeit_nb.config import DockerContext, docker_context, sockets_directory
from gleitzeit_nb.errors import SandboxUnavailableError

if TYPE_CHECKING:
    from docker import APIClient
    from docker.tls import TLSConfig

UNIX = "unix://"


@dataclass(frozen=True)
class DaemonAddress:
    """`source` says in a few words who named it. `url` None: the usual socket of this system."""

    url: str | None
    source: str
    tls: TLSConfig | bool = False

    @property
    def socket_path(self) -> str | None:
        """The path of its unix socket, if it has one."""
        from docker.utils import parse_host

        url = str(parse_host(self.url) or "")
        return url.removeprefix("http+unix://") if url.startswith("http+unix://") else None

    @property
    def shown(self) -> str:
        return f"{UNIX}{self.socket_path}" if self.socket_path is not None else self.url or ""

    def probe(self) -> None:
        """Does its unix socket take a connection? The SDK leaves one that failed to the garbage collector, and hides why it did."""
        if self.socket_path is not None:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(self.socket_path)

    def connect(self, timeout_s: float) -> APIClient:
        import docker

        class Client(docker.APIClient):
            def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
                """The daemon's own authority stands, whatever REQUESTS_CA_BUNDLE says of the web's."""
                return super().merge_environment_settings(url, proxies, stream, self.verify if verify is None else verify, cert)

        return Client(base_url=self.url, version="auto", timeout=int(timeout_s), tls=self.tls)


def current_address() -> DaemonAddress:
    """DOCKER_HOST (with DOCKER_TLS_VERIFY and DOCKER_CERT_PATH), else the context of DOCKER_CONTEXT, else the one in use.

    Raises ConfigError for a context that there is not, and SandboxUnavailableError for certificates that cannot be read.
    """
    from docker.errors import TLSParameterError
    from docker.utils import kwargs_from_env

    try:
        given = kwargs_from_env()
    except TLSParameterError as exc:
        raise SandboxUnavailableError(
            f"DOCKER_CERT_PATH or DOCKER_TLS_VERIFY names certificates that cannot be used: {str(exc).partition('TLS configurations')[0]}"
            "\nThe directory must hold ca.pem, cert.pem and key.pem."
        ) from exc
    if given.get("base_url"):
        return DaemonAddress(given["base_url"], "DOCKER_HOST", given.get("tls", False))
    return _of_context(docker_context())


def _of_context(context: DockerContext | None) -> DaemonAddress:
    if context is None:
        return DaemonAddress(None, "the usual socket")
    from docker.tls import TLSConfig

    source, files = f"the context {context.name}", {kind: str(path) for kind, path in context.certificates.items()}
    if not files and not context.skip_verify:
        return DaemonAddress(context.host, source)
    pair = (files["cert"], files["key"]) if "cert" in files and "key" in files else None
    return DaemonAddress(context.host, source, TLSConfig(client_cert=pair, ca_cert=files.get("ca"), verify=not context.skip_verify))


def other_sockets() -> list[str]:
    """Addresses of rootless daemons and of Podman's that this user has, or could have, here."""
    own = sockets_directory()
    places = [Path("/run/podman/podman.sock")]
    if own is not None:
        places = [own / "docker.sock", own / "podman" / "podman.sock", *places]
    return [f"{UNIX}{path}" for path in places if _is_socket(path)]


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False
