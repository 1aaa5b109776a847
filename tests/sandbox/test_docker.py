"""On the real daemon: how containers are made, what happens when they, their guest, their owner or the daemon goes away."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gleitzeit_nb.core.execution import DOCKER_MODE, MIB, default_modes
from gleitzeit_nb.errors import ImageMissingError, SandboxProtocolError, SandboxUnavailableError
from gleitzeit_nb.events import ContainerLost, ContainerMade
from gleitzeit_nb.sandbox import DockerExecutor, Sandbox, ownership
from gleitzeit_nb.sandbox.connection import GuestConnection
from gleitzeit_nb.sandbox.docker import DockerLauncher
from gleitzeit_nb.sandbox.ownership import Owner
from gleitzeit_nb.sandbox.selfcheck.weakenings import WEAKENINGS, WeakProfile
from tests.sandbox.daemon_proxy import DaemonProxy
from tests.support.waiting import until

pytestmark = pytest.mark.docker

LONG = "import time\nprint('begun')\ntime.sleep(60)"
MODE = default_modes()[DOCKER_MODE]


async def begun(sandbox: Sandbox, code: str = LONG) -> asyncio.Task[Any]:
    """A run that has printed its first line."""
    heard: list[str] = []
    running = asyncio.create_task(sandbox.execute(code, on_output=lambda _, text: heard.append(text)))
    await until(lambda: bool(heard) or running.done())
    return running


async def works(sandbox: Sandbox) -> bool:
    return (await sandbox.execute("print(6 * 7)")).stdout == "42\n"


def container_of(sandbox: Sandbox) -> str:
    return [event.container for event in sandbox.events.log if isinstance(event, ContainerMade)][-1]


def reasons(sandbox: Sandbox) -> list[str]:
    return [event.reason for event in sandbox.events.log if isinstance(event, ContainerLost)]


def exists(path: str) -> bool:
    return os.path.exists(path)


def listed(client: Any, label: str, every: bool = True) -> list[Any]:
    return list(client.containers.list(all=every, filters={"label": label}, ignore_removed=True))


# -- how a container is made --------------------------------------------------------------------------------------------------------


async def test_a_container_has_the_whole_profile(docker_image: str, docker_daemon: Any) -> None:
    limits = {"memory_limit": "128m", "pids_limit": 20, "cpu_limit": 0.5}
    async with Sandbox({"default_mode": DOCKER_MODE, "modes": {DOCKER_MODE: limits}}) as sandbox:
        await sandbox.execute("1")
        made = docker_daemon.api.inspect_container(container_of(sandbox))
    host, config = made["HostConfig"], made["Config"]
    assert host["NetworkMode"] == "none"
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert host["CapAdd"] is None
    assert host["Privileged"] is False
    assert host["Binds"] is None
    assert (host["Memory"], host["MemorySwap"], host["PidsLimit"], host["NanoCpus"]) == (128 * MIB, 128 * MIB, 20, 500_000_000)
    assert (host["IpcMode"], host["LogConfig"]["Type"], host["AutoRemove"]) == ("private", "none", True)
    assert host["SecurityOpt"][0] == "no-new-privileges:true"
    assert json.loads(host["SecurityOpt"][1].removeprefix("seccomp="))["defaultAction"] == "SCMP_ACT_ERRNO"
    assert set(host["Tmpfs"]) == {"/work", "/tmp", "/dev/shm"}
    assert all("nr_inodes=8192" in options and "uid=65534" in options for options in host["Tmpfs"].values())
    assert (config["User"], config["Hostname"], config["StdinOnce"], config["Tty"]) == ("65534:65534", "sandbox", True, False)
    assert made["HostConfig"].get("Init") is not True
    assert set(config["Labels"]) >= {ownership.OWNER, ownership.PID, ownership.START, ownership.BOOT, ownership.VERSION}


async def test_an_images_own_entry_point_user_and_health_check_are_overruled(
    docker_sandbox: Sandbox, docker_daemon: Any, docker_image: str
) -> None:
    api, name = docker_daemon.api, "gleitzeit-test/strange:latest"
    base = api.create_container(docker_image, command=["true"])["Id"]
    try:
        changes = [
            'ENTRYPOINT ["/bin/false"]',
            "USER 0",
            "WORKDIR /root",
            "ENV PYTHONPATH=/evil PYTHONSTARTUP=/evil",
            "HEALTHCHECK CMD /bin/false",
        ]
        api.commit(base, repository="gleitzeit-test/strange", tag="latest", changes=changes)
    finally:
        api.remove_container(base, force=True)
    try:
        result = await docker_sandbox.execute("import os, sys; print(os.getuid(), os.getcwd(), '/evil' in sys.path)", image=name)
        assert result.stdout == "65534 /work False\n"
    finally:
        await docker_sandbox.close()
        api.remove_image(name, force=True)


@pytest.fixture
def empty_image(docker_daemon: Any, tmp_path: Path) -> Iterator[str]:
    """Without python3, and without anything else."""
    name = "gleitzeit-test/empty:latest"
    archive = tmp_path / "empty.tar"
    with tarfile.open(archive, "w") as tar:
        tar.addfile(tarfile.TarInfo("file"), io.BytesIO())
    docker_daemon.api.import_image(src=str(archive), repository="gleitzeit-test/empty", tag="latest")
    yield name
    docker_daemon.api.remove_image(name, force=True)


async def test_an_image_without_python_says_so(docker_sandbox: Sandbox, empty_image: str) -> None:
    with pytest.raises(SandboxUnavailableError, match="gleitzeit-test/empty:latest has no python3"):
        await docker_sandbox.execute("1", image=empty_image)
    assert await works(docker_sandbox)


async def test_an_image_that_is_not_there_is_not_pulled(docker_sandbox: Sandbox) -> None:
    with pytest.raises(ImageMissingError, match="docker pull no/such:image"):
        await docker_sandbox.execute("1", image="no/such:image")
    assert await works(docker_sandbox)


@pytest.mark.parametrize(
    "weakening", ["host network", "no seccomp", "writable root", "capabilities kept", "root with capabilities", "new privileges"]
)
async def test_a_container_without_a_promised_protection_is_refused(docker_image: str, weakening: str) -> None:
    class Ignored(WeakProfile):
        """As when a daemon ignores a setting: the profile is weaker, the promise is not."""

        expectations = DockerLauncher().profile.expectations

    launcher = DockerLauncher(profile=Ignored(WEAKENINGS[weakening]))
    async with Sandbox(launchers={"docker": launcher}) as sandbox:
        with pytest.raises(SandboxProtocolError, match="not isolated as promised, so nothing was run"):
            await sandbox.execute("print('ran')")


# -- what goes away -------------------------------------------------------------------------------------------------------------


async def test_a_killed_container_is_lost_and_its_output_is_kept(docker_sandbox: Sandbox, docker_daemon: Any) -> None:
    running = await begun(docker_sandbox)
    docker_daemon.api.kill(container_of(docker_sandbox))
    result = await asyncio.wait_for(running, 10)
    assert (result.status, result.stdout) == ("lost", "begun\n")
    assert await works(docker_sandbox)
    assert reasons(docker_sandbox) == ["died"]


async def test_a_warm_container_that_was_killed_is_noticed_and_replaced(docker_sandbox: Sandbox, docker_daemon: Any) -> None:
    await docker_sandbox.execute("1")
    docker_daemon.api.kill(container_of(docker_sandbox))
    await until(lambda: reasons(docker_sandbox) == ["died"])
    assert await works(docker_sandbox)


async def test_a_killed_guest_is_lost(docker_sandbox: Sandbox, docker_daemon: Any) -> None:
    running = await begun(docker_sandbox)
    pid = docker_daemon.api.inspect_container(container_of(docker_sandbox))["State"]["Pid"]
    if not exists(f"/proc/{pid}") or os.geteuid() != 0:
        pytest.skip("the daemon's processes cannot be killed from here: it runs elsewhere, or this user is not root")
    os.kill(pid, signal.SIGKILL)
    assert (await asyncio.wait_for(running, 10)).status == "lost"
    assert await works(docker_sandbox)


async def test_a_paused_guest_is_killed_by_the_hosts_deadline(docker_sandbox: Sandbox, docker_daemon: Any) -> None:
    await docker_sandbox.execute("1")
    docker_daemon.api.pause(container_of(docker_sandbox))
    result = await asyncio.wait_for(docker_sandbox.execute("1", timeout=0.5), 30)
    assert (result.status, reasons(docker_sandbox)) == ("timeout", ["timeout"])
    assert await works(docker_sandbox)


async def test_a_cancelled_run_is_over_at_once_and_its_container_gone(docker_sandbox: Sandbox, docker_daemon: Any) -> None:
    running = await begun(docker_sandbox)
    started = time.monotonic()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert time.monotonic() - started < 5
    await until(lambda: not [each for each in listed(docker_daemon, ownership.OWNER) if each.id.startswith(container_of(docker_sandbox))])


async def test_nothing_is_left_after_closing(docker_daemon: Any, docker_image: str) -> None:
    owner = Owner.current()
    async with Sandbox(launchers={"docker": DockerLauncher(owner=owner)}) as sandbox:
        await asyncio.gather(*(sandbox.execute("1") for _ in range(3)))
        starting = asyncio.create_task(sandbox.execute("1", pids_limit=20))
        await asyncio.sleep(0.05)
    with pytest.raises(Exception, match="closed"):
        await starting
    await until(lambda: not listed(docker_daemon, f"{ownership.OWNER}={owner.id}"))


# -- orphans --------------------------------------------------------------------------------------------------------------------

HOST = """
import asyncio, sys
from gleitzeit_nb.sandbox import Sandbox
from gleitzeit_nb.sandbox.docker import DockerLauncher
async def main():
    launcher = DockerLauncher()
    async with Sandbox(launchers={"docker": launcher}) as sandbox:
        await sandbox.execute("1")
        print(launcher.owner.id, flush=True)
        await (sandbox.execute("import time; time.sleep(600)", timeout=600) if sys.argv[1] == "busy" else asyncio.sleep(600))
