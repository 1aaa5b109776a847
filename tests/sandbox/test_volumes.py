"""Volumes: found beneath the allowed roots over no link, shown to nobody else, and what the guest sees is what was found."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from gleitzeit_nb.core.execution import DOCKER_MODE, ExecutionResult, SandboxSettings, default_modes
from gleitzeit_nb.core.volumes import GUEST_OWN, Volume, guest_problem, is_within, problem, read_volumes
from gleitzeit_nb.errors import ConfigError, SandboxProtocolError, SandboxUnavailableError
from gleitzeit_nb.sandbox import DockerExecutor, Sandbox, volumes
from gleitzeit_nb.sandbox.docker import DockerLauncher
from gleitzeit_nb.sandbox.profile import Profile
from gleitzeit_nb.sandbox.volumes import Held, VolumeKeeper, hold, volumes_of


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder that others may enter: pytest's own are closed to the user of a container."""
    made = Path(tempfile.mkdtemp(prefix="gleitzeit-volumes-", dir="/var/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def data(root: Path) -> Path:
    folder = root / "data"
    folder.mkdir()
    (folder / "numbers.txt").write_text("1 2 3")
    return folder


def let(path: Path, mode: int) -> None:
    path.chmod(mode)


def replaced(folder: Path) -> Path:
    """Another folder in its place, with another file of the same name."""
    folder.rename(folder.with_name("old"))
    folder.mkdir()
    (folder / "numbers.txt").write_text("4")
    return folder


@pytest.fixture
def mounted(data: Path) -> Iterator[Path]:
    """A file system that is mounted below the folder."""
    inner = data / "inner"
    inner.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0777", "none", str(inner)], check=True, timeout=10)
    (inner / "secret").write_text("hunter2")
    yield inner
    subprocess.run(["umount", str(inner)], check=True, timeout=10)


def keeper(*roots: Path) -> VolumeKeeper:
    return VolumeKeeper(SandboxSettings(volume_roots=tuple(map(str, roots))))


# -- how they are written -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        ["./data:/data:ro", "./output:/output:rw"],
        ("./data:/data", "./output:/output:rw"),
        {"./data": {"bind": "/data", "mode": "ro"}, "./output": {"bind": "/output/", "mode": "rw"}},
        {"./data": {"bind": "/data"}, "./output": "/output:rw"},
    ],
)
def test_every_form_says_the_same(written: Any) -> None:
    assert read_volumes(written) == (Volume("./data", "/data"), Volume("./output", "/output", writable=True))


@pytest.mark.parametrize(
    "written",
    [
        "./data:/data",
        ["./data"],
        ["a:/b:ro:z"],
        ["a:/b:RO"],
        [":/data"],
        ["data:"],
        ["a\n:/data"],
        ["a\0:/data"],
        [7],
        {"a": {"bin": "/data"}},
        {"a": {"mode": "ro"}},
        {"a": {"bind": "/data", "mode": "z"}},
        {"a:b": "/data"},
        {"a": None},
        7,
    ],
)
def test_what_is_no_volume_is_refused_with_what_one_looks_like(written: Any) -> None:
    with pytest.raises(ConfigError, match=r"volumes should"):
        volumes_of(written)


@pytest.mark.parametrize("first", GUEST_OWN)
def test_the_systems_and_the_guests_own_places_inside_are_not_for_volumes(first: str) -> None:
    assert "belongs to the system" in guest_problem(f"/{first}")
    assert "belongs to the system" in guest_problem(f"/{first}/x")


@pytest.mark.parametrize("path", ["", "/", "data", "./data", "/data/..", "/data/../etc", "//data", "/data/", "/./data"])
def test_a_place_inside_is_absolute_and_plain(path: str) -> None:
    assert "absolute path" in guest_problem(path)


PATHS = st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))


