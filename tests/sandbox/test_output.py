"""Output as text: whole across any pieces, honestly cut, and cheap to the kernel however much there was."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.core.execution import DOCKER_MODE, MIB, RESTRICTED_MODE
from gleitzeit_nb.errors import SandboxError
from gleitzeit_nb.sandbox import Sandbox
from gleitzeit_nb.sandbox.arriving import OutputReader
from gleitzeit_nb.sandbox.protocol import FrameError

BYTES = st.one_of(st.binary(max_size=30), st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass")))


@given(st.lists(BYTES, max_size=6), st.lists(BYTES, max_size=6), st.booleans())
def test_pieces_make_the_same_text_as_the_whole_and_a_gap_stands_between(head: list[bytes], tail: list[bytes], gap: bool) -> None:
    heard: list[str] = []
    reader = OutputReader("stdout", 10_000, lambda _, text: heard.append(text))
    for piece in head:
        reader.take(piece)
    if gap:
        reader.gap((7).to_bytes(8, "big"))
    for piece in tail:
        reader.take(piece)
    text = reader.end()
    assert text == "".join(heard)
    assert all(heard)
    if gap:
        before, after = b"".join(head).decode("utf-8", "replace"), b"".join(tail).decode("utf-8", "replace")
        assert text == f"{before}\n[... 7 bytes left out ...]\n{after}"
    else:
        assert text == b"".join([*head, *tail]).decode("utf-8", "replace")


def test_a_stream_that_is_longer_than_it_may_be_breaks_the_protocol() -> None:
    reader = OutputReader("stdout", 10, None)
    reader.take(b"x" * 10)
    with pytest.raises(FrameError):
        reader.take(b"x")


def available(mode: str) -> str:
    """Why the mode cannot be had here; "" when it can."""

    async def check() -> str:
        async with Sandbox() as sandbox:
            try:
                await sandbox.check(mode)
            except SandboxError as exc:
                return str(exc)
        return ""

    return asyncio.run(check())


@pytest.mark.parametrize("flood", ["text", "no text"])
@pytest.mark.parametrize("mode", [DOCKER_MODE, RESTRICTED_MODE])
def test_a_gibibyte_of_output_costs_at_most_four_times_the_cap(
    mode: str, flood: str, request: pytest.FixtureRequest, project_root: Path
) -> None:
    if mode == DOCKER_MODE:
        request.getfixturevalue("docker_image")
    missing = available(mode)
    if missing:
        pytest.skip(f"no {mode} here: {missing}")
    cap = 8 * MIB
    command = [sys.executable, "-m", "bench.sandbox_output", mode, str(cap), flood]
    done = subprocess.run(command, cwd=project_root, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["grown"] <= 4 * cap
