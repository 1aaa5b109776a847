"""One guest per form for all tests of this folder; where a test spoiled it, the next finds a new one."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gleitzeit_nb.sandbox.cgroup import find_hierarchy, sweep
from tests.sandbox.restricted.held_guest import FORMS, STRANGER, Environment, Guests, HeldGuest, readable_environment

Maker = Callable[..., HeldGuest]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents and sys.platform != "linux":
            item.add_marker(pytest.mark.skip(reason="restricted mode is enforced by the Linux kernel"))


@pytest.fixture(scope="session")
def environment() -> Iterator[Environment]:
    yield from readable_environment()


@pytest.fixture(scope="session")
def guests(environment: Environment) -> Iterator[Guests]:
    made = Guests(environment)
    yield made
    made.close()
    if hierarchy := find_hierarchy()[0]:
        sweep(hierarchy)  # what hosts left that a test killed; otherwise the next start would


@pytest.fixture(scope="session")
def shared() -> dict[str, HeldGuest]:
    return {}


@pytest.fixture(params=FORMS)
def guest(request: pytest.FixtureRequest, guests: Guests, shared: dict[str, HeldGuest]) -> HeldGuest:
    form = request.param
    if reason := guests.unavailable(form):
        pytest.skip(reason)
    if form not in shared:
        shared[form] = guests.make(form)
    return shared[form]


@pytest.fixture
def make_guest(guests: Guests) -> Iterator[Maker]:
    """Guests of this test's own: `make_guest(form, own_python=True, limits={…}, environment={…})`."""
    made: list[HeldGuest] = []

    def make(form: str, **options: object) -> HeldGuest:
        if reason := guests.unavailable(form):
            pytest.skip(reason)
        made.append(guests.make(form, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for each in made:
        guests.made.remove(each)
        each.close()


@pytest.fixture
def marker() -> str:
    """A word that no other process on this machine has in its command line; `sleep` takes it for seconds."""
    return f"{uuid.uuid4().int % 10**9 + 10**9}"


@pytest.fixture
def canary() -> Iterator[Path]:
    """A directory with a file that every user may read and write; as root both belong to the tests' ordinary user."""
    folder = Path(tempfile.mkdtemp(prefix="canary-", dir="/tmp"))
    (folder / "file").write_text("the host's own\n")
    (folder / "file").chmod(0o666)
    folder.chmod(0o777)
    if os.geteuid() == 0:
        for path in (folder, folder / "file"):
            os.chown(path, STRANGER, STRANGER)
    yield folder
    shutil.rmtree(folder)
