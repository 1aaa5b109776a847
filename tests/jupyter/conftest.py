"""A shell for every test of the magics; and a real kernel, with a server to ask, for each module that wants one."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.fake_ollama import FakeOllama
from tests.support.shell import Shell, open_shell
from tests.support.snapshots import MOCK_UP

if TYPE_CHECKING:
    from tests.support.kernel import Kernel


@pytest.fixture
def shell() -> Iterator[Shell]:
    """The magics in a shell that has a kernel, over a fake engine that shows the mock-up's pool."""
    with open_shell(MOCK_UP) as opened:
        yield opened


@pytest.fixture
def terminal() -> Iterator[Shell]:
    """The same in a plain terminal."""
    with open_shell(MOCK_UP, in_kernel=False) as opened:
        yield opened


@pytest.fixture
def interrupting() -> Callable[..., AbstractContextManager[None]]:
    """A context in which this thread gets a KeyboardInterrupt after `after_s`, as from the interrupt button."""

    @contextmanager
    def armed(*, after_s: float) -> Iterator[None]:
        def interrupt(_signal: int, _frame: object) -> None:
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, after_s)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    return armed


@pytest.fixture(scope="module")
def north() -> Iterator[FakeOllama]:
    from tests.support.kernel import serving

    with serving(FakeOllama("north")) as server:
        yield server


@pytest.fixture(scope="module")
def kernel(north: FakeOllama, project_root: Path) -> Iterator[Kernel]:
    """Its only instance is `north`."""
    from tests.support.kernel import instances, running_kernel

    with running_kernel(project_root, instances(north)) as running:
        yield running
