"""Killed processes, damaged files, old processors: each a clear error, and the next request recovers."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import httpx
import ollama
import pytest

from gleitzeit_nb.embedded import EmbeddedInstance, weights
from gleitzeit_nb.embedded.child import Child
from gleitzeit_nb.embedded.cpu import check_cpu, missing_flags
from gleitzeit_nb.errors import ChildStartError, WeightsError
from tests.embedded.conftest import COLORS, MODEL, Connect, Launch, bearer, children, cpu_ticks
from tests.support.waiting import wait_until

STORY = [{"role": "user", "content": "Tell me a very long story about a lighthouse."}]


@pytest.mark.model
def test_a_child_killed_in_mid_stream_ends_the_stream_with_an_error_line(embedded: EmbeddedInstance, http: httpx.Client) -> None:
    http.post("/api/generate", json={"model": MODEL})
    (child,) = children(embedded.pid)
    with http.stream("POST", "/api/chat", json={"model": MODEL, "messages": STORY, "options": {"num_predict": 3000}}) as response:
        lines = response.iter_lines()
        next(lines)
        os.kill(child, signal.SIGKILL)
        rest = list(lines)
    assert response.status_code == 200
    assert "an error was encountered while running the model: llama-server process has terminated: signal SIGKILL" in rest[-1]
    again = http.post("/api/chat", json={"model": MODEL, "messages": COLORS, "stream": False, "options": {"num_predict": 2}})
    assert again.json()["eval_count"] == 2
    assert children(embedded.pid) not in ([], [child])


@pytest.mark.model
def test_a_child_killed_before_the_first_chunk_is_a_500(embedded: EmbeddedInstance) -> None:
    async def scene() -> httpx.Response:
        async with httpx.AsyncClient(base_url=embedded.url, headers=bearer(embedded), timeout=60, trust_env=False) as http:
            await http.post("/api/generate", json={"model": MODEL})
            (child,) = children(embedded.pid)
            long = [{"role": "user", "content": "lighthouse " * 3000}]
            asking = asyncio.create_task(http.post("/api/chat", json={"model": MODEL, "messages": long}))
            spent = cpu_ticks(child)  # reading that prompt takes many seconds: it has begun, and is far from its end
            await asyncio.to_thread(wait_until, lambda: cpu_ticks(child) > spent + 20)
            os.kill(child, signal.SIGKILL)
            return await asking

    answer = asyncio.run(scene())
    assert answer.status_code == 500
    assert answer.json()["error"].startswith("model runner has unexpectedly stopped")


@pytest.mark.model
def test_a_child_killed_while_idle_is_replaced_unnoticed(embedded: EmbeddedInstance, client: ollama.Client) -> None:
    client.generate(MODEL)
    (child,) = children(embedded.pid)
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: not client.ps().models)
    assert client.chat(MODEL, COLORS, options={"num_predict": 2}).eval_count == 2


@pytest.fixture
def private_weights(tmp_path: Path, smollm2_weights: Path) -> Path:
    """A copy of the real weights in a cache of the test's own."""
    path = weights.cached_path(weights.KNOWN_MODELS[MODEL], tmp_path)
    path.parent.mkdir(parents=True)
    shutil.copy(smollm2_weights, path)
    return path


@pytest.mark.model
@pytest.mark.parametrize("damage", ["flipped bytes", "overwritten header", "cut short"])
def test_damaged_weights_are_named_and_mended_weights_serve(
    launch: Launch, tmp_path: Path, private_weights: Path, smollm2_weights: Path, damage: str, connect: Connect
) -> None:
    instance = launch(cache_dir=tmp_path)
    with private_weights.open("r+b") as file:
        if damage == "cut short":
            file.truncate(1_000_000)
        else:
            file.seek(90_000_000 if damage == "flipped bytes" else 0)
            file.write(bytes(1000))
    client = connect(instance)
    with pytest.raises(ollama.ResponseError) as caught:
        client.generate(MODEL)
    assert caught.value.status_code == 500
    assert str(private_weights) in caught.value.error
    assert "gleitzeit-nb embedded fetch" in caught.value.error
    assert children(instance.pid) == []
    shutil.copy(smollm2_weights, private_weights)
    assert client.chat(MODEL, COLORS, options={"num_predict": 2}).eval_count == 2


