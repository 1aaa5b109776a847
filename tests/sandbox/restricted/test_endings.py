"""Nothing of a guest outlives it, however it or its host ends."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import pytest

from gleitzeit_nb.sandbox.cgroup import Hierarchy, find_hierarchy, group_name, sweep
from tests.sandbox.restricted.conftest import Maker
from tests.sandbox.restricted.held_guest import FORMS, STRONG, HeldGuest, descendants, eventually, running, with_marker

# Children, grandchildren in sessions of their own, orphans: everything that a daemon does to get away.
SCATTER = """
import os, subprocess, sys, time
for number in range(3):
    subprocess.Popen(["sleep", "{marker}"], start_new_session=bool(number))
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execvp("sleep", ["sleep", "{marker}"])
    os._exit(0)
print("scattered", flush=True)
time.sleep(600)
"""


def hierarchy() -> Hierarchy:
    found, why = find_hierarchy()
    if found is None:
        pytest.skip(f"no cgroup can be made here: {why}")
    return found


def groups(of: HeldGuest | None = None) -> list[Path]:
    """The cgroups of this package below this process's own; of one host only."""
    owner = f"-{of.process.pid}-" if of else "-"
    return [path for path in hierarchy().memory.glob("gleitzeit-*") if owner in path.name]


def work_directories() -> set[str]:
    return {name for name in os.listdir(tempfile.gettempdir()) if name.startswith("gleitzeit-") and not name.startswith("gleitzeit-test-")}


@pytest.mark.parametrize("form", [*FORMS, "local"])
def test_killing_a_guest_takes_everything_inside_with_it(make_guest: Maker, form: str, marker: str) -> None:
    before = work_directories()
    guest = make_guest(form)
    pids = guest.processes()
    guest.begin(SCATTER.format(marker=marker), timeout_s=600)
    assert eventually(lambda: len(with_marker(marker)) == 4)
    guest.end_soon()
    assert eventually(lambda: not with_marker(marker))
    assert eventually(lambda: not running(pids))
    assert eventually(lambda: work_directories() <= before)


@pytest.mark.parametrize("form", [*FORMS, "local"])
def test_a_host_that_is_killed_leaves_nothing_running_and_no_work_directory(make_guest: Maker, form: str, marker: str) -> None:
    before = work_directories()
    guest = make_guest(form)
    pids = guest.processes()
    guest.begin(SCATTER.format(marker=marker), timeout_s=600)
    assert eventually(lambda: len(with_marker(marker)) == 4)
    guest.process.kill()
    assert eventually(lambda: not with_marker(marker))
    assert eventually(lambda: not running(pids))
    assert eventually(lambda: work_directories() <= before)


@pytest.mark.parametrize("form", FORMS)
def test_an_idle_guest_ends_with_its_host(make_guest: Maker, form: str) -> None:
    guest = make_guest(form)
    pids = guest.processes()
    guest.process.kill()
    assert eventually(lambda: not running(pids))


@pytest.mark.parametrize("form", ["root", "root-weaker"])
def test_the_cgroup_goes_with_its_guest(make_guest: Maker, form: str) -> None:
    hierarchy()
    guest = make_guest(form)
    guest.launch()
    assert len(groups(guest)) == 1
    guest.kill()
    assert groups(guest) == []


@pytest.mark.parametrize("form", ["root", "root-weaker"])
def test_the_cgroup_that_a_killed_host_left_is_swept_and_a_living_one_s_is_not(make_guest: Maker, form: str) -> None:
    dead, living = make_guest(form), make_guest(form)
    dead.launch()
    living.launch()
    left = groups(dead)
    assert len(left) == 1
    dead.process.kill()
    dead.process.wait()
    assert eventually(lambda: not (left[0] / "cgroup.procs").read_text())
    assert sweep(hierarchy()) >= 1
    assert groups(dead) == []
    assert len(groups(living)) == 1
    assert living.run("print(1)")["stdout"] == "1\n"


def test_a_group_that_somebody_holds_is_not_swept() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root makes cgroups; the tests do not run as root")
    folder = hierarchy().memory / group_name(4711)
    folder.mkdir()
    try:
        sweep(hierarchy())
        assert folder.exists()
    finally:
        folder.rmdir()


@pytest.mark.parametrize("guest", FORMS, indirect=True)
def test_nothing_of_a_run_is_left_for_the_next(guest: HeldGuest, marker: str) -> None:
    guest.run(
        f"""
import os, subprocess
subprocess.Popen(["sleep", "{marker}"], start_new_session=True)
open("left", "w").close()
os.makedirs("deep/er")
leaked = 1
"""
    )
    assert not with_marker(marker)
    assert guest.value("import json, os; print(json.dumps([os.listdir('.'), 'leaked' in globals()]))") == [[], False]


@pytest.mark.parametrize("form", STRONG)
def test_the_outer_process_cannot_end_without_the_inner_ones(make_guest: Maker, form: str, marker: str) -> None:
    guest = make_guest(form)
    pids = guest.processes()
    guest.begin(SCATTER.format(marker=marker), timeout_s=600)
    assert eventually(lambda: len(with_marker(marker)) == 4)
    os.kill(pids[0], signal.SIGKILL)
    assert eventually(lambda: not with_marker(marker))
    assert eventually(lambda: not running(pids))


def test_the_first_process_killed_from_outside_is_a_guest_that_has_gone(make_guest: Maker) -> None:
    form = "root" if os.geteuid() == 0 else "user"
    guest = make_guest(form)
    outer = guest.launch()["pid"]
    inner = [pid for pid in descendants(outer) if pid != outer]
    os.kill(inner[0], signal.SIGKILL)
    assert eventually(lambda: not running([outer]))
    assert guest.run("print(1)")["stdout"] == "1\n"  # a new one
