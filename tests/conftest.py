"""What every test gets: a clean environment, a seeded chance, a clock that moves by hand; and skips that say what is missing."""

from __future__ import annotations

import gc
import os
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Authority

pytest_plugins = ["tests.support.ci_rules"]

FOREIGN_PREFIXES = ("GLEITZEIT_", "OLLAMA_", "JUPYTER_", "IPYTHON")
KEPT = ("GLEITZEIT_CACHE_DIR",)  # where downloaded weights lie; shared with the rest of the machine


def pytest_configure() -> None:
    """A run in the background (`make test &`, many CI runners) is started with SIGINT ignored, and so would be every kernel and
    program that a test interrupts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class FakeClock:
    """Seconds that pass only when told to. Call it for the time; `advance(s)` moves it."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> float:
        self.now += seconds
        return self.now


@pytest.fixture(scope="session", autouse=True)
def _clean_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No setting of the person at this machine reaches a test, and no test writes into their home's configuration."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith(FOREIGN_PREFIXES) and name not in KEPT:
                patch.delenv(name)
        for name in ("XDG_CONFIG_HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "XDG_RUNTIME_DIR"):
            folder = home / name.lower()
            folder.mkdir(mode=0o700)
            patch.setenv(name, str(folder))
        yield


@pytest.fixture(autouse=True)
def _environment_restored() -> Iterator[None]:
    """A test that sets a variable does not set it for the next one."""
    before = dict(os.environ)
    yield
    if dict(os.environ) != before:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="module", autouse=True)
def _leaks_are_found_in_their_module() -> Iterator[None]:
    """What a module's tests left open (a socket, a loop) warns here, and so fails there, instead of after the last test of the run."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Vouches for the servers and clients of the tests."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: apt-get install openssl")
    return Authority(tmp_path_factory.mktemp("certificates"), "authority")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def rng() -> random.Random:
    return random.Random(20260105)


@pytest.fixture(scope="session")
def docker_daemon() -> Iterator[Any]:
    """A `docker.DockerClient` of a daemon that answers; skips when there is none."""
    docker = pytest.importorskip("docker")
    try:
        client = docker.from_env(timeout=20)
        client.ping()
    except docker.errors.DockerException as exc:
        pytest.skip(f"no Docker daemon answers: {exc}")
    yield client
    client.close()


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium; skips when there is none."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not path:
        pytest.skip("no Chromium found: apt-get install chromium, or set CHROMIUM to its path")
    return path


@pytest.fixture(scope="session")
def project_root() -> Path:
    return Path(__file__).resolve().parent.parent