@given(PATHS, PATHS)
def test_within_is_what_the_parts_say(path: str, folder: str) -> None:
    inner, outer = path.split("/"), folder.split("/")
    assert is_within(path, folder) == (inner[: len(outer)] == outer)


@given(st.lists(st.tuples(PATHS, PATHS, st.booleans()), max_size=4))
def test_no_two_volumes_that_pass_meet_inside_or_lie_in_a_writable_one(triples: list[tuple[str, str, bool]]) -> None:
    found = [Volume(*triple) for triple in triples]
    if problem(found):
        return
    for one in found:
        for other in found:
            if one is not other:
                assert not is_within(one.guest, other.guest)
                assert not (other.writable and is_within(one.host, other.host))


# -- finding them ---------------------------------------------------------------------------------------------------------------


def test_a_volume_is_found_with_its_real_path_and_identity(root: Path, data: Path) -> None:
    (found,) = keeper(root).find([Volume(str(data), "/data")])
    status = data.stat()
    assert found == Volume(str(data), "/data", identity=(status.st_dev, status.st_ino))
    (whole,) = keeper(root).find([Volume(str(root), "/data")])
    assert whole.host == str(root)
    (file,) = keeper(root).find([Volume(str(data / "numbers.txt"), "/numbers.txt")])
    assert file.identity == (status.st_dev, (data / "numbers.txt").stat().st_ino)


def test_without_a_root_the_error_names_the_line_to_write(data: Path) -> None:
    with pytest.raises(ConfigError, match=f"volume_roots: .{data.parent}"):
        keeper().find([Volume(str(data), "/data")])


def test_a_root_may_be_reached_over_a_link_of_the_users_own(root: Path, data: Path) -> None:
    link = root / "link"
    link.symlink_to(data)
    (data / "inner").mkdir()
    for written in (link / "inner", data / "inner"):
        (found,) = keeper(link).find([Volume(str(written), "/data")])
        assert found.host == str(data / "inner")


def _outside(root: Path, data: Path) -> str:
    return str(root.parent)


def _similar_name(root: Path, data: Path) -> str:
    return f"{root}-other"


def _link_to_outside(root: Path, data: Path) -> str:
    (root / "out").symlink_to("/usr")
    return str(root / "out")


def _link_on_the_way(root: Path, data: Path) -> str:
    (root / "out").symlink_to("/usr")
    return str(root / "out" / "share")


def _link_inside(root: Path, data: Path) -> str:
    (root / "alias").symlink_to(data)
    return str(root / "alias")


def _missing(root: Path, data: Path) -> str:
    return str(root / "nothing")


def _below_a_file(root: Path, data: Path) -> str:
    return str(data / "numbers.txt" / "x")


def _socket(root: Path, data: Path) -> str:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(root / "a.sock"))
    return str(root / "a.sock")


def _pipe(root: Path, data: Path) -> str:
    os.mkfifo(root / "pipe")
    return str(root / "pipe")


REFUSED: Mapping[Callable[[Path, Path], str], str] = {
    _outside: "beneath none of the folders",
    _similar_name: "beneath none of the folders",
    _link_to_outside: "symbolic link",
    _link_on_the_way: "symbolic link",
    _link_inside: "symbolic link",
    _missing: "does not exist",
    _below_a_file: "symbolic link or a file",
    _socket: "neither a folder nor a file",
    _pipe: "neither a folder nor a file",
}


