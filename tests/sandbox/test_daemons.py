"""The sandbox on other daemons than the machine's: behind TLS, found by a context, Podman's, on a full disk; and what is left there."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gleitzeit_nb.cli import main
from gleitzeit_nb.core.execution import DOCKER_MODE
from gleitzeit_nb.errors import ConfigError, SandboxUnavailableError
from gleitzeit_nb.sandbox import Sandbox, podman
from gleitzeit_nb.sandbox.daemon import DockerDaemon
from gleitzeit_nb.sandbox.daemon_address import current_address, other_sockets
from gleitzeit_nb.sandbox.ownership import Owner
from gleitzeit_nb.sandbox.selfcheck.catalogue import CHECKS
from gleitzeit_nb.sandbox.selfcheck.subjects import look_at
from tests.support.certificates import Authority
from tests.support.daemons import IMAGE, OwnDaemon, podman_service, second_docker

pytestmark = pytest.mark.docker
SETTINGS = {"default_mode": DOCKER_MODE}
DOCKER_VARIABLES = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")


@pytest.fixture(autouse=True)
def _no_daemon_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in DOCKER_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def named(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


async def until_empty(daemon: OwnDaemon, *question: str) -> None:
    """What a closed sandbox had begun to make is removed as soon as it is made."""
    end = time.monotonic() + 30
    while left := daemon.docker(*question).stdout:
        assert time.monotonic() < end, left
        await asyncio.sleep(0.1)


async def printed(code: str, **options: Any) -> str:
    async with Sandbox(SETTINGS) as sandbox:
        result = await sandbox.execute(code, **options)
    assert result.status == "ok", result
    return result.stdout


# -- over TLS -------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory, authority: Authority, docker_image: str) -> Iterator[OwnDaemon]:
    with second_docker(tmp_path_factory.mktemp("remote"), authority) as daemon:
        yield daemon


async def test_code_runs_on_a_daemon_behind_tls(remote: OwnDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    named(monkeypatch, remote.environment)
    async with Sandbox(SETTINGS) as sandbox:
        many = await sandbox.execute("print('x' * 500_000)\nprint(len(data))", inputs={"data": b"y" * 3_000_000})
        assert many.stdout == "x" * 500_000 + "\n3000000\n"
        late = await sandbox.execute("print('begun', flush=True)\nwhile True: pass", timeout=1)
        assert (late.status, late.stdout) == ("timeout", "begun\n")
        assert (await sandbox.execute("b = bytearray(1 << 30)", memory_limit="64m")).status == "oom"
        assert (await sandbox.execute("print(6 * 7)")).stdout == "42\n"
    await until_empty(remote, "ps", "--all", "--quiet")


async def test_a_daemon_of_another_authority_gets_nothing(
    remote: OwnDaemon, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = Authority(tmp_path_factory.mktemp("strangers"), "stranger")
    certificates = tmp_path / "certificates"
    shutil.copytree(remote.environment["DOCKER_CERT_PATH"], certificates)
    shutil.copy(stranger.pair.cert, certificates / "ca.pem")
    named(monkeypatch, {**remote.environment, "DOCKER_CERT_PATH": str(certificates)})
    with pytest.raises(SandboxUnavailableError, match=r"do not trust each other.*ca\.pem"):
        await printed("1")


async def test_a_client_without_a_certificate_is_told_which_files_it_needs(
    remote: OwnDaemon, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    named(monkeypatch, {**remote.environment, "DOCKER_CERT_PATH": str(tmp_path)})
    with pytest.raises(SandboxUnavailableError, match=r"must hold ca\.pem, cert\.pem and key\.pem"):
        await printed("1")


# -- contexts -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def contexts(remote: OwnDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Docker's configuration with a context `far`, made by its own command line."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    files = remote.environment["DOCKER_CERT_PATH"]
    endpoint = f"host={remote.environment['DOCKER_HOST']},ca={files}/ca.pem,cert={files}/cert.pem,key={files}/key.pem"
    subprocess.run(["docker", "context", "create", "far", "--docker", endpoint], check=True, capture_output=True)
    return tmp_path / "docker"


@pytest.fixture
def context_in_use(contexts: Path) -> None:
    subprocess.run(["docker", "context", "use", "far"], check=True, capture_output=True)


async def test_the_context_that_is_in_use_is_used(context_in_use: None, remote: OwnDaemon) -> None:
    daemon = DockerDaemon()
    facts = await daemon.facts()
    daemon.close()
    assert facts.source == "the context far"
    assert facts.url == remote.environment["DOCKER_HOST"]
    assert await printed("print(1)") == "1\n"


async def test_a_context_named_for_this_process_comes_before_the_one_in_use(contexts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "far")
    assert current_address().source == "the context far"
    monkeypatch.setenv("DOCKER_HOST", "unix:///var/run/docker.sock")
    assert current_address().source == "DOCKER_HOST"


async def test_a_context_that_there_is_not_is_named(contexts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "nowhere")
    with pytest.raises(ConfigError, match=r"no Docker context 'nowhere'.*docker context ls"):
        await printed("1")


async def test_an_absent_daemon_names_the_other_sockets_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = os.environ["XDG_RUNTIME_DIR"]
    monkeypatch.setenv("DOCKER_HOST", f"unix://{folder}/nobody.sock")
    with socket.socket(socket.AF_UNIX) as rootless:
        rootless.bind(f"{folder}/docker.sock")
        try:
            assert f"unix://{folder}/docker.sock" in other_sockets()
            with pytest.raises(SandboxUnavailableError, match=rf"answers where DOCKER_HOST says.*\n.*{folder}/docker\.sock"):
                await printed("1")
        finally:
            os.unlink(f"{folder}/docker.sock")


# -- Podman ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def podman_daemon(tmp_path_factory: pytest.TempPathFactory, docker_image: str) -> Iterator[OwnDaemon]:
    with podman_service(tmp_path_factory.mktemp("podman")) as daemon:
        yield daemon


async def test_podman_keeps_every_promise(podman_daemon: OwnDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    named(monkeypatch, podman_daemon.environment)
    broken = []
    async with Sandbox(SETTINGS) as sandbox:
        execute = await look_at(sandbox, DOCKER_MODE)
        for check in CHECKS:
            if not check.not_promised(execute.subject):
                seen = await check.probe(execute)
                if not check.kept(seen, execute.subject.limits):
                    broken.append((check.name, seen))
    assert broken == []
    await until_empty(podman_daemon, "volume", "ls", "--quiet")


async def test_the_sweep_takes_a_dead_owners_volumes_too(podman_daemon: OwnDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    named(monkeypatch, podman_daemon.environment)
    alive = Owner.current()
    dead = Owner("a" * 32, alive.pid, alive.start - 1, alive.boot, alive.namespace)
    for owner, name in ((alive, "kept"), (dead, "left")):
        labels = [word for key, value in owner.labels("1").items() for word in ("--label", f"{key}={value}")]
        assert podman_daemon.docker("volume", "create", *labels, name).returncode == 0
    assert await asyncio.to_thread(main, ["containers", "prune"]) == 0
    assert podman_daemon.docker("volume", "ls", "--quiet").stdout.split() == [b"kept"]
    podman_daemon.docker("volume", "rm", "kept")


def test_a_size_is_given_to_podman_in_pages() -> None:
    options = "rw,noexec,size=10000,nr_inodes=5,uid=65534"
    assert podman.volume_options(options, page_bytes=4096) == "rw,noexec,nr_blocks=3,nr_inodes=5,uid=65534"


# -- a full disk ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600m", "tmpfs", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture
def cramped(docker_image: str, tmp_path: Path, small_disk: Path) -> Iterator[OwnDaemon]:
    with second_docker(tmp_path, data_root=small_disk / "data") as daemon:
        yield daemon


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while free := shutil.disk_usage(path.parent).free:
            file.write(bytes(min(free, 1 << 20)))


async def test_a_full_disk_is_named_and_the_next_run_finds_it_emptied(
    cramped: OwnDaemon, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named(monkeypatch, cramped.environment)
    async with Sandbox({**SETTINGS, "container_pool": {"min_warm": 0}}) as sandbox:
        fill(small_disk / "filler")
        with pytest.raises(SandboxUnavailableError, match=r"(?s)disk of the Docker daemon is full.*docker system df"):
            await sandbox.execute("1")
        os.unlink(small_disk / "filler")
        assert (await sandbox.execute("print(1)")).stdout == "1\n"


# -- containers list and prune --------------------------------------------------------------------------------------------------


def test_containers_are_listed_with_their_owners_and_only_orphans_pruned(
    remote: OwnDaemon, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    named(monkeypatch, remote.environment)
    alive = Owner.current()
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    owners = {
        "in use": alive,
        "orphan": Owner("d" * 32, int(gone.stdout), 1, alive.boot, alive.namespace),
        "unknown": Owner("f" * 32, 1, 1, "another boot", alive.namespace),
    }
    made = {}
    for verdict, owner in owners.items():
        labels = [word for key, value in owner.labels("0").items() for word in ("--label", f"{key}={value}")]
        made[verdict] = remote.docker("create", "--network=none", *labels, IMAGE, "true").stdout.decode()[:12]
    assert main(["containers", "list", "--json"]) == 0
    assert {each["id"]: each["verdict"] for each in json.loads(capsys.readouterr().out)} == {name: said for said, name in made.items()}
    assert main(["containers", "prune", "--dry-run"]) == 0
    assert made["orphan"] in capsys.readouterr().out
    assert main(["containers", "prune"]) == 0
    assert made["orphan"] in capsys.readouterr().out
    assert main(["containers", "list"]) == 0
    shown = capsys.readouterr().out
    assert [container in shown for container in made.values()] == [True, False, True]
    assert "whether it is in use cannot be seen from here" in shown
    assert main(["containers", "prune"]) == 0
    assert capsys.readouterr().out == "Nothing was left behind.\n"
    remote.docker("rm", made["in use"], made["unknown"])
