"""Several kernels on one machine: together they keep to an instance's slots, and a kernel that dies keeps none."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import stat
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.config import runtime_directory
from gleitzeit_nb.core.instances import InstanceSettings
from gleitzeit_nb.llm import shared_slots, slot_folder
from gleitzeit_nb.llm.shared_slots import SharedSlots, limit_in, record_name, sharer
from tests.llm.conftest import pool_of
from tests.support.fake_ollama import FakeOllama
from tests.support.waiting import until

pytestmark = pytest.mark.skipif(not shared_slots.HAS_LOCKS, reason="this system has no flock")

M = "llama3.2:latest"


class Kernel:
    """Another process that asks through a pool of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def says(self, word: str, limit_s: float = 30.0) -> str:
        """The rest of the line that begins with `word`."""
        assert self.process.stdout is not None
        while True:
            line = (await asyncio.wait_for(self.process.stdout.readline(), limit_s)).decode().strip()
            assert line, f"the kernel ended without saying {word!r}"
            if line.startswith(word):
                return line.removeprefix(word).strip()

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


@contextlib.asynccontextmanager
async def kernel(url: str, limit: int, count: int = 1, *more: str) -> AsyncIterator[Kernel]:
    arguments = ("-m", "tests.llm.slot_user", url, str(limit), str(count), *more)
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    try:
        yield Kernel(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "gleitzeit"


@pytest.fixture
def shares(root: Path) -> Iterator[list[SharedSlots]]:
    made: list[SharedSlots] = []
    yield made
    for share in made:
        share.close()


def share(root: Path, made: list[SharedSlots], limit: int | None = 2, url: str = "http://127.0.0.1:11434") -> SharedSlots:
    one = SharedSlots(root, InstanceSettings("a", url, max_concurrent=limit))
    made.append(one)
    return one


def take(one: SharedSlots, model: str = M) -> shared_slots.GiveBack | None:
    limit = one._settings.max_concurrent
    return one.take(model, limit or 1, one_per_model=limit is None)


# -- between processes --------------------------------------------------------------------------------------------------------


async def test_three_kernels_never_overrun_a_server_together() -> None:
    async with FakeOllama("a", token_s=0.01) as a:
        async with kernel(a.url, 2, 30) as one, kernel(a.url, 2, 30) as two, pool_of(a, max_concurrent=2) as pool:
            await asyncio.gather(*(pool.chat("llama3.2", "one two") for _ in range(30)))
            waits = [float(await each.says("done")) for each in (one, two)]
        assert len(a.asked) == 90
        assert a.most_in_flight == 2
    assert max(waits) < 30


async def test_without_sharing_they_would() -> None:
    async with FakeOllama("a") as a:
        a.gate = asyncio.Event()
        async with kernel(a.url, 2, 2) as one, pool_of(a, max_concurrent=2, share_slots=False) as pool:
            await one.says("asking")
            asking = [asyncio.create_task(pool.chat("llama3.2", "hi")) for _ in range(2)]
            await until(lambda: a.in_flight == 4)
            a.gate.set()
            await asyncio.gather(*asking)
            await one.says("done")


async def test_a_killed_kernel_frees_its_slots_at_once() -> None:
    async with FakeOllama("a") as a:
        a.gate = asyncio.Event()
        async with kernel(a.url, 1) as one, pool_of(a, max_concurrent=1) as pool:
            await one.says("asking")
            await until(lambda: a.in_flight == 1)
            asking = asyncio.create_task(pool.chat("llama3.2", "hi", deadline=30))
            await until(lambda: pool.queue_depth == 1)
            assert list(pool.explain("llama3.2")) == [("a", "busy in another kernel")]
            await asyncio.sleep(0.5)
            assert not asking.done()
            a.gate.set()
            await one.kill()
            await asking


async def test_a_forked_child_that_lives_on_holds_nothing() -> None:
    async with FakeOllama("a") as a:
        a.gate = asyncio.Event()
        async with kernel(a.url, 1, 1, "fork") as one, pool_of(a, max_concurrent=1) as pool:
            child = int(await one.says("child"))
            await until(lambda: a.in_flight == 1)
            try:
                await one.kill()
                os.kill(child, 0)  # it lives
                a.gate.set()
                await pool.chat("llama3.2", "hi", deadline=20)
                assert [each.standing for each in pool.receipts()[0].candidates] == ["picked"]
            finally:
                os.kill(child, signal.SIGKILL)


async def test_a_kernel_that_waits_gets_its_turn_beside_one_that_is_never_done() -> None:
    async with FakeOllama("a", token_s=0.02) as a:
        async with pool_of(a, max_concurrent=1) as pool:
            busy = True

            async def ask_on() -> None:
                while busy:
                    await pool.chat("llama3.2", "one two")

            asking = [asyncio.create_task(ask_on()) for _ in range(3)]
            try:
                async with kernel(a.url, 1, 2) as other:
                    await other.says("done")
            finally:
                busy = False
            await asyncio.gather(*asking)
        assert a.most_in_flight == 1


async def test_kernels_that_are_killed_again_and_again_leak_no_slot() -> None:
    async with FakeOllama("a") as a:
        a.gate.clear()
        for _ in range(3):
            async with kernel(a.url, 2, 20) as doomed:
                await until(lambda: a.in_flight == 2, limit_s=60.0)
                await doomed.kill()
            await until(lambda: a.in_flight == 0)
        async with pool_of(a, max_concurrent=2) as pool:
            asking = [asyncio.create_task(pool.chat("llama3.2", "hi")) for _ in range(3)]
            await until(lambda: a.in_flight == 2 and pool.queue_depth == 1)
            (instance,) = pool._instances
            assert instance.share is not None
            assert repr(instance.share).endswith("2 held, 1 pools>")
            a.gate.set()
            await asyncio.gather(*asking)


# -- in one process -----------------------------------------------------------------------------------------------------------


def test_slots_are_counted_over_all_pools(root: Path, shares: list[SharedSlots]) -> None:
    one, two = share(root, shares), share(root, shares)
    first, second = take(one), take(two)
    assert first is not None
    assert second is not None
    assert take(one) is None
    assert take(two) is None
    second()
    assert take(one) is not None


def test_other_spellings_of_an_address_mean_the_same_server(root: Path, shares: list[SharedSlots]) -> None:
    one = share(root, shares, 1, "http://localhost:11434/")
    other = share(root, shares, 1, "http://127.0.0.1:11434")
    elsewhere = share(root, shares, 1, "http://127.0.0.1:11435")
    assert take(one) is not None
    assert take(other) is None
    assert take(elsewhere) is not None


def test_the_smallest_limit_wins_as_long_as_its_owner_is_there(root: Path, shares: list[SharedSlots]) -> None:
    big = share(root, shares, 4)
    assert take(big) is not None
    small = share(root, shares, 2)
    assert take(small) is not None
    assert take(big) is None
    assert (big.limit, small.limit, big.kernels) == (2, 2, 2)
    small.close()
    assert [take(big) is not None for _ in range(4)] == [True, True, True, False]
    assert (big.limit, big.kernels) == (4, 1)


def test_without_any_limit_a_model_is_asked_once_at_a_time(root: Path, shares: list[SharedSlots]) -> None:
    one, two = share(root, shares, None), share(root, shares, None)
    back = one.take(M, 2, one_per_model=True)
    assert back is not None
    assert two.take(M, 2, one_per_model=True) is None
    assert two.take("phi:3b", 2, one_per_model=True) is not None
    back()
    assert two.take(M, 2, one_per_model=True) is not None
    assert one.take("other:1b", 2, one_per_model=True) is None, "one request per model, and no more than there are slots"


def test_a_limit_that_somebody_has_set_replaces_one_request_per_model(root: Path, shares: list[SharedSlots]) -> None:
    with_limit, without = share(root, shares, 3), share(root, shares, None)
    assert take(with_limit) is not None
    assert without.take(M, 1, one_per_model=True) is None, "the only slot within its own bound is taken"
    assert without.take(M, 2, one_per_model=True) is not None


def test_what_a_dead_pool_left_is_removed(root: Path, shares: list[SharedSlots]) -> None:
    one = share(root, shares, 4)
    take(one)
    folder = root / "slots" / slot_folder.folder_name("http://127.0.0.1:11434")
    dead = folder / record_name("1-dead", 1)
    dead.touch(0o600)
    assert take(one) is not None
    assert one.limit == 4
    assert not dead.exists()


def test_a_lease_that_ends_after_the_pool_was_closed_harms_nobody(root: Path, shares: list[SharedSlots]) -> None:
    one, two = share(root, shares, 1), share(root, shares, 1)
    back = take(one)
    assert back is not None
    one.close()
    assert take(two) is not None
    back()
    assert take(share(root, shares, 1)) is None
    assert not list(root.glob("slots/*/member-*-dead*"))


def test_files_that_were_cleared_away_are_made_anew(root: Path, shares: list[SharedSlots]) -> None:
    one, two = share(root, shares, 1), share(root, shares, 1)
    back = take(one)
    assert back is not None
    (folder,) = (root / "slots").iterdir()
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    back()
    assert take(one) is not None
    assert take(two) is None


def test_a_slot_file_that_was_removed_is_not_believed(root: Path, shares: list[SharedSlots]) -> None:
    one, two = share(root, shares, 1), share(root, shares, 1)
    back = take(one)
    assert back is not None
    back()
    (slot,) = root.glob("slots/*/slot-0")
    slot.unlink()
    assert take(one) is not None
    assert take(two) is None


def test_nothing_is_open_after_the_end(root: Path, shares: list[SharedSlots]) -> None:
    before = set(os.listdir("/dev/fd"))
    one = share(root, shares)
    take(one)
    one.close()
    del one
    assert set(os.listdir("/dev/fd")) == before
    assert [file.name for file in root.glob("slots/*/*")] == ["slot-0"]


# -- the folder -----------------------------------------------------------------------------------------------------------------


def test_the_folder_is_private(root: Path, shares: list[SharedSlots]) -> None:
    take(share(root, shares))
    for folder in (root, root / "slots", *(root / "slots").iterdir()):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in root.glob("slots/*/*")} == {0o600}


