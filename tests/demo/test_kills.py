"""What the demo stands on is killed at five points of it. Each time it ends within 5 s, in words that say what happened."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from gleitzeit_nb.core.requests import Chunk
from gleitzeit_nb.embedded import EmbeddedInstance
from gleitzeit_nb.errors import StreamInterrupted
from gleitzeit_nb.llm.pool import OllamaPoolManager
from tests.demo.demo_run import DemoRun

Start = Callable[..., DemoRun]
ENDS_WITHIN_S = 5.0
CONTAINER_LABEL = "gleitzeit.owner"


def ended_clearly(run: DemoRun, killed_at: float) -> str:
    """What the demo says of it; said in time, without a traceback of its own, and nothing is left of it."""
    run.until("FAILED", limit_s=30)
    elapsed = time.monotonic() - killed_at
    assert elapsed < ENDS_WITHIN_S, f"{elapsed:.1f} s after the kill:\n{run.text}"
    assert run.end(limit_s=30) == 1, run.text
    assert run.leftovers() == []
    last = run.text.partition("FAILED")[2]
    assert "Traceback (most recent call last)" not in last
    return last


def test_a_killed_kernel_ends_the_demo_and_what_it_had_started(start: Start) -> None:
    run = start()
    run.until("[3] %%llm")
    run.find("ipykernel").kill()
    assert "kernel died" in ended_clearly(run, time.monotonic())


def test_with_both_instances_killed_the_next_question_says_who_was_tried(start: Start) -> None:
    run = start()
    run.until("[4] assert")
    begin = time.monotonic()
    for process in run.find_all("gleitzeit_nb.embedded"):
        process.kill()
    last = ended_clearly(run, begin)
    assert "north" in last
    assert "south" in last
    assert "refused" in last


def test_a_killed_container_is_a_lost_run_and_not_an_answer(start: Start, docker_daemon: Any) -> None:
    before = {container.id for container in docker_daemon.containers.list(filters={"label": CONTAINER_LABEL})}
    run = start()
    run.until("] %%sandbox --no-fail --memory 128m -o memory")
    time.sleep(0.5)  # into the cell that never ends
    begin = time.monotonic()
    for container in docker_daemon.containers.list(filters={"label": CONTAINER_LABEL}):
        if container.id not in before:
            container.kill()
    last = ended_clearly(run, begin)
    assert "AssertionError" in last
    assert "forever  lost" in run.text


@pytest.fixture
def own_daemon(tmp_path: Path, docker_daemon: Any) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A second Docker daemon, for killing, with the sandbox's image in it."""
    if os.geteuid() != 0 or not shutil.which("dockerd"):
        pytest.skip("starting a second Docker daemon needs root and dockerd")
    folder = Path("/tmp") / f"gleitzeit-dockerd-{os.getpid()}"  # a socket's path must be short
    folder.mkdir()
    address = f"unix://{folder}/docker.sock"
    # In a network namespace of its own: a daemon without a bridge removes `docker0`, which belongs to the machine's daemon.
    command = ["unshare", "--net", "dockerd", "--host", address, "--bridge", "none", "--iptables=false", "--ip-masq=false"]
    command += [f"--{name}={folder}/{value}" for name, value in (("data-root", "data"), ("exec-root", "exec"), ("pidfile", "pid"))]
    with (tmp_path / "dockerd.log").open("wb") as log:
        daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        _fill(address, daemon, tmp_path / "dockerd.log")
        yield address, daemon
    finally:
        if daemon.poll() is None:
            daemon.terminate()
            daemon.wait(30)
        _end_what_it_left(folder)
        shutil.rmtree(folder)


def _fill(address: str, daemon: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        if subprocess.run(["docker", "-H", address, "version"], capture_output=True, check=False).returncode == 0:
            break
        assert daemon.poll() is None, log.read_text()
        time.sleep(0.1)
    with subprocess.Popen(["docker", "save", "gleitzeit/sandbox:latest"], stdout=subprocess.PIPE) as save:
        subprocess.run(["docker", "-H", address, "load"], stdin=save.stdout, check=True, capture_output=True)
    assert save.returncode == 0


def _end_what_it_left(folder: Path) -> None:
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


def test_a_killed_docker_daemon_is_named_in_the_next_error(start: Start, own_daemon: tuple[str, subprocess.Popen[bytes]]) -> None:
    address, daemon = own_daemon
    run = start(DOCKER_HOST=address)
    run.until("] %%sandbox -o hello")
    begin = time.monotonic()
    daemon.kill()
    daemon.wait()
    last = ended_clearly(run, begin)
    assert "Docker" in last or "lost" in run.text


async def test_an_instance_killed_in_mid_answer_gives_a_typed_error_with_the_text_so_far(smollm2_weights: Path) -> None:
    pieces: list[str] = []

    async def read_on(answer: AsyncIterator[Chunk]) -> None:
        async for chunk in answer:
            pieces.append(chunk.text)

    with EmbeddedInstance.launch("north") as north:
        async with OllamaPoolManager([north.instance]) as pool:
            answer = pool.stream("smollm2:135m", "Tell a long story about the sea.", options={"num_predict": 400})
            while len(pieces) < 5:
                pieces.append((await answer.__anext__()).text)
            begin = time.monotonic()
            north.kill()
            with pytest.raises(StreamInterrupted) as caught:
                await read_on(answer)
    assert time.monotonic() - begin < ENDS_WITHIN_S
    assert caught.value.partial == "".join(pieces)
