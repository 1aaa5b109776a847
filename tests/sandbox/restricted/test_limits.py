"""What code in the restricted mode can use up: bombs of every kind are bounded, and the guest goes on afterwards."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gleitzeit_nb.core.execution import MIB, Limits, ModeSettings
from gleitzeit_nb.sandbox.cgroup import Cgroup, find_hierarchy
from gleitzeit_nb.sandbox.jail.process import GuestProcess
from gleitzeit_nb.sandbox.restricted import RestrictedLauncher
from tests.sandbox.restricted.attempts import ATTEMPT
from tests.sandbox.restricted.conftest import Maker
from tests.sandbox.restricted.held_guest import STRANGER, STRONG, Guests, HeldGuest, descendants, eventually

with_quota = pytest.mark.parametrize("guest", ["root", "root-weaker", "user"], indirect=True)
as_root = pytest.mark.parametrize("guest", ["root", "root-weaker"], indirect=True)
as_user = pytest.mark.parametrize("guest", ["user", "user-weaker"], indirect=True)

FORK_UNTIL_REFUSED = """
import os, time
made = 0
while made < 3000:
    try:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
    except BlockingIOError:
        break
    made += 1
print(made)
"""


def still_works(guest: HeldGuest) -> bool:
    return guest.run("print('alive')", timeout_s=30)["stdout"] == "alive\n"


def test_the_number_of_processes_is_bounded(guest: HeldGuest) -> None:
    made = guest.value(FORK_UNTIL_REFUSED, timeout_s=30)
    shared_with_others = guest.form == "user-weaker"
    assert 10 < made < (64 + 128 + 64 if shared_with_others else 64)
    assert still_works(guest)


def test_a_fork_bomb_ends_with_its_run(guest: HeldGuest) -> None:
    result = guest.run("import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass", timeout_s=1.5)
    assert result["status"] == "timeout"
    assert still_works(guest)
    assert len(descendants(guest.launch()["pid"])) <= 4


def test_memory_ends_as_oom(guest: HeldGuest) -> None:
    result = guest.run("held = []\nwhile True:\n    held.append(bytearray(1 << 22))", timeout_s=60)
    assert result["status"] == "oom", result
    assert "512 MiB" in result["detail"]
    assert still_works(guest)


@as_root
def test_as_root_memory_is_bounded_over_all_processes(guest: HeldGuest) -> None:
    result = guest.run(
        """
import os, time
for _ in range(8):
    if os.fork() == 0:
        held = bytearray(128 << 20)
        time.sleep(60)
        os._exit(0)
held = []
for _ in range(64):
    held.append(bytearray(1 << 20))
ended = [os.wait()[1] for _ in range(3)]
print([os.WTERMSIG(status) for status in ended])
""",
        timeout_s=60,
    )
    assert "9" in result["stdout"] or result["status"] == "oom", result
    assert still_works(guest)


@as_root
def test_as_root_what_is_used_can_be_asked(guest: HeldGuest) -> None:
    used = guest.launch()["memory"]
    assert MIB < used < 512 * MIB


@with_quota
def test_the_work_directory_is_bounded_in_bytes(guest: HeldGuest) -> None:
    written = guest.value(
        ATTEMPT
        + """
total = 0
try:
    for number in range(10):
        with open(f"file{number}", "wb") as file:
            while True:
                total += file.write(bytes(1 << 20))
                file.flush()
                if total > 1 << 30:
                    raise SystemExit("no limit")
except OSError as error:
    assert error.errno == errno.ENOSPC, error
show(total)""",
        timeout_s=60,
    )
    assert written <= 64 * MIB
    assert still_works(guest)


@as_root
def test_as_root_the_work_directory_is_bounded_in_files(guest: HeldGuest) -> None:
    made = guest.value(
        ATTEMPT
        + """
made = 0
try:
    while made < 20000:
        os.mkdir(f"d{made}")
        made += 1
except OSError as error:
    assert error.errno == errno.ENOSPC, error
show(made)""",
        timeout_s=60,
    )
    assert made == 8192
    assert still_works(guest)


def test_a_single_file_is_bounded(guest: HeldGuest) -> None:
    outcome = guest.value(
        ATTEMPT
        + """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