@pytest.mark.parametrize("walk", ["openat2", "part by part"])
@pytest.mark.parametrize(("make", "says"), REFUSED.items(), ids=[make.__name__[1:] for make in REFUSED])
def test_what_is_not_plainly_beneath_a_root_is_refused(
    root: Path, data: Path, make: Callable[[Path, Path], str], says: str, walk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if walk == "part by part":
        monkeypatch.setattr(volumes, "_has_openat2", lambda: False)
    with pytest.raises(ConfigError, match=says):
        keeper(root).find([Volume(make(root, data), "/data")])


@pytest.mark.parametrize(
    "path",
    [
        *("/etc", "/etc/ssl", "/proc", "/proc/1", "/sys", "/dev", "/dev/shm", "/boot", "/run", "/var", "/usr/..", "/root/.."),
        os.path.expanduser("~"),
        os.path.dirname(os.path.expanduser("~")),
    ],
)
def test_the_systems_own_folders_and_the_home_are_refused_whatever_the_roots(path: str) -> None:
    path = os.path.normpath(path)
    if not os.path.exists(path):
        pytest.skip(f"no {path} here")
    anywhere = VolumeKeeper(SandboxSettings(volume_roots=("/",)))
    with pytest.raises(ConfigError, match="no code in a sandbox is shown"):
        anywhere.find([Volume(path, "/data")])


def test_keys_and_what_programs_obey_in_a_home_are_refused_and_the_rest_is_not(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(root))
    for name in (".ssh", ".config/gleitzeit", ".ipython/profile_default", "work"):
        (root / name).mkdir(parents=True)
    for name in (".ssh", ".config", ".config/gleitzeit", ".ipython/profile_default", "."):
        with pytest.raises(ConfigError, match="no code in a sandbox is shown"):
            keeper(root).find([Volume(os.path.normpath(root / name), "/data")])
    assert keeper(root).find([Volume(str(root / "work"), "/data")])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_forbidden_folder_is_refused_under_another_name_too(root: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(root / "home"))
    keys = root / "home" / ".ssh"
    keys.mkdir(parents=True)
    subprocess.run(["mount", "--bind", str(keys), str(data)], check=True, timeout=10)
    try:
        with pytest.raises(ConfigError, match="no code in a sandbox is shown"):
            keeper(root).find([Volume(str(data), "/data")])
    finally:
        subprocess.run(["umount", str(data)], check=True, timeout=10)


def test_the_daemons_socket_and_what_holds_it_are_refused(root: Path, data: Path) -> None:
    found = keeper(root).find([Volume(str(data), "/data")])
    hold(found).release()
    with pytest.raises(ConfigError, match="no code in a sandbox is shown"):
        hold(found, [str(data / "docker.sock")])


def test_nothing_is_mounted_from_inside_what_code_may_write(root: Path, data: Path) -> None:
    (data / "planted").mkdir()
    found = keeper(root)
    found.find([Volume(str(data), "/output", writable=True)])
    with pytest.raises(ConfigError, match=f"below {data}, which code in a sandbox may write"):
        found.find([Volume(str(data / "planted"), "/data")])
    assert found.find([Volume(str(data), "/data")])  # the folder itself cannot be replaced from inside
    with pytest.raises(ConfigError, match="at or below"):
        found.find([Volume(str(data), "/output", writable=True), Volume(str(data), "/data")])
    mode = replace(default_modes()[DOCKER_MODE], volumes=(Volume(str(data), "/output", writable=True),))
    configured = VolumeKeeper(SandboxSettings(modes={DOCKER_MODE: mode}, volume_roots=(str(root),)))
    with pytest.raises(ConfigError, match="which code in a sandbox may write"):
        configured.find([Volume(str(data / "planted"), "/data")])


def test_what_was_replaced_meanwhile_is_refused(root: Path, data: Path) -> None:
    found = keeper(root).find([Volume(str(data), "/data")])
    data.rename(root / "old")
    data.mkdir()
    with pytest.raises(SandboxUnavailableError, match="was replaced"):
        hold(found)
    data.rmdir()
    data.symlink_to("/usr")
    with pytest.raises(ConfigError, match="symbolic link"):
        hold(found)


TREES = st.lists(
    st.tuples(st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=3), st.sampled_from(["folder", "file", "..", "/usr", "a", "."])),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(TREES, st.lists(st.sampled_from(["a", "b"]), max_size=3))
def test_both_ways_of_walking_find_the_same(tree: list[tuple[list[str], str]], parts: list[str]) -> None:
    if not volumes._has_openat2():
        pytest.skip("this kernel has no openat2")
    with tempfile.TemporaryDirectory() as top:
        for names, kind in tree:
            path = os.path.join(top, *names)
            try:
                if kind == "folder":
                    os.makedirs(path, exist_ok=True)
                elif kind == "file":
                    Path(path).write_text("")
                else:
                    os.symlink(kind, path)
            except OSError:
                continue
        start = os.open(top, os.O_PATH)
        try:
            seen = [_walked(walk, start, "/".join(parts) or ".") for walk in (volumes._openat2, volumes._walk)]
        finally:
            os.close(start)
        assert (seen[0] is None) == (seen[1] is None)
        assert seen[0] == seen[1]


def _walked(walk: Callable[[int, str], int], start: int, inner: str) -> int | None:
    try:
        fd = walk(start, inner)
    except OSError:
        return None
    try:
        return os.fstat(fd).st_ino
    finally:
        os.close(fd)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("walk", ["openat2", "part by part"])
def test_no_descriptor_is_left_open(root: Path, data: Path, walk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if walk == "part by part":
        monkeypatch.setattr(volumes, "_has_openat2", lambda: False)
    before = open_descriptors()
    for make in (_link_to_outside, _missing, _below_a_file):
        with pytest.raises(ConfigError):
            keeper(root).find([Volume(make(root, data), "/data")])
    found = keeper(root).find([Volume(str(data), "/data"), Volume(str(root), "/root-data")])
    hold(found).release()
    data.rename(root / "moved")
    with pytest.raises(ConfigError):
        hold(found)
    assert open_descriptors() == before


# -- in a container -------------------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def sandbox(docker_image: str, root: Path) -> AsyncIterator[Sandbox]:
    async with Sandbox({"default_mode": DOCKER_MODE, "volume_roots": [str(root)], "container_pool": {"min_warm": 0}}) as made:
        yield made


async def ran(sandbox: Sandbox, code: str, **options: Any) -> ExecutionResult:
    result = await sandbox.execute(code, **options)
    assert result.ok, f"{result.status}: {result.detail}\n{result.traceback}"
    return result


@pytest.mark.docker
async def test_code_reads_a_volume_and_cannot_write_it(sandbox: Sandbox, data: Path) -> None:
    let(data, 0o777)
    result = await ran(sandbox, "print(open('/data/numbers.txt').read())", volumes=[f"{data}:/data"])
    assert result.stdout == "1 2 3\n"
    assert result.isolation.endswith("; given: /data read-only")
    denied = await sandbox.execute("open('/data/new', 'w')", volumes={str(data): {"bind": "/data", "mode": "ro"}})
    assert denied.status == "error"
    assert "Read-only file system: '/data/new'" in denied.traceback
    assert f"/data is {data} seen as another user: it is read-only" in denied.detail
    assert sorted(os.listdir(data)) == ["numbers.txt"]
    assert denied.container == result.container  # the same worker: both forms mean the same


@pytest.mark.docker
async def test_a_writable_volume_keeps_what_was_written_and_reuse_wipes_nothing_in_it(sandbox: Sandbox, root: Path) -> None:
    output = root / "output"
    output.mkdir()
    let(output, 0o777)
    for number in range(3):
        result = await ran(sandbox, f"open('/output/{number}', 'w').write('x'); open('left', 'w')", volumes=[f"{output}:/output:rw"])
    assert sorted(os.listdir(output)) == ["0", "1", "2"]
    seen = await ran(sandbox, "import os; print(os.listdir('.'))", volumes=[f"{output}:/output:rw"])
    assert (seen.stdout, seen.container) == ("[]\n", result.container)


@pytest.mark.docker
async def test_runs_without_the_volume_are_in_another_container(sandbox: Sandbox, data: Path) -> None:
    first = await ran(sandbox, "1", volumes=[f"{data}:/data"])
    other = await ran(sandbox, "import os; print(os.path.exists('/data'))")
    assert other.stdout == "False\n"
    assert other.container != first.container


@pytest.mark.docker
async def test_a_folder_that_was_replaced_between_runs_is_the_new_one(sandbox: Sandbox, root: Path, data: Path) -> None:
    await ran(sandbox, "1", volumes=[f"{data}:/data"])
    replaced(data)
    assert (await ran(sandbox, "print(open('/data/numbers.txt').read())", volumes=[f"{data}:/data"])).stdout == "4\n"


@pytest.mark.docker
async def test_a_link_in_a_volume_leads_to_nothing_of_the_host(sandbox: Sandbox, root: Path, data: Path) -> None:
    (root / "secret").write_text("hunter2")
    (data / "absolute").symlink_to(root / "secret")
    (data / "relative").symlink_to("../secret")
    code = "import os\nfor name in ('absolute', 'relative'): print(os.path.exists(f'/data/{name}'))"
    assert (await ran(sandbox, code, volumes=[f"{data}:/data"])).stdout == "False\nFalse\n"


@pytest.mark.docker
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
async def test_what_is_mounted_below_a_volume_stays_outside(sandbox: Sandbox, data: Path, mounted: Path) -> None:
    """A read-only mount does not reach it: it would be writable inside."""
    code = "import os\nprint(os.listdir('/data/inner'))\nopen('/data/inner/x', 'w')"
    result = await sandbox.execute(code, volumes=[f"{data}:/data"])
    assert (result.status, result.stdout) == ("error", "[]\n")
    assert os.listdir(mounted) == ["secret"]


class Elsewhere(Profile):
    """Mounts another folder than was asked for, as a daemon does that is led astray."""

    def __init__(self, source: Path, **changes: Any) -> None:
        self.source = source
        self.changes = changes

    def equipment(self, mode: Any, held: Held, info: Any) -> dict[str, Any]:
        (mount,) = held.mounts
        return {"mounts": [{**mount, "Source": str(self.source), **self.changes}]}


@pytest.mark.docker
async def test_a_guest_that_sees_another_folder_than_was_checked_never_runs_anything(docker_image: str, root: Path, data: Path) -> None:
    other = root / "other"
    other.mkdir()
    configured = {"volume_roots": [str(root)], "container_pool": {"min_warm": 0}}
    async with Sandbox(configured, launchers={"docker": DockerLauncher(profile=Elsewhere(other))}) as sandbox:
        with pytest.raises(SandboxProtocolError, match=r"at /data there is .* not what was checked here"):
            await sandbox.execute("open('/data/ran', 'w')", DOCKER_MODE, volumes=[f"{data}:/data"])
    async with Sandbox(configured, launchers={"docker": DockerLauncher(profile=Elsewhere(data, ReadOnly=False))}) as sandbox:
        with pytest.raises(SandboxProtocolError, match="not what was checked here"):  # writable, and was to be read-only
            await sandbox.execute("open('/data/ran', 'w')", DOCKER_MODE, volumes=[f"{data}:/data"])
    assert os.listdir(other) == []


@contextmanager
def listening_at(path: Path, mode: int) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        path.chmod(mode)
        server.listen()
        yield


@pytest.mark.docker
async def test_a_socket_or_pipe_that_others_may_write_keeps_its_folder_outside(sandbox: Sandbox, data: Path) -> None:
    inner = data / "deep" / "er"
    os.makedirs(inner)
    code = "import socket; socket.socket(socket.AF_UNIX).connect('/data/deep/er/door')"
    with listening_at(inner / "door", 0o777):
        with pytest.raises(ConfigError, match=r"holds deep/er/door, a socket or pipe.*\n.*chmod o-w"):
            await sandbox.execute(code, volumes=[f"{data}:/data"])
        let(inner / "door", 0o755)
        refused = await sandbox.execute(code, volumes=[f"{data}:/data"])
        assert "PermissionError" in refused.traceback
    os.mkfifo(data / "pipe")
    let(data / "pipe", 0o666)
    with pytest.raises(ConfigError, match="holds pipe, a socket or pipe"):
        await sandbox.execute("1", volumes=[f"{data}:/data"], fresh=True)


@pytest.mark.docker
async def test_a_folder_that_is_closed_to_the_guests_user_is_told_before_anything_runs(sandbox: Sandbox, data: Path) -> None:
    let(data, 0o700)
    with pytest.raises(SandboxUnavailableError, match=r"65534 may not read the volume at /data.*\n.*chmod -R o\+rX"):
        await sandbox.execute("1", volumes=[f"{data}:/data"])
    let(data, 0o755)
    with pytest.raises(SandboxUnavailableError, match="65534 may not write the volume at /data"):
        await sandbox.execute("1", volumes=[f"{data}:/data:rw"])
    assert (await ran(sandbox, "print(1)")).stdout == "1\n"


@pytest.mark.docker
async def test_a_file_that_is_closed_to_the_guests_user_gets_a_hint(sandbox: Sandbox, data: Path) -> None:
    let(data / "numbers.txt", 0o600)
    result = await sandbox.execute("open('/data/numbers.txt')", volumes=[f"{data}:/data"])
    assert "needs chmod o+r" in result.detail


@pytest.mark.docker
async def test_modes_have_volumes_of_their_own_and_cells_add_to_them(docker_image: str, root: Path, data: Path) -> None:
    mode = {"id": "docker-mine", "image": docker_image, "volumes": [f"{data}:/data"]}
    async with Sandbox({"execution_modes": [mode], "volume_roots": [str(root)], "container_pool": {"min_warm": 0}}) as sandbox:
        code = "import os; print(sorted(os.listdir('/data')), os.path.exists('/more'))"
        assert (await ran(sandbox, code, mode="docker-mine")).stdout == "['numbers.txt'] False\n"
        assert (await ran(sandbox, code, mode="docker-mine", volumes=[f"{root}:/more"])).stdout == "['numbers.txt'] True\n"
        with pytest.raises(ConfigError, match="the same place inside"):
            await sandbox.execute(code, "docker-mine", volumes=[f"{root}:/data"])
        with pytest.raises(ConfigError, match="'restricted' is no container and has no volumes"):
            await sandbox.execute(code, "restricted", volumes=[f"{root}:/more"])


@pytest.mark.docker
async def test_a_mode_whose_volumes_cannot_be_had_says_so_when_it_is_checked_and_a_cells_say_nothing_about_its_mode(
    docker_image: str, root: Path, data: Path
) -> None:
    modes = {"docker-mine": {"image": docker_image, "volumes": [f"{data}/nothing:/data"]}}
    async with Sandbox({"modes": modes, "volume_roots": [str(root)], "container_pool": {"min_warm": 0}}) as sandbox:
        with pytest.raises(ConfigError, match="does not exist"):
            await sandbox.check("docker-mine")
        let(data, 0o700)
        assert (await sandbox.execute("1", DOCKER_MODE)).ok
        with pytest.raises(SandboxUnavailableError, match="may not read"):
            await sandbox.execute("1", DOCKER_MODE, volumes=[f"{data}:/data"])
        assert sandbox.mode_views()[0].available is True


@pytest.mark.docker
async def test_the_executor_of_the_guide_takes_volumes(docker_image: str, root: Path, data: Path) -> None:
    async with DockerExecutor({"volume_roots": [str(root)], "container_pool": {"min_warm": 0}}) as executor:
        result = await executor.execute_in_container(
            "print(open('/data/numbers.txt').read())", docker_image, "256m", 30, {str(data): {"bind": "/data", "mode": "ro"}}
        )
    assert result.stdout == "1 2 3\n"
