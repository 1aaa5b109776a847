"""Files into a run and out of it: which are meant, that they fit, and what comes of whatever the code leaves."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gleitzeit_nb.core.execution import DOCKER_MODE, MIB, RESTRICTED_MODE, ExecutionRequest, ExecutionResult, Limits
from gleitzeit_nb.errors import SandboxError, SandboxProtocolError, TransferError, UsageError
from gleitzeit_nb.sandbox import Sandbox, protocol
from gleitzeit_nb.sandbox.connection import GuestConnection
from gleitzeit_nb.sandbox.files import named, read
from tests.sandbox.subprocess_channel import SubprocessChannel
from tests.sandbox.test_connection import END, EXIT, opened
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

Run = Callable[..., Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def run(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Run]:
    """The real guest without isolation, where code can leave what a sandbox refuses to make."""
    connection = GuestConnection(await SubprocessChannel.start(tmp_path_factory.mktemp("work")))
    await connection.open()

    async def execute(code: str, *, limits: Any = None, **request: Any) -> ExecutionResult:
        return await connection.run(ExecutionRequest("id", code, artifacts=True, **request), Limits(**(limits or {})))

    yield execute
    await connection.close()


# -- in and out of a real guest ------------------------------------------------------------------------------------------------------


async def test_files_are_there_and_what_the_code_leaves_comes_back(run: Run) -> None:
    code = "import os\nos.makedirs('out/deep')\nopen('out/deep/copy', 'wb').write(open('in/data.bin', 'rb').read()[::-1])\nopen('e', 'w');"
    data = os.urandom(3 * MIB + 5)
    result = await run(code, files={"in/data.bin": data, "empty": b""})
    assert (result.status, result.artifacts, result.left_out) == ("ok", {"e": b"", "out/deep/copy": data[::-1]}, {})


async def test_what_went_in_and_did_not_change_does_not_come_back(run: Run) -> None:
    code = """
