"""Kept answers: when one is given again, when not, and what stands on the disk."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from gleitzeit_nb.core.aliases import aliases_of
from gleitzeit_nb.core.remembering import CacheSettings
from gleitzeit_nb.core.requests import Reply, Route, Usage
from gleitzeit_nb.errors import NoInstanceError, PoolError
from gleitzeit_nb.llm.cache import AnswerCache
from gleitzeit_nb.llm.cache import Usage as Used
from gleitzeit_nb.llm.pool import OllamaPoolManager
from tests.llm.conftest import pool_of
from tests.support.fake_ollama import BROKEN, FakeOllama

REPLY = Reply("hello", "phi", "a", Usage(completion_tokens=2), Route(0.0, (), (), ""), 0.5)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GLEITZEIT_CACHE_DIR", str(tmp_path / "kept"))
    return tmp_path / "kept" / "answers"


@pytest.fixture
async def served() -> AsyncIterator[tuple[FakeOllama, OllamaPoolManager]]:
    async with FakeOllama("a", ["llama3.2:latest", "phi"]) as server, pool_of(server, aliases=aliases_of({"fast": "llama3.2"})) as pool:
        yield server, pool


# -- through the pool -----------------------------------------------------------------------------------------------------------


async def test_the_same_question_is_answered_from_the_cache(served: Any) -> None:
    server, pool = served
    first = await pool.chat("llama3.2", "one two", cache=True)
    second = await pool.chat("LLAMA3.2:latest", "one two", cache=True, tags=())
    assert (first.source, second.source) == ("instance", "cache")
    assert (second.text, second.instance, second.usage) == (first.text, "a", first.usage)
    assert len(server.asked) == 1
    chunks = [chunk async for chunk in pool.stream("llama3.2", "one two", cache=True)]
    assert [chunk.text for chunk in chunks] == ["one two ", ""]


async def test_a_kept_answer_has_a_receipt_that_says_nobody_was_asked(served: Any) -> None:
    _, pool = served
    await pool.chat("llama3.2", "one two", cache=True)
    reply = await pool.chat("fast", "one two", cache=True)
    receipt, first = pool.receipts()
    assert reply.receipt is receipt
    assert (receipt.source, receipt.outcome, receipt.instance, receipt.tries, receipt.strategy) == ("cache", "ok", "", (), "")
    assert (receipt.model, receipt.alias, receipt.kind, receipt.digest) == ("llama3.2", "fast", "chat", first.digest)
    assert (receipt.usage, receipt.cold, receipt.gpu.known_by) == (Usage(), None, "unknown"), "nothing was generated"
    assert receipt.timings.total_s == reply.elapsed_s
    assert len(first.digest) == 64


async def test_a_search_that_fails_or_is_given_up_leaves_a_receipt(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, pool = served
    with pytest.raises(NoInstanceError, match="no model was named"):
        await pool.chat("", "hi", cache=True)
    looking, go_on = threading.Event(), threading.Event()
    monkeypatch.setattr(pool._open().parts.memory.cache, "get", lambda _key: (looking.set(), go_on.wait(10))[0])
    asking = asyncio.create_task(pool.chat("llama3.2", "hi", cache=True))
    await asyncio.to_thread(looking.wait, 10)
    asking.cancel()
    await asyncio.wait([asking])
    go_on.set()
    assert [(each.outcome, each.error, each.instance) for each in pool.receipts()] == [
        ("cancelled", "CancelledError", ""),
        ("failed", "NoInstanceError", ""),
    ]


@pytest.mark.parametrize("keywords", [{"options": {"seed": 1}}, {"format": "json"}, {"think": True}, {"cache": False}, {"cache": None}])
async def test_another_question_is_asked(served: Any, keywords: dict[str, Any]) -> None:
    server, pool = served
    await pool.chat("llama3.2", "one two", cache=True)
    assert (await pool.chat("llama3.2", "one two", **{"cache": True, **keywords})).source == "instance"
    assert (await pool.chat("phi", "one two", cache=True)).source == "instance"
    assert len(server.asked) == 3


async def test_vectors_and_completions_are_kept_too(served: Any) -> None:
    server, pool = served
    assert await pool.embed("phi", ["a"], cache=True) == await pool.embed("phi", ["a"], cache=True)
    await pool.generate("phi", "once", cache=True)
    assert (await pool.generate("phi", "once", cache=True)).source == "cache"
    assert len(server.asked) == 2


async def test_the_pool_may_keep_everything() -> None:
    async with FakeOllama("a") as server, pool_of(server, cache=CacheSettings(enabled=True), default_model="llama3.2") as pool:
        await pool.chat("", "hi")
        assert (await pool.chat("llama3.2", "hi")).source == "cache"
        assert (await pool.chat("llama3.2", "hi", cache=False)).source == "instance"


async def test_a_model_that_was_pulled_anew_is_asked_anew(served: Any) -> None:
    _, pool = served
    await pool.chat("llama3.2", "hi", cache=True)
    pool._open().parts.members.instances[0].digests["llama3.2:latest"] = "f" * 64
    for loaded in list(pool._open().parts.members.instances[0].loaded):
        del pool._open().parts.members.instances[0].loaded[loaded]
    assert (await pool.chat("llama3.2", "hi", cache=True)).source == "instance"


async def test_an_answer_of_the_same_model_elsewhere_is_as_good(served: Any) -> None:
    _, pool = served
    await pool.chat("llama3.2", "hi", cache=True)
    async with FakeOllama("b") as other:
        await pool.add_instance(other.settings())
        assert (await pool.chat("llama3.2", "hi", cache=True, instance="b")).source == "cache"


async def test_an_alias_finds_what_its_model_said(served: Any) -> None:
    _, pool = served
    await pool.chat("llama3.2", "hi", cache=True)
    reply = await pool.chat("fast", "hi", cache=True)
    assert (reply.source, reply.alias, reply.model) == ("cache", "fast", "llama3.2")


async def test_failures_and_what_functions_had_a_part_in_are_not_kept(served: Any) -> None:
    server, pool = served
    server.fault = BROKEN
    with pytest.raises(PoolError):
        await pool.chat("llama3.2", "hi", cache=True)
    server.fault = None
    dialogue = [{"role": "user", "content": "hi"}, {"role": "tool", "content": "3", "tool_name": "look"}]
    await pool.chat("llama3.2", dialogue, cache=True)
    assert (await pool.chat("llama3.2", dialogue, cache=True)).source == "instance"
    assert AnswerCache(1 << 20).usage() == Used(0, 0)


async def test_a_structured_answer_is_read_again_from_what_is_kept(served: Any) -> None:
    class Word(BaseModel):
        word: str

    server, pool = served
    server.tokens = lambda _body: ['{"word": ', '"yes"}']
    await pool.chat("llama3.2", "hi", cache=True, schema=Word)
    reply = await pool.chat("llama3.2", "hi", cache=True, schema=Word)
    assert (reply.source, reply.parsed) == ("cache", Word(word="yes"))


@pytest.fixture
def no_folder(folder: Path) -> None:
    folder.parent.mkdir(parents=True)
    folder.write_text("a file in its place")


@pytest.mark.usefixtures("no_folder")
async def test_a_folder_that_cannot_be_written_costs_no_answer(served: Any, caplog: pytest.LogCaptureFixture) -> None:
    _, pool = served
    for _ in range(2):
        assert (await pool.chat("llama3.2", "hi", cache=True)).source == "instance"
    assert sum("cannot be kept" in record.message for record in caplog.records) == 1


# -- on the disk ------------------------------------------------------------------------------------------------------------------


def key(number: int) -> str:
    return f"{number:02x}" + "0" * 62


def test_only_the_user_can_read_what_is_kept(folder: Path) -> None:
    folder.mkdir(parents=True, mode=0o755)
    folder.chmod(0o755)
    AnswerCache(1 << 20).put(key(1), REPLY)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}
    assert set(modes.values()) == {0o700, 0o600}
    assert [mode for path, mode in modes.items() if path.is_file()] == [0o600]


def test_a_link_in_place_of_the_folder_is_not_followed(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "elsewhere").mkdir()
    folder.parent.mkdir(parents=True)
    folder.symlink_to(tmp_path / "elsewhere")
    AnswerCache(1 << 20).put(key(1), REPLY)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert "not a folder of this user" in caplog.text


BROKEN_ENTRIES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda data: data[:30],
    "empty": lambda data: b"",
    "binary": lambda data: b"\xff\xfe\x00",
    "another's": lambda data: data.replace(key(1).encode(), key(2).encode()),
    "another version": lambda data: data.replace(b'"version": 1', b'"version": 2'),
    "no reply": lambda data: b'{"version": 1, "key": "' + key(1).encode() + b'"}',
    "a list": lambda data: b"[]",
    "deep": lambda data: b"[" * 100_000,
}


@pytest.mark.parametrize("broken", BROKEN_ENTRIES.values(), ids=BROKEN_ENTRIES)
def test_an_entry_that_cannot_be_read_is_a_miss_and_goes(
    folder: Path, caplog: pytest.LogCaptureFixture, broken: Callable[[bytes], bytes]
) -> None:
    cache = AnswerCache(1 << 20)
    cache.put(key(1), REPLY)
    (file,) = folder.rglob("*.json")
    file.write_bytes(broken(file.read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert cache.get(key(1)) is None
    assert "is dropped" in caplog.text
    assert not file.exists()
    cache.put(key(1), REPLY)
    assert cache.get(key(1)) is not None


def test_what_was_used_longest_ago_goes_first(folder: Path) -> None:
    cache = AnswerCache(5000)
    for number in range(4):
        cache.put(key(number), replace(REPLY, text="x" * 1000))
    for number, file in enumerate(sorted(folder.rglob("*.json"))):
        os.utime(file, (1000 + number, 1000 + number))
    assert cache.get(key(0)) is not None
    cache.put(key(9), replace(REPLY, text="x" * 1000))
    assert cache.usage().size_bytes <= 5000
    assert [cache.get(key(number)) is not None for number in (0, 1, 2, 3, 9)] == [True, False, False, True, True]


def test_one_answer_larger_than_everything_is_not_kept(folder: Path) -> None:
    cache = AnswerCache(100)
    cache.put(key(1), replace(REPLY, text="x" * 200))
    assert cache.usage() == Used(0, 0)


def test_what_is_kept_can_be_forgotten(folder: Path) -> None:
    cache = AnswerCache(1 << 20)
    assert cache.clear() == Used(0, 0)
    for number in range(3):
        cache.put(key(number), REPLY)
    used = cache.usage()
    assert used.entries == 3
    assert cache.clear() == used
    assert cache.usage() == Used(0, 0)
    assert list(folder.rglob(".*")) == []