@pytest.mark.model
def test_weights_that_vanish_make_the_model_unknown(launch: Launch, tmp_path: Path, private_weights: Path, connect: Connect) -> None:
    client = connect(launch(cache_dir=tmp_path))
    private_weights.unlink()
    assert client.list().models == []
    with pytest.raises(ollama.ResponseError) as caught:
        client.generate(MODEL)
    assert caught.value.status_code == 404
    with pytest.raises(WeightsError, match="are not on this machine"):
        EmbeddedInstance.launch("again", cache_dir=tmp_path)


def runner(code: str) -> list[str]:
    return [sys.executable, "-c", f"import os, signal, sys\nsys.stdin.readline()\n{code}"]


async def start(code: str, limit_s: float = 30.0) -> Child:
    return await Child.start(Path("model.gguf"), slots=1, num_ctx=128, threads=1, embedding=False, limit_s=limit_s, runner=runner(code))


async def test_a_child_that_dies_of_an_unknown_instruction_says_what_the_engine_needs() -> None:
    with pytest.raises(ChildStartError, match=r"signal SIGILL.*\(AVX2"):
        await start("os.kill(os.getpid(), signal.SIGILL)")


async def test_a_child_that_is_killed_while_loading_points_at_memory() -> None:
    with pytest.raises(ChildStartError, match=r"signal SIGKILL.* lack of memory"):
        await start("os.kill(os.getpid(), signal.SIGKILL)")


async def test_a_reason_that_a_child_gives_on_its_own_line_is_quoted() -> None:
    reason = json.dumps({"failed": "ImportError: libgomp.so.1: cannot open shared object file"})
    with pytest.raises(ChildStartError, match=r"exit status 3 .*It said: ImportError: libgomp"):
        await start(f"print({reason!r}, flush=True); os._exit(3)")


async def test_a_child_that_gives_up_is_quoted() -> None:
    with pytest.raises(ChildStartError, match=r"exit status 3 .*It said: tensor is not within the file bounds"):
        await start("print('0.00 E tensor is not within the file bounds', file=sys.stderr); sys.exit(3)")


async def test_a_child_that_never_gets_ready_is_ended() -> None:
    with pytest.raises(ChildStartError, match=r"was not loaded within 1 s"):
        await start("import time; time.sleep(600)", limit_s=1.0)


async def test_other_output_before_the_handshake_is_skipped() -> None:
    child = await start("print('hello'); print('[1]'); print('{\"ready\": \"http://127.0.0.1:9\"}', flush=True); sys.stdin.read()")
    try:
        assert child.address == "http://127.0.0.1:9"
        assert child.alive
    finally:
        await child.stop()
    assert not child.alive


def established(port: int) -> int:
    """Open connections of this machine to a port on loopback."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(1 for row in rows if row[2] == f"0100007F:{port:04X}" and row[3] == "01")


@pytest.mark.model
async def test_no_connection_to_a_child_is_left_idle(smollm2_weights: Path) -> None:
    """llama-server has few threads; an idle connection holds one for 5 s, and has been seen to keep 40 small requests waiting for 15 s."""
    child = await Child.start(smollm2_weights, slots=1, num_ctx=128, threads=1, embedding=False)
    try:
        answers = await asyncio.gather(*(child.post("/tokenize", {"content": "x"}) for _ in range(40)))
        assert all(len(answer["tokens"]) == 1 for answer in answers)
        port = int(child.address.rpartition(":")[2])
        await asyncio.to_thread(wait_until, lambda: established(port) == 0, 3)
    finally:
        await child.stop()


async def test_a_cancelled_load_leaves_no_process(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    loading = asyncio.create_task(start(f"open({str(mark)!r}, 'w').write(str(os.getpid())); import time; time.sleep(600)"))
    await asyncio.to_thread(wait_until, lambda: mark.exists() and mark.read_text())
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)


def cpuinfo(path: Path, flags: str) -> Path:
    path.write_text(f"processor\t: 0\nmodel name\t: Test\nflags\t\t: fpu sse2 {flags}\n")
    return path


def test_a_processor_without_the_instructions_is_told_apart(tmp_path: Path) -> None:
    old = cpuinfo(tmp_path / "old", "avx f16c")
    with pytest.raises(ChildStartError, match=r"lacks AVX2, FMA, BMI2.*\n.*OLLAMA_HOST"):
        check_cpu(old, "x86_64")
    assert missing_flags(cpuinfo(tmp_path / "new", "avx2 fma f16c bmi2"), "x86_64") == ()


def test_other_machines_and_unreadable_files_are_not_judged(tmp_path: Path) -> None:
    assert missing_flags(cpuinfo(tmp_path / "old", ""), "aarch64") == ()
    assert missing_flags(tmp_path / "absent", "x86_64") == ()
