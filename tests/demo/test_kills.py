"""What the demo stands on is killed at five points of it. Each time it ends within 5 s, in words that say what happened."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gleitzeit_nb.core.requests import Chunk
from gleitzeit_nb.embedded import EmbeddedInstance
from gleitzeit_nb.errors import StreamInterrupted
from gleitzeit_nb.llm.pool import OllamaPoolManager
from tests.demo.demo_run import DemoRun
from tests.support.daemons import OwnDaemon, second_docker

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
def own_daemon(tmp_path: Path, docker_daemon: Any) -> Iterator[OwnDaemon]:
    with second_docker(tmp_path) as daemon:
        yield daemon


def test_a_killed_docker_daemon_is_named_in_the_next_error(start: Start, own_daemon: OwnDaemon) -> None:
    run = start(**own_daemon.environment)
    run.until("] %%sandbox -o hello")
    begin = time.monotonic()
    own_daemon.kill()
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
