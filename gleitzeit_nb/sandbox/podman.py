"""Podman, which speaks Docker's API with an accent: the same hardened profile, put into words that it takes.

Tried with Podman 4.3. What it does otherwise than Docker:

- a seccomp profile is the path of a file on its machine, not the profile's text;
- the options of a tmpfs may name neither an owner nor a limit of files. A named volume of the type tmpfs takes any option of the
  kernel's, except that it reads `size` as a disk quota: so the size is given in pages, as `nr_blocks`;
- beside a read-only root it makes /run and /var/tmp writable, unless something else is mounted there: here what is read-only;
- it hides paths of /proc by a security option, and gives a container without a network the host's name servers;
- it raises the limits of processes and open files to its own, for which its own process may lack the right.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gleitzeit_nb.errors import SandboxUnavailableError
from gleitzeit_nb.sandbox.profile import MASKED

if TYPE_CHECKING:
    from docker import APIClient

GONE, IN_USE = 404, 409
COMPONENT = "Podman Engine"
REMOVAL_S = 5.0
PROCESSES = 32768  # of the user id, on the whole machine; how many a container may have is its cgroup's to say
SECCOMP = "seccomp="
UNWANTED = {"/var/tmp": "size=4096,nr_inodes=1,mode=0555,noexec,nosuid,nodev"}
OWN = {"/run": "ro,size=65536,mode=0555,noexec,nosuid,nodev"}  # it mounts a file of its own there; a volume is read-only too soon


def is_podman(api: APIClient) -> bool:
    return any(component.get("Name") == COMPONENT for component in api.version().get("Components") or ())


@contextlib.contextmanager
def hosted(api: APIClient, name: str, labels: Mapping[str, str], arguments: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Arguments of `create_host_config` for the container `name`, for as long as it takes to start it.

    `arguments`: those for Docker. Raises SandboxUnavailableError for a Podman on another machine.
    """
    refuse_distant(api)
    adapted = dict(arguments)
    tmpfs = adapted.pop("tmpfs", {}) | UNWANTED
    adapted["tmpfs"] = OWN
    adapted["ulimits"] = [*adapted.get("ulimits", ()), {"Name": "nproc", "Soft": PROCESSES, "Hard": PROCESSES}]
    adapted["binds"] = [*adapted.get("binds", ()), *(_bind(name, target) for target in tmpfs)]
    with tempfile.TemporaryDirectory(prefix="gleitzeit-podman-") as folder:
        adapted["security_opt"] = [_written(option, Path(folder)) for option in adapted.get("security_opt", ())] + [
            f"mask={':'.join(MASKED)}"
        ]
        adapted["binds"].append(f"{_resolver(Path(folder), adapted)}:/etc/resolv.conf:ro,noexec,nosuid,nodev")
        try:
            for target, options in tmpfs.items():
                driver = {"type": "tmpfs", "device": "tmpfs", "o": volume_options(options)}
                api.create_volume(volume_of(name, target), "local", driver, dict(labels))
            yield adapted
        except BaseException:
            remove_volumes(api, volumes_of(name, arguments.get("tmpfs", ())))
            raise


def refuse_distant(api: APIClient) -> None:
    if not str(api.base_url).startswith("http+"):  # docker-py's name for a unix socket
        raise SandboxUnavailableError(
            "This Podman is reached over a network. It takes a seccomp profile only as a file of its own machine, and no container is made "
            "without one.\nUse a Podman on this machine (its socket in DOCKER_HOST), or a Docker daemon, which takes the profile itself."
        )


def security_options(api: APIClient, options: Iterable[str], folder: Path) -> list[str]:
    """For a container without tmpfs of its own. `folder` is to stay until it has started."""
    refuse_distant(api)
    return [_written(option, folder) for option in options]


def _bind(container: str, target: str) -> str:
    """A volume's own options do not reach the container: Podman binds it there, with new ones."""
    return f"{volume_of(container, target)}:{target}:{'ro' if target in UNWANTED else 'rw'},noexec,nosuid,nodev"


def volume_of(container: str, target: str) -> str:
    """`gleitzeit-1a2b3c4d-1`, `/dev/shm` → `gleitzeit-1a2b3c4d-1-dev-shm`."""
    return container + target.replace("/", "-")


def volumes_of(container: str, tmpfs: Iterable[str]) -> tuple[str, ...]:
    """The names of all volumes that `hosted` makes for a container with these tmpfs mounts."""
    return tuple(volume_of(container, target) for target in (*tmpfs, *UNWANTED))


def volume_options(tmpfs: str, page_bytes: int | None = None) -> str:
    """Options of a tmpfs as Docker takes them → as a volume of Podman's takes them."""
    from docker.utils import parse_bytes

    page_bytes = page_bytes or os.sysconf("SC_PAGE_SIZE")
    words = []
    for option in tmpfs.split(","):
        key, _, value = option.partition("=")
        words.append(f"nr_blocks={-(-int(parse_bytes(value)) // page_bytes)}" if key == "size" else option)
    return ",".join(words)


def ended_meanwhile(api: APIClient, container: str) -> bool:
    """Whether a container that Podman failed to remove by force is gone: it stumbles over one that ends just then, and removes it after."""
    from docker.errors import APIError

    end = time.monotonic() + REMOVAL_S
    while time.monotonic() < end:
        try:
            running = api.inspect_container(container)["State"]["Running"]
        except APIError as exc:  # "no such container", with status 404 or, when it went during the question, 500
            if "no such container" not in str(exc):
                raise
            return True
        if running:
            return False
        time.sleep(0.05)
    return False


def remove_volumes(api: APIClient, names: Iterable[str]) -> None:
    """One that is in use is waited for, since its container is just being removed; after that it stays for the next sweep."""
    end = time.monotonic() + REMOVAL_S
    left = list(names)
    while left := [name for name in left if not _removed(api, name)]:
        if time.monotonic() >= end:
            return
        time.sleep(0.05)


def _removed(api: APIClient, name: str) -> bool:
    from docker.errors import APIError

    try:
        api.remove_volume(name)
    except APIError as exc:
        status = exc.response.status_code if exc.response is not None else 500
        if status not in (GONE, IN_USE):
            raise
        return status == GONE
    return True


def _written(option: str, folder: Path) -> str:
    if not option.startswith(SECCOMP + "{"):
        return option
    path = folder / "seccomp.json"
    path.write_text(option.removeprefix(SECCOMP), "ascii")
    return SECCOMP + str(path)


def _resolver(folder: Path, arguments: dict[str, Any]) -> Path:
    """What `dns` and `dns_search` say. A mount holds the file itself, so that it may go once the container has started."""
    lines = [f"nameserver {server}" for server in arguments.pop("dns", ())]
    lines += [f"search {' '.join(arguments.pop('dns_search'))}"] if "dns_search" in arguments else []
    path = folder / "resolv.conf"
    path.write_text("\n".join([*lines, ""]), "ascii")
    path.chmod(0o444)
    return path
