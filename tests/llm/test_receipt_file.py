"""A file of receipts: whole lines from several kernels, private, bounded, and never the reason why a request fails."""

from __future__ import annotations

import errno
import json
import logging
import os
import stat
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gleitzeit_nb.core.receipts import ReceiptSettings
from gleitzeit_nb.llm import receipt_file
from gleitzeit_nb.llm.receipt_file import ReceiptFile
from tests.llm.conftest import pool_of
from tests.support.fake_ollama import BROKEN, FakeOllama

CANARY = "canary-51c2"


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_every_request_is_a_line_without_what_was_said(tmp_path: Path) -> None:
    path = tmp_path / "new" / "receipts.jsonl"
    async with FakeOllama("a", api_key=CANARY) as a, pool_of(a, receipts=ReceiptSettings(str(path))) as pool:
        await pool.chat("llama3.2", f"say {CANARY}")
        a.fault = BROKEN
        with pytest.raises(Exception, match="nobody answered"):
            await pool.generate("llama3.2", CANARY)
    assert [(each["outcome"], each["kind"], each["retries"]) for each in entries(path)] == [("ok", "chat", 0), ("failed", "generate", 0)]
    assert CANARY not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_prompts_and_answers_are_written_when_they_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "receipts.jsonl"
    async with FakeOllama("a") as a, pool_of(a, receipts=ReceiptSettings(str(path), prompts=True)) as pool:
        await pool.chat("llama3.2", [{"role": "user", "content": f"say {CANARY}", "images": ["aGVsbG8="]}])
    (entry,) = entries(path)
    assert entry["request"]["messages"] == [{"role": "user", "content": f"say {CANARY}", "images": 1}]
    assert entry["answer"]["text"] == f"say {CANARY} "


async def test_another_configuration_is_obeyed_at_once(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    async with FakeOllama("a") as a, pool_of(a) as pool:
        for file in (None, first, second, None):
            await pool.reconfigure(replace(pool.settings, receipts=ReceiptSettings(file and str(file))))
            await pool.chat("llama3.2", "hi")
    assert [len(entries(each)) for each in (first, second)] == [1, 1]


async def test_a_file_that_cannot_be_written_fails_no_request_and_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "receipts.jsonl"
    path.mkdir()
    async with FakeOllama("a") as a, pool_of(a, receipts=ReceiptSettings(str(path))) as pool:
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                await pool.chat("llama3.2", "hi")
            assert len([each for each in caplog.records if "receipts" in each.message]) == 1
            path.rmdir()
            await pool.chat("llama3.2", "hi")
    assert len(entries(path)) == 1


def test_no_pipe_holds_it_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    ReceiptFile(ReceiptSettings(str(path))).write({"a": 1})
    assert "no regular file" in caplog.text


def test_a_full_disk_leaves_whole_lines_only(tmp_path: Path) -> None:
    """The limit on a file's size stands in for the disk: a write is cut in the middle, the next fails."""
    path = tmp_path / "receipts.jsonl"
    code = f"""
        import resource
        from gleitzeit_nb.core.receipts import ReceiptSettings
        from gleitzeit_nb.llm.receipt_file import ReceiptFile
        file = ReceiptFile(ReceiptSettings({str(path)!r}))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        for number in range(20):
            file.write({{"number": number, "filling": "x" * 80}})
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        file.write({{"number": "room again"}})
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True, timeout=60)
    numbers = [each["number"] for each in entries(path)]
    assert numbers[-1] == "room again"
    assert numbers[:-1] == list(range(len(numbers) - 1))
    assert 5 < len(numbers) < 15
    assert ran.stderr.count("cannot be written") == 1


def test_a_line_that_a_killed_kernel_left_unfinished_harms_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "receipts.jsonl"
    path.write_text('{"a":1}\n{"a":')
    ReceiptFile(ReceiptSettings(str(path))).write({"a": 3})
    assert path.read_text() == '{"a":1}\n{"a":\n{"a":3}\n'


@pytest.mark.parametrize("keep", [0, 1, 3])
def test_it_is_moved_aside_before_it_grows_too_large(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "receipts.jsonl"
    file = ReceiptFile(ReceiptSettings(str(path), max_bytes=100, keep=keep))
    for number in range(60):
        file.write({"number": number})
    files = [path.with_name(f"{path.name}.{each}") for each in range(keep, 0, -1)] + [path]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    numbers = [each["number"] for each in (entry for one in files for entry in entries(one))]
    assert numbers == list(range(numbers[0], 60))
    assert all(one.stat().st_size <= 100 for one in files)


def test_several_kernels_write_whole_lines_while_the_file_is_moved(tmp_path: Path) -> None:
    path = tmp_path / "receipts.jsonl"
    code = f"""
        import sys
        from gleitzeit_nb.core.receipts import ReceiptSettings
        from gleitzeit_nb.llm.receipt_file import ReceiptFile
        file = ReceiptFile(ReceiptSettings({str(path)!r}, max_bytes=20_000, keep=100))
        for number in range(400):
            file.write({{"who": sys.argv[1], "number": number, "filling": "x" * 100}})
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    kernels = [subprocess.Popen([*command, str(who)], stderr=subprocess.PIPE) for who in range(3)]
    assert [kernel.communicate(timeout=60)[1] for kernel in kernels] == [b""] * 3
    found = [entry for one in tmp_path.iterdir() for entry in entries(one)]
    assert len(found) == 1200
    assert len({(each["who"], each["number"]) for each in found}) == 1200
    assert len(list(tmp_path.iterdir())) > 3


def test_a_lock_that_is_held_for_long_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "receipts.jsonl"
    path.touch()
    with path.open() as other:
        receipt_file.fcntl.flock(other, receipt_file.fcntl.LOCK_EX)
        ReceiptFile(ReceiptSettings(str(path))).write({"a": 1})
    assert entries(path) == [{"a": 1}]


def test_a_file_system_without_locks_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(receipt_file.fcntl, "flock", refuse)
    ReceiptFile(ReceiptSettings(str(tmp_path / "r"))).write({"a": 1})
    assert entries(tmp_path / "r") == [{"a": 1}]


def test_no_text_ends_a_line_or_cannot_be_written(tmp_path: Path) -> None:
    entry = {"a": "\ud800", "b": "\u2028\x85\n"}
    ReceiptFile(ReceiptSettings(str(tmp_path / "r"))).write(entry)
    assert entries(tmp_path / "r") == [entry]