asyncio.run(main())
"""


@pytest.mark.parametrize("state", ["idle", "busy"])
async def test_containers_end_when_their_host_process_is_killed(docker_daemon: Any, docker_image: str, state: str) -> None:
    host = await asyncio.create_subprocess_exec(sys.executable, "-c", HOST, state, stdout=subprocess.PIPE)
    assert host.stdout is not None
    label = f"{ownership.OWNER}={(await asyncio.wait_for(host.stdout.readline(), 60)).decode().strip()}"
    if state == "busy":
        await asyncio.sleep(0.3)
    assert listed(docker_daemon, label, every=False)
    host.kill()
    await host.wait()
    await until(lambda: not listed(docker_daemon, label), limit_s=15)


async def test_the_sweep_takes_orphans_and_leaves_the_living(docker_daemon: Any, docker_image: str) -> None:
    alive = Owner.current()
    gone = await asyncio.create_subprocess_exec("true")
    await gone.wait()
    dead = Owner("d" * 32, gone.pid, 1, alive.boot, alive.namespace)
    foreign = Owner("f" * 32, gone.pid, 1, "another boot", alive.namespace)
    made = {
        owner.id: docker_daemon.containers.create(docker_image, ["true"], labels=owner.labels("0"), network_mode="none")
        for owner in (alive, dead, foreign)
    }
    launcher = DockerLauncher()
    try:
        assert await launcher.sweep() >= 1
        assert [bool(listed(docker_daemon, f"{ownership.OWNER}={owner.id}")) for owner in (alive, dead, foreign)] == [True, False, True]
    finally:
        await launcher.aclose()
        for owner in (alive, foreign):
            made[owner.id].remove(force=True)


async def test_orphans_are_swept_when_the_daemon_is_first_used(docker_daemon: Any, docker_image: str) -> None:
    alive = Owner.current()
    dead = Owner("e" * 32, alive.pid, alive.start - 1, alive.boot, alive.namespace)
    docker_daemon.containers.create(docker_image, ["true"], labels=dead.labels("0"), network_mode="none")
    async with Sandbox({"default_mode": DOCKER_MODE}) as sandbox:
        await sandbox.execute("1")
        await until(lambda: not listed(docker_daemon, f"{ownership.OWNER}={dead.id}"))


# -- the daemon -----------------------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def proxy(docker_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DaemonProxy]:
    if not exists("/var/run/docker.sock"):
        pytest.skip("the daemon has no socket at /var/run/docker.sock")
    made = DaemonProxy(tmp_path / "docker.sock")
    await made.start()
    monkeypatch.setenv("DOCKER_HOST", made.url)
    yield made
    await made.cut()


async def test_a_daemon_that_dies_loses_the_run_refuses_the_next_and_serves_again_when_it_is_back(proxy: DaemonProxy) -> None:
    async with Sandbox({"default_mode": DOCKER_MODE}) as sandbox:
        running = await begun(sandbox)
        await proxy.cut()
        result = await asyncio.wait_for(running, 10)
        assert (result.status, result.stdout) == ("lost", "begun\n")
        with pytest.raises(SandboxUnavailableError, match="No Docker daemon answers"):
            await asyncio.wait_for(sandbox.execute("1"), 10)
        assert sandbox.mode_views()[0].available is False
        await proxy.start()
        assert await works(sandbox)
        assert sandbox.mode_views()[0].available is True


async def test_a_daemon_that_dies_under_a_warm_pool_costs_one_clear_error(proxy: DaemonProxy) -> None:
    async with Sandbox({"default_mode": DOCKER_MODE}) as sandbox:
        await sandbox.execute("1")
        await proxy.cut()
        await until(lambda: reasons(sandbox) == ["died"])
        with pytest.raises(SandboxUnavailableError, match="No Docker daemon answers"):
            await sandbox.execute("1")


async def test_the_daemon_describes_itself(docker_daemon: Any) -> None:
    launcher = DockerLauncher()
    facts = await launcher.daemon.facts()
    assert facts.version == docker_daemon.version()["Version"]
    assert facts.cgroup_version in ("1", "2")
    assert facts.default_runtime in facts.runtimes
    await launcher.aclose()


async def test_memory_and_cpus_are_changed_on_a_warm_container_and_changed_back(docker_sandbox: Sandbox, docker_daemon: Any) -> None:
    def limits() -> tuple[int, ...]:
        host = docker_daemon.api.inspect_container(first.container)["HostConfig"]
        return tuple(host[name] for name in ("Memory", "MemorySwap", "NanoCpus"))

    first = await docker_sandbox.execute("1")
    greedy = "print(len(bytearray(200 << 20)))"
    small = await docker_sandbox.execute(greedy, memory_limit="64m", cpu_limit=0.5)
    assert small.status == "oom"
    first = await docker_sandbox.execute("1")
    other = await docker_sandbox.execute(greedy, memory_limit="1g")
    assert (other.status, other.container, other.cold) == ("ok", first.container, "")
    await until(lambda: limits() == (512 * MIB, 512 * MIB, 1_000_000_000))
    assert (await docker_sandbox.execute("1")).container == first.container


async def test_a_fresh_run_takes_a_container_that_was_made_ready(docker_sandbox: Sandbox) -> None:
    await docker_sandbox.execute("1", fresh=True)
    await until(lambda: docker_sandbox.mode_views()[0].containers == 1)
    await docker_sandbox._pool.settled()
    second = await docker_sandbox.execute("1", fresh=True)
    assert (second.cold, second.timings.start_s) == ("", 0.0)


async def test_a_run_says_what_everything_inside_used_together(docker_sandbox: Sandbox) -> None:
    code = "import os\nfor _ in range(3):\n    if os.fork() == 0:\n        x = bytearray(b'x') * (30 << 20)\n"
    code += "        import time; time.sleep(0.5); os._exit(0)\nfor _ in range(3): os.wait()"
    first, second = (await docker_sandbox.execute(code)).usage, (await docker_sandbox.execute("print(1)")).usage
    assert first is not None
    assert second is not None
    if not first.whole:
        pytest.skip("this kernel does not count the memory of one run (cgroup version 2 before Linux 6.12)")
    assert 90 * MIB < first.peak_bytes < 200 * MIB
    assert 1 * MIB < second.peak_bytes < 60 * MIB


# -- the guide's face -------------------------------------------------------------------------------------------------------------


async def test_the_executor_of_the_guide(docker_image: str) -> None:
    executor = DockerExecutor()
    try:
        result = await executor.execute_in_container("print(6 * 7)", image=docker_image, memory_limit="256m", timeout=20)
        assert (result.stdout, result.mode) == ("42\n", DOCKER_MODE)
        assert (await executor.execute("print(1)")).mode == DOCKER_MODE
        assert await executor.cleanup_idle_containers() == 0
    finally:
        await executor.close()


async def test_oom_is_told_also_where_no_cgroup_can_be_read(docker_image: str) -> None:
    launcher = DockerLauncher()
    channel = await launcher.launch(MODE, default_modes()[DOCKER_MODE].limits, None)
    channel._group = None
    connection = GuestConnection(channel)
    await connection.open()
    assert await channel.memory_bytes() is None
    assert await channel.oom_kills() == 0
    await connection.close()
    assert await channel.oom_kills() == 0
    await launcher.aclose()


async def test_memory_is_told(docker_sandbox: Sandbox) -> None:
    await docker_sandbox.execute("1")
    used = docker_sandbox.mode_views()[0].memory_bytes
    assert used is None or MIB < used < 512 * MIB