import os
open("b", "a").write("!")
os.replace("c", "d")
was = os.stat("e")
open("e", "r+").write("X")
os.utime("e", ns=(was.st_atime_ns, was.st_mtime_ns))
"""
    result = await run(code, files=dict.fromkeys("abce", b"same"))
    assert result.artifacts == {"b": b"same!", "d": b"same", "e": b"Xame"}


LITTER = """
import os, socket
open("kept", "w").write("k")
os.symlink("/etc/passwd", "link")
os.symlink("/etc", "folder")
os.mkfifo("pipe")
socket.socket(socket.AF_UNIX).bind("socket")
open("bad:name", "w"); open(b"\\xff", "w"); open(".hidden", "w"); open("big", "wb").truncate(100 << 20)
os.makedirs(".config/tool"); open(".config/tool/x", "w"); os.makedirs("p/__pycache__"); open("p/__pycache__/m.pyc", "w")
os.makedirs("closed/inner")
open("closed/inner/f", "w").write("c"); os.chmod("closed/inner/f", 0); os.chmod("closed/inner", 0); os.chmod("closed", 0)
os.link("kept", "same")
here = os.getcwd()
for _ in range(40): os.mkdir("deep"); os.chdir("deep"); open("f", "w")
os.chdir(here)
"""


async def test_links_pipes_and_strange_names_are_left_out_with_the_reason(run: Run) -> None:
    result = await run(LITTER)
    deep = {"deep/" * depth + "f" for depth in range(1, 16)}
    assert result.status == "ok"
    assert set(result.artifacts) == {"kept", "same", "closed/inner/f", *deep}
    assert result.artifacts["closed/inner/f"] == b"c"
    assert set(result.left_out) == {"link", "folder", "pipe", "socket", "bad:name", "?", ".hidden", "big"}
    assert result.left_out["link"] == "it is a link"
    assert "104857600 bytes" in result.left_out["big"]
    assert (await run("import os; print(os.listdir('.'))")).stdout == "[]\n"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("1/0", "error"),
        ("import os; os._exit(3)", "error"),
        ("import os; os.kill(os.getpid(), 9)", "error"),
        ("import time; time.sleep(60)", "timeout"),
    ],
)
async def test_a_run_that_fails_gives_what_it_left(run: Run, code: str, status: str) -> None:
    result = await run(f"open('log', 'w').write('so far')\n{code}", limits={"timeout_s": 0.5})
    assert (result.status, result.artifacts) == (status, {"log": b"so far"})


async def test_more_than_the_work_directory_may_hold_stays_there(run: Run) -> None:
    limits = {"workspace_bytes": 100_000, "workspace_inodes": 10}
    result = await run("for n in range(30): open(f'{n:02}', 'w').write('x' * 9_000)", limits=limits)
    assert list(result.artifacts) == [f"{number:02}" for number in range(10)]
    assert set(result.left_out.values()) == {"there are too many files"}
    result = await run("open('a', 'wb').write(bytes(90_000)); open('b', 'wb').write(bytes(20_000)); open('c', 'w');", limits=limits)
    assert (list(result.artifacts), list(result.left_out)) == (["a", "c"], ["b"])


async def test_a_file_may_be_empty(run: Run) -> None:
    assert (await run("open('f', 'w');", label="")).artifacts == {"f": b""}


async def test_a_file_that_cannot_be_written_there_is_told_and_the_guest_goes_on(tmp_path: Path) -> None:
    connection = GuestConnection(await SubprocessChannel.start(tmp_path))
    await connection.open()
    (tmp_path / "a").mkdir()  # as a process of a session could
    files = {"b": b"x" * (3 * MIB), "a": b"y" * (2 * MIB), "c": b"z"}
    result = await connection.run(ExecutionRequest("id", "print(1)", files=files), Limits())
    assert (result.status, result.stdout) == ("lost", "")
    assert "the file 'a' could not be made there" in result.detail
    assert (await connection.run(ExecutionRequest("id", "import os; print(os.listdir('.'))"), Limits())).stdout == "[]\n"
    await connection.close()


async def test_a_planted_link_does_not_lead_a_file_elsewhere(tmp_path: Path) -> None:
    work, outside = tmp_path / "work", tmp_path / "outside"
    work.mkdir()
    outside.mkdir()
    connection = GuestConnection(await SubprocessChannel.start(work))
    await connection.open()
    (work / "d").symlink_to(outside)
    result = await connection.run(ExecutionRequest("id", "print(1)", files={"d/f": b"x"}), Limits())
    assert (result.status, list(outside.iterdir())) == ("lost", [])
    await connection.close()


async def test_a_session_gives_what_a_cell_wrote_and_keeps_its_files(tmp_path: Path) -> None:
    connection = GuestConnection(await SubprocessChannel.start(tmp_path))
    await connection.open()

    async def cell(code: str, **more: Any) -> ExecutionResult:
        return await connection.run(ExecutionRequest("id", code, session="s", **more), Limits())

    assert (await cell("open('a', 'w').write('1'); open('b', 'w').write('2');", artifacts=True)).artifacts == {"a": b"1", "b": b"2"}
    second = await cell("open('b', 'a').write(open('in').read());", artifacts=True, files={"in": b"!"})
    assert (second.status, second.artifacts) == ("ok", {"b": b"2!"})
    assert (await cell("import os; print(sorted(os.listdir('.')))")).stdout == "['a', 'b', 'in']\n"
    assert (await cell("open('c', 'w').close(); os._exit(3)", artifacts=True)).artifacts == {"c": b""}
    await connection.close()


# -- a guest that forges -------------------------------------------------------------------------------------------------------------


async def test_a_guest_may_send_files_only_where_they_were_asked_for() -> None:
    connection, channel = await opened(protocol.frame(protocol.FILE, b'{"name": "f"}') + EXIT)
    with pytest.raises(SandboxProtocolError):
        await connection.run(ExecutionRequest("id", "1"), Limits())
    await until(lambda: channel.killed == 1)  # in the background


async def test_a_guest_that_went_away_leaves_no_half_of_a_file() -> None:
    connection, channel = await opened(protocol.frame(protocol.FILE, b'{"name": "f"}') + protocol.frame(protocol.FILE_DATA, b"half"))
    channel.answers.append(b"")
    channel.say(b"")
    result = await connection.run(ExecutionRequest("id", "1", artifacts=True), Limits())
    assert (result.status, result.artifacts) == ("lost", {})


async def test_forged_names_do_not_come_through_a_connection() -> None:
    frames = protocol.frame(protocol.FILE, b'{"name": "../x"}') + protocol.frame(protocol.FILE_DATA, b"evil")
    connection, _ = await opened(frames + protocol.json_frame(protocol.EXIT, END))
    result = await connection.run(ExecutionRequest("id", "1", artifacts=True), Limits())
    assert (result.artifacts, list(result.left_out)) == ({}, ["../x"])
    await connection.close()


# -- in real isolation ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [DOCKER_MODE, RESTRICTED_MODE])
async def test_files_go_through_real_isolation(mode: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if mode == DOCKER_MODE:
        request.getfixturevalue("docker_image")
    (tmp_path / "data.csv").write_bytes(b"n\n" + b"1\n" * MIB)
    async with Sandbox() as sandbox:
        try:
            await sandbox.check(mode)
        except SandboxError as exc:
            pytest.skip(f"no {mode} here: {exc}")
        code = "import os\nos.symlink('/etc/passwd', 'l')\nrows = open('d/data.csv').read().split()[1:]\n"
        code += "open('sum.txt', 'w').write(str(sum(map(int, rows))))"
        result = await sandbox.execute(code, mode, files={"d/data.csv": tmp_path / "data.csv", "raw": bytes(9)}, artifacts=True)
        assert (result.status, result.artifacts, result.left_out) == ("ok", {"sum.txt": str(MIB).encode()}, {"l": "it is a link"})
        assert (await sandbox.execute("import os; print(os.listdir('.'))", mode)).stdout == "[]\n"
        with pytest.raises(TransferError, match="bytes, and"):
            await sandbox.execute("1", mode, files={"big": bytes(3 * MIB)}, workspace_size="2m")


# -- which files are meant -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("data/a.csv", "data/b.csv", "data/deep/c.txt", "data/.hidden", "data/.git/config", "with:colon", "outside.txt"):
        path = tmp_path / "base" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "elsewhere.txt").write_text("e")
    (tmp_path / "base/data/link").symlink_to(tmp_path / "elsewhere.txt")
    monkeypatch.chdir(tmp_path / "base")
    return tmp_path


@pytest.mark.parametrize(
    ("specification", "names"),
    [
        ("data/a.csv", ["data/a.csv"]),
        ("./data/../data/a.csv", ["data/a.csv"]),
        ("data/a.csv:x.csv", ["x.csv"]),
        ("data/a.csv:in/", ["in/a.csv"]),
        ("data/*.csv", ["data/a.csv", "data/b.csv"]),
        ("data/*.csv:in", ["in/a.csv", "in/b.csv"]),
        ("data", ["data/a.csv", "data/b.csv", "data/deep/c.txt"]),
        ("data/:d", ["d/a.csv", "d/b.csv", "d/deep/c.txt"]),
        ("data/link", ["data/link"]),
        (".", ["outside.txt", "with:colon", "data/a.csv", "data/b.csv", "data/deep/c.txt"]),
        ("with:colon", ["with:colon"]),
        ("with:colon:plain", ["plain"]),
        ("../elsewhere.txt", ["elsewhere.txt"]),
    ],
)
async def test_a_specification_names_files_and_what_they_are_called_inside(folder: Path, specification: str, names: list[str]) -> None:
    assert list(named([specification])) == names
    absolute = f"{folder}/base/{specification}" if not specification.startswith(".") else specification
    assert list(named([absolute])) == names


@pytest.mark.parametrize("specification", ["nope", "data/*.nope", "nope:a", ":a", ""])
async def test_a_specification_without_files_says_so(folder: Path, specification: str) -> None:
    with pytest.raises(UsageError, match="--file"):
        named([specification])


LIMITS = Limits(file_bytes=10_000, workspace_bytes=100_000, workspace_inodes=20)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"../x": b""}, "leads elsewhere"),
        ({"a": b"", "A": b""}, "but for case"),
        ({"a": b"", "a/b": b""}, "leads through one"),
        ({"a": bytes(10_001)}, "10001 bytes.*10000.*file_bytes"),
        ({f"f{number}": bytes(9000) for number in range(9)}, "'f8' has 9000 bytes"),
        ({f"f{number}": b"" for number in range(20)}, "20 files are more"),
        ({"a": Path("/dev/zero")}, "no regular file"),
        ({"a": Path("/proc/nope")}, "cannot be read"),
        ({"a": Path("/")}, "'/'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "files",
)
async def test_files_that_may_not_or_do_not_go_in_are_refused_by_name(files: Any, says: str) -> None:
    with pytest.raises(TransferError, match=says):
        read(files, LIMITS)


async def test_a_pipe_does_not_hold_up_whoever_asks_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TransferError, match="no regular file"):
        read({"a": tmp_path / "pipe"}, LIMITS)