@pytest.mark.parametrize("flaw", ["open to others", "a link", "a file"])
def test_a_folder_that_is_not_private_is_not_used(
    flaw: str, root: Path, shares: list[SharedSlots], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_slots, "_told", set())
    if flaw == "a file":
        root.touch()
    else:
        target = root if flaw == "open to others" else root.with_name("elsewhere")
        target.mkdir()
        target.chmod(0o755 if flaw == "open to others" else 0o700)
        if flaw == "a link":
            root.symlink_to(target)
    one, two = share(root, shares, 1), share(root, shares, 1)
    with caplog.at_level(logging.WARNING):
        assert all(take(each) is not None for each in (one, two, one)), "requests go on, unshared"
    assert len(caplog.records) == 1
    assert str(root) in caplog.text
    assert root.is_file() or not list(root.iterdir())


def test_a_folder_of_another_user_is_not_used(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root.mkdir(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(slot_folder.NotPrivateError, match="belongs to another user"):
        slot_folder.open_folder(root, "http://127.0.0.1:11434")


def test_a_runtime_directory_counts_only_when_it_is_the_users_own(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert runtime_directory({"XDG_RUNTIME_DIR": str(tmp_path)}) == tmp_path / "gleitzeit"
    for other in ("", "relative", str(tmp_path / "missing")):
        assert runtime_directory({"XDG_RUNTIME_DIR": other}) is None
    tmp_path.chmod(0o777)
    assert runtime_directory({"XDG_RUNTIME_DIR": str(tmp_path)}) is None


def test_sharing_can_be_switched_off_and_is_off_where_there_are_no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = InstanceSettings("a", "http://a:1")
    assert sharer(False, time.monotonic)(settings) is None
    assert sharer(True, time.monotonic)(settings) is not None
    monkeypatch.setattr(shared_slots, "HAS_LOCKS", False)
    assert sharer(True, time.monotonic)(settings) is None


@pytest.mark.parametrize("begun", [False, True], ids=["from the start", "while a slot is held"])
async def test_trouble_with_the_files_costs_no_request(begun: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    async with FakeOllama("a", token_s=0.02) as a, pool_of(a, max_concurrent=2) as pool:
        first = [asyncio.create_task(pool.chat("llama3.2", "hi"))] if begun else []
        await until(lambda: a.in_flight == len(first))
        monkeypatch.setattr(shared_slots.fcntl, "flock", full)
        await asyncio.gather(*first, *(pool.chat("llama3.2", "hi") for _ in range(6)))
        assert a.most_in_flight == 2


# -- names ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://localhost:11434", "loopback:11434"),
        ("http://LOCALHOST:11434/", "loopback:11434"),
        ("http://127.0.0.1:11434", "loopback:11434"),
        ("http://[::1]:11434", "loopback:11434"),
        ("http://[::ffff:127.0.0.1]:11434", "loopback:11434"),
        ("http://0.0.0.0:11434", "loopback:11434"),
        ("localhost", "loopback:11434"),
        ("http://GPU-1", "gpu-1:80"),
        ("https://gpu-1:443", "gpu-1:443"),
        ("https://gpu-1/ollama/", "gpu-1:443/ollama"),
        ("http://me:secret@gpu-1:80", "gpu-1:80"),
        ("http://127.0.0.2:11434", "127.0.0.2:11434"),
    ],
)
def test_spellings_of_an_address_have_one_key(url: str, key: str) -> None:
    assert slot_folder.server_key(url) == key


@given(st.text(max_size=60))
def test_any_text_makes_a_safe_folder_name(text: str) -> None:
    name = slot_folder.folder_name(text)
    assert name == slot_folder.folder_name(text)
    assert name.strip("abcdefghijklmnopqrstuvwxyz0123456789-") == ""
    assert len(name) < 64


@given(st.none() | st.integers(1, 10**6), st.text("0123456789abcdef-", min_size=1, max_size=20))
def test_a_record_tells_its_limit(limit: int | None, name: str) -> None:
    assert limit_in(record_name(name, limit)) == limit


@given(st.text(max_size=40))
def test_what_is_no_record_tells_no_limit(text: str) -> None:
    limit = limit_in(text)
    assert limit is None or limit > 0