file = open("large", "wb")
show([attempt(lambda: file.truncate(100 << 20)), attempt(lambda: os.ftruncate(file.fileno(), 200 << 20))])"""
    )
    assert outcome == ["done", "EFBIG"]


def test_open_files_locked_memory_and_core_dumps_are_bounded(guest: HeldGuest) -> None:
    limits = guest.value(
        ATTEMPT + "show([resource.getrlimit(each) for each in (resource.RLIMIT_NOFILE, resource.RLIMIT_MEMLOCK, resource.RLIMIT_CORE)])"
    )
    assert limits == [[1024, 1024], [0, 0], [0, 0]]


@as_user
def test_without_a_cgroup_the_cpu_is_held_by_pinned_cores(guest: HeldGuest) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core only: there is nothing to be pinned away from")
    cores, refused = guest.value(ATTEMPT + "show([len(os.sched_getaffinity(0)), attempt(lambda: os.sched_setaffinity(0, range(64)))])")
    assert (cores, refused) == (1, "EPERM")


@pytest.fixture
def delegated() -> Iterator[list[str]]:
    """A cgroup that belongs to the tests' ordinary user, as a service manager delegates one; the files by which it is entered."""
    if os.geteuid() != 0:
        pytest.skip("only root can delegate a cgroup; the tests do not run as root")
    hierarchy, why = find_hierarchy()
    if hierarchy is None:
        pytest.skip(f"no cgroup can be made here: {why}")
    name = f"gleitzeit-test-{os.getpid()}"
    made = [place / name for place in dict.fromkeys(filter(None, (hierarchy.memory, hierarchy.pids, hierarchy.cpu)))]
    for folder in made:
        folder.mkdir()
    if hierarchy.version == 2:  # processes only in a leaf, controllers only above it
        (made[0] / "cgroup.subtree_control").write_text("+memory +pids")
        made.append(made[0] / "leaf")
        made[1].mkdir()
    for folder in made:
        for path in (folder, folder / "cgroup.procs"):
            os.chown(path, STRANGER, STRANGER)
    yield [str(folder / "cgroup.procs") for folder in (made[1:] if hierarchy.version == 2 else made)]
    for folder in reversed(made):
        assert eventually(lambda folder=folder: not (folder / "cgroup.procs").read_text())
        for left in folder.glob("gleitzeit-*"):
            left.rmdir()
        folder.rmdir()


@pytest.mark.parametrize("form", ["user", "user-weaker"])
def test_a_delegated_cgroup_bounds_an_ordinary_user_s_guest_in_total(delegated: list[str], guests: Guests, form: str) -> None:
    guest = guests.make(form, cgroup=delegated)
    try:
        launched = guest.launch()
        assert "cgroup memory+pids" in launched["isolation"]
        assert launched["memory"] > MIB
        assert guest.run("held = []\nwhile True:\n    held.append(bytearray(1 << 22))", timeout_s=60)["status"] == "oom"
        assert still_works(guest)
    finally:
        guests.made.remove(guest)
        guest.close()


@pytest.mark.parametrize("form", STRONG)
def test_limits_are_those_of_the_launch(make_guest: Maker, form: str) -> None:
    guest = make_guest(form, limits={"memory_bytes": 96 * MIB, "pids": 8, "workspace_bytes": 4 * MIB, "workspace_inodes": 50})
    assert guest.run("held = bytearray(200 << 20)", memory_bytes=96 * MIB)["status"] == "oom"
    assert guest.value(FORK_UNTIL_REFUSED) < 8
    assert guest.value("import json, os; s = os.statvfs('.'); print(json.dumps(s.f_blocks * s.f_frsize))") == 4 * MIB


@pytest.mark.parametrize("form", STRONG)
def test_the_least_memory_that_a_configuration_may_name_is_enough_to_start(make_guest: Maker, form: str) -> None:
    assert make_guest(form, limits={"memory_bytes": 16 * MIB}).run("print(1)")["stdout"] == "1\n"


def populated(entrance: str) -> bool:
    return len(Path(entrance).read_text("ascii").split()) >= 2  # bwrap, and the guest


@pytest.mark.parametrize("helped", [True, False])
def test_a_guest_is_in_every_group_of_its_own_whether_the_host_was_quick_or_not(helped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0 or find_hierarchy()[0] is None:
        pytest.skip("only root makes cgroups everywhere")
    if not helped:
        monkeypatch.setattr(Cgroup, "take_in", lambda *_: None)

    async def inside() -> list[bool]:
        launcher = RestrictedLauncher()
        mode = ModeSettings("restricted", "restricted", "Restricted")
        await launcher.check(mode)
        guest = await launcher.launch(mode, Limits(), None)
        assert isinstance(guest, GuestProcess)
        try:
            assert guest._cgroup is not None
            return [populated(path) for path in guest._cgroup.entrances]
        finally:
            await launcher.aclose()

    found = asyncio.run(inside())
    assert found
    assert all(found)
