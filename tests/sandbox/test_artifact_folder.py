"""Where files of untrusted code are written: below the directory that was named, through no link, over nothing that is somebody's."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gleitzeit_nb.core.execution import Limits
from gleitzeit_nb.errors import TransferError
from gleitzeit_nb.sandbox import protocol
from gleitzeit_nb.sandbox.artifacts import ArtifactFolder, ArtifactReader
from gleitzeit_nb.sandbox.protocol import FrameError

LIMITS = Limits(workspace_bytes=1 << 20, workspace_inodes=10)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_are_written_whole_with_their_directories(tmp_path: Path) -> None:
    files = {"plot.png": b"p", "d/e/f.txt": b"", "d/g": b"g" * 100_000}
    saved = ArtifactFolder().save(tmp_path / "new" / "out", files)
    assert contents(tmp_path / "new" / "out") == files
    assert [(each.name, each.bytes, each.state) for each in saved] == [
        ("plot.png", 1, "new"),
        ("d/e/f.txt", 0, "new"),
        ("d/g", 100_000, "new"),
    ]
    assert not stat.S_IMODE((tmp_path / "new/out/d/g").stat().st_mode) & 0o111


def test_nothing_to_write_makes_the_directory_and_no_more(tmp_path: Path) -> None:
    assert ArtifactFolder().save(tmp_path / "out", {}) == ()
    assert contents(tmp_path / "out") == {}


def test_what_an_earlier_run_wrote_is_replaced(tmp_path: Path) -> None:
    folder = ArtifactFolder()
    folder.save(tmp_path, {"a": b"first", "b": b"same"})
    (saved, same) = folder.save(tmp_path, {"a": b"second", "b": b"same"})
    assert (saved.state, same.state, contents(tmp_path)) == ("ours", "same", {"a": b"second", "b": b"same"})
    assert folder.save(tmp_path, {"a": b"third"})[0].state == "ours"


@pytest.mark.parametrize("edit", [lambda path: path.write_text("mine"), lambda path: (path.unlink(), path.write_text("mine"))])
def test_what_was_edited_since_is_not(tmp_path: Path, edit: Callable[[Path], object]) -> None:
    folder = ArtifactFolder()
    folder.save(tmp_path, {"a": b"first"})
    edit(tmp_path / "a")
    with pytest.raises(TransferError, match="--overwrite"):
        folder.save(tmp_path, {"a": b"second"})
    assert contents(tmp_path) == {"a": b"mine"}


def test_a_file_of_somebody_else_stops_all_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("mine")
    with pytest.raises(TransferError, match="b is there already"):
        ArtifactFolder().save(tmp_path, {"a": b"1", "b": b"2"})
    assert contents(tmp_path) == {"b": b"mine"}
    ArtifactFolder().save(tmp_path, {"a": b"1", "b": b"2"}, overwrite=True)
    assert contents(tmp_path) == {"a": b"1", "b": b"2"}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["link", "link/x", "deep/link", "deep/link/x", "folder", "pipe", "file/x"])
def test_nothing_is_written_through_what_is_in_the_way(tmp_path: Path, name: str, overwrite: bool) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    (outside / "x").write_text("precious")
    (inside / "deep").mkdir(parents=True)
    (inside / "folder").mkdir()
    os.mkfifo(inside / "pipe")
    (inside / "file").write_text("f")
    (inside / "link").symlink_to(outside)
    (inside / "deep" / "link").symlink_to(outside)
    with pytest.raises(TransferError, match="in the way"):
        ArtifactFolder().save(inside, {"new": b"n", name: b"evil"}, overwrite=overwrite)
    assert contents(outside) == {"x": b"precious"}
    assert not (inside / "new").exists()
    assert (inside / "link").is_symlink()


def test_a_link_to_a_file_is_neither_followed_nor_replaced(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("precious")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").symlink_to(tmp_path / "target")
    with pytest.raises(TransferError, match="in the way"):
        ArtifactFolder().save(tmp_path / "out", {"a": b"precious"}, overwrite=True)
    assert (tmp_path / "target").read_text() == "precious"


@pytest.mark.parametrize("name", ["../out", "/tmp/x", "a/../../b", ".profile"])
def test_a_name_that_may_not_be_is_refused_here_too(tmp_path: Path, name: str) -> None:
    with pytest.raises(TransferError, match="No file may be called"):
        ArtifactFolder().save(tmp_path / "in", {name: b"x"})
    assert contents(tmp_path) == {}


def test_a_directory_that_cannot_be_had_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(TransferError, match="Nothing can be written"):
        ArtifactFolder().save(tmp_path / "file", {"a": b"1"})


def test_a_disk_that_is_full_leaves_no_half_of_a_file(tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # as a full disk: writing is refused in the middle
    try:
        with pytest.raises(TransferError, match="'b' could not be written"):
            ArtifactFolder().save(tmp_path, {"a": b"1", "b": b"x" * 5000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert contents(tmp_path) == {"a": b"1"}


# -- what the guest says of files -------------------------------------------------------------------------------------------------


def said(*frames: tuple[bytes, object]) -> ArtifactReader:
    reader = ArtifactReader(LIMITS)
    for kind, content in frames:
        payload = content if isinstance(content, bytes) else protocol.json_frame(b"x", content)[5:]  # type: ignore[arg-type]
        reader.frame(kind, payload)
    reader.finish(whole=True)
    return reader


def test_files_come_in_pieces() -> None:
    reader = said(
        (protocol.FILE, {"name": "a"}),
        (protocol.FILE_DATA, b"one"),
        (protocol.FILE_DATA, b"two"),
        (protocol.FILE, {"name": "empty"}),
        (protocol.LEFT_OUT, {"name": "link", "reason": "it is a link"}),
    )
    assert (reader.files, reader.left_out) == ({"a": b"onetwo", "empty": b""}, {"link": "it is a link"})


def test_forged_names_are_left_out_with_their_reason() -> None:
    names = ["../../etc/cron.d/x", "/abs", ".ssh/authorized_keys", "a\0b", "\udcff", "A", "ok/x", "ok"]
    frames = [frame for name in names for frame in ((protocol.FILE, {"name": name}), (protocol.FILE_DATA, b"evil"))]
    reader = said((protocol.FILE, {"name": "a"}), *frames)
    assert set(reader.files) == {"a", "ok/x"}
    assert len(reader.left_out) == 7
    assert all(reason.encode() and name.encode() for name, reason in reader.left_out.items())


@pytest.mark.parametrize(
    "frames",
    [
        [(protocol.FILE, {"name": "a"}), *[(protocol.FILE_DATA, bytes(1 << 16))] * 17],
        [(protocol.FILE_DATA, bytes(1 << 16))] * 17,
        [(protocol.FILE, {"name": f"f{number}"}) for number in range(11)],
        [(protocol.FILE, {})],
        [(protocol.FILE, {"name": 5})],
        [(protocol.FILE, b"[]")],
        [(protocol.LEFT_OUT, b"\xff")],
    ],
)
def test_more_than_there_can_be_breaks_the_protocol(frames: list[tuple[bytes, object]]) -> None:
    with pytest.raises(FrameError):
        said(*frames)


def test_a_file_that_was_cut_is_none() -> None:
    reader = ArtifactReader(LIMITS)
    reader.frame(protocol.FILE, b'{"name": "a"}')
    reader.frame(protocol.FILE_DATA, b"half")
    assert reader.finish(whole=False) == {}


def test_reasons_and_their_number_are_bounded() -> None:
    reader = said(*[(protocol.LEFT_OUT, {"name": f"{number}\ud800", "reason": "x" * 30_000}) for number in range(3000)])
    assert len(reader.left_out) == 1000
    assert max(map(len, reader.left_out.values())) == 300


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=12) | st.text("./aA\\", max_size=5), st.binary(max_size=20)), max_size=8))
def test_whatever_a_guest_sends_lands_below_the_directory(tmp_path_factory: pytest.TempPathFactory, files: list[tuple[str, bytes]]) -> None:
    frames = [frame for name, data in files for frame in ((protocol.FILE, {"name": name}), (protocol.FILE_DATA, data))]
    reader = said(*frames)
    top = tmp_path_factory.mktemp("top")
    ArtifactFolder().save(top / "inner" / "out", reader.files)
    assert contents(top / "inner" / "out") == reader.files
    assert [path.name for path in top.iterdir()] == ["inner"]
    assert [path.name for path in (top / "inner").iterdir()] == ["out"]
