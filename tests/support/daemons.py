"""Container daemons of a test's own, beside the machine's: a second Docker daemon, to be killed, filled or reached over TLS; a Podman."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.support.certificates import Authority

# In a network namespace of its own: a daemon without a bridge removes `docker0`, which belongs to the machine's daemon.
ALONE = ("unshare", "--net")
IMAGE = "gleitzeit/sandbox:latest"
START_S = 60
# What its systemd unit would do: the daemon serves a socket that was opened for it, and knows it by these variables.
AS_A_SERVICE = 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@" 3<&{}'


@dataclass
class OwnDaemon:
    """`environment`: the variables by which clients find it."""

    process: subprocess.Popen[bytes]
    environment: dict[str, str]
    folder: Path
    log: Path

    def docker(self, *arguments: str, **options: object) -> subprocess.CompletedProcess[bytes]:
        environment = {**os.environ, **self.environment}
        return subprocess.run(["docker", *arguments], env=environment, capture_output=True, check=False, timeout=START_S, **options)  # type: ignore[call-overload, no-any-return]

    def wait_until_it_answers(self) -> None:
        end = time.monotonic() + START_S
        while self.docker("version").returncode != 0:
            assert self.process.poll() is None, self.log.read_text(errors="replace")
            assert time.monotonic() < end, f"no answer: {self.docker('version').stderr!r}\n{self.log.read_text(errors='replace')}"
            time.sleep(0.1)

    def load_image(self) -> None:
        with subprocess.Popen(["docker", "save", IMAGE], stdout=subprocess.PIPE) as save:
            loaded = self.docker("load", stdin=save.stdout)
        assert save.returncode == 0
        assert loaded.returncode == 0, loaded.stderr

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def second_docker(tmp_path: Path, authority: Authority | None = None, *, data_root: Path | None = None) -> Iterator[OwnDaemon]:
    """With the sandbox's image in it. `authority`: on a TCP port, for clients with a certificate of that authority's."""
    _needs("dockerd")
    folder = Path(tempfile.mkdtemp(prefix="gleitzeit-dockerd-", dir="/tmp"))  # a socket's path must be short
    # In a network namespace of its own: a daemon without a bridge removes `docker0`, which belongs to the machine's daemon.
    command = ["dockerd", "--bridge", "none", "--iptables=false", "--ip-masq=false"]
    command += [f"--exec-root={folder}/exec", f"--pidfile={folder}/pid", f"--data-root={data_root or folder / 'data'}"]
    with contextlib.ExitStack() as stack:
        stack.callback(_remove, folder)
        log = tmp_path / "dockerd.log"
        if authority is None:
            address = f"unix://{folder}/docker.sock"
            daemon = stack.enter_context(_running([*ALONE, *command, "--host", address], {"DOCKER_HOST": address}, folder, log))
        else:
            daemon = stack.enter_context(_behind_tls(command, authority, folder, log))
        daemon.wait_until_it_answers()
        daemon.load_image()
        yield daemon


@contextlib.contextmanager
def _behind_tls(command: Sequence[str], authority: Authority, folder: Path, log: Path) -> Iterator[OwnDaemon]:
    """Its port is opened here, in the machine's network, and handed to it in its own."""
    server = authority.issue("docker-server", "IP:127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        environment = _certified(folder / "client", authority, f"tcp://127.0.0.1:{listener.getsockname()[1]}")
        certificates = ["--tlsverify", f"--tlscacert={authority.pair.cert}", f"--tlscert={server.cert}", f"--tlskey={server.key}"]
        handed_over = [*ALONE, "bash", "-c", AS_A_SERVICE.format(listener.fileno()), "bash"]
        service = [*handed_over, *command, "--host", "fd://", *certificates]
        with _running(service, environment, folder, log, listener.fileno()) as daemon:
            listener.close()  # else this process would take connections for a daemon that has ended
            yield daemon


@contextlib.contextmanager
def podman_service(tmp_path: Path) -> Iterator[OwnDaemon]:
    """Podman's Docker-compatible API on a unix socket, with the sandbox's image in it."""
    _needs("podman")
    folder = Path(tempfile.mkdtemp(prefix="gleitzeit-podman-", dir="/tmp"))
    command = ["podman", f"--root={folder}/data", f"--runroot={folder}/run", "--cgroup-manager=cgroupfs", "--runtime=runc"]
    address = f"unix://{folder}/podman.sock"
    with contextlib.ExitStack() as stack:
        stack.callback(_remove, folder)
        command += ["system", "service", "--time=0", address]
        daemon = stack.enter_context(_running(command, {"DOCKER_HOST": address}, folder, tmp_path / "podman.log"))
        daemon.wait_until_it_answers()
        daemon.load_image()
        yield daemon


def _needs(program: str) -> None:
    if os.geteuid() != 0 or not shutil.which(program) or not shutil.which("docker"):
        pytest.skip(f"starting a daemon of one's own needs root, {program} and the docker command")


def _certified(folder: Path, authority: Authority, address: str) -> dict[str, str]:
    folder.mkdir()
    client = authority.issue("docker-client")
    for source, name in ((authority.pair.cert, "ca.pem"), (client.cert, "cert.pem"), (client.key, "key.pem")):
        shutil.copy(source, folder / name)
    return {"DOCKER_HOST": address, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(folder)}


@contextlib.contextmanager
def _running(command: Sequence[str], environment: dict[str, str], folder: Path, log: Path, *descriptors: int) -> Iterator[OwnDaemon]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,  # Podman's monitor leaves a file `oom` where it was started
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=descriptors,
        )
    try:
        yield OwnDaemon(process, environment, folder, log)
    finally:
        process.kill()  # asked to end, it would wait for guests, which are deaf to signals
        process.wait()


def _remove(folder: Path) -> None:
    """A killed dockerd leaves its containerd, and this one each container's shim with the guest, and their mounts."""
    for process in psutil.process_iter(["cmdline"]):
        if f"{folder}/" in " ".join(process.info["cmdline"] or ()):
            for each in [*process.children(recursive=True), process]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        target = line.split()[1]
        if target.startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", target], check=True)
    shutil.rmtree(folder)
