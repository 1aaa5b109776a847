"""Every promise on every mode that makes it; and every check once more without the protection that it checks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

import pytest

from gleitzeit_nb.core.execution import DATASCIENCE_MODE, DOCKER_MODE, RESTRICTED_MODE, ContainerPoolSettings, SandboxSettings
from gleitzeit_nb.errors import SandboxError
from gleitzeit_nb.sandbox import Sandbox
from gleitzeit_nb.sandbox.bundle import guest_source
from gleitzeit_nb.sandbox.selfcheck.catalogue import CHECKS
from gleitzeit_nb.sandbox.selfcheck.check import Check, Subject
from gleitzeit_nb.sandbox.selfcheck.examination import Outcome, examine
from gleitzeit_nb.sandbox.selfcheck.page import anchors, renewed
from gleitzeit_nb.sandbox.selfcheck.probing import SECRET, SECRET_NAME
from gleitzeit_nb.sandbox.selfcheck.subjects import ModeExecute, look_at, still_answers
from gleitzeit_nb.sandbox.selfcheck.volumes import with_volume_root
from gleitzeit_nb.sandbox.selfcheck.weakenings import WEAKENINGS, WeakLauncher, altered
from tests.sandbox.conftest import finished


def _words(value: str | Check) -> str:
    return value.name if isinstance(value, Check) else value.replace(" ", "_")


# Each check of these takes a container that is made otherwise: seconds with an image that imports much, and nothing new about it.
MADE_OTHERWISE = ("allowed hosts", "limits of one run", "volumes")
WAYS = {
    DOCKER_MODE: (DOCKER_MODE, False, CHECKS),
    f"{DOCKER_MODE}-fresh": (DOCKER_MODE, True, CHECKS),
    DATASCIENCE_MODE: (DATASCIENCE_MODE, False, tuple(check for check in CHECKS if check.area not in MADE_OTHERWISE)),
    RESTRICTED_MODE: (RESTRICTED_MODE, False, CHECKS),
}
WEAKENED = [(name, check) for name in WEAKENINGS for check in CHECKS if check.weakening == name]
Outcomes = Mapping[str, Outcome]
Found = dict[str, Outcomes | SandboxError]


@pytest.fixture(scope="module")
def found() -> Found:
    """What was found out so far: a whole list is gone through at once, and every test asks for its part."""
    return {}


def once(found: Found, name: str, examining: Callable[[], Awaitable[list[Outcome]]]) -> Outcomes:
    if name not in found:
        try:
            found[name] = {outcome.check.name: outcome for outcome in finished(examining)}
        except SandboxError as exc:
            found[name] = exc
    result = found[name]
    if isinstance(result, SandboxError):
        pytest.skip(f"no {name} here: {result}")
    return result


async def examine_mode(mode: str, fresh: bool, checks: tuple[Check, ...]) -> list[Outcome]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SECRET_NAME, SECRET)
        async with Sandbox(with_volume_root(SandboxSettings())) as sandbox:
            return await examine(await look_at(sandbox, mode, fresh=fresh), checks)


async def examine_weakened(name: str) -> list[Outcome]:
    settings = with_volume_root(SandboxSettings(container_pool=ContainerPoolSettings(min_warm=0)))
    weakening = WEAKENINGS[name]
    async with Sandbox(settings, launchers={"docker": WeakLauncher(weakening)}, gateway=weakening.gateway()) as sandbox:
        execute = ModeExecute(sandbox, Subject(settings.modes[DOCKER_MODE], volume_roots=settings.volume_roots))
        assert await still_answers(execute)
        return await examine(execute, [check for check in CHECKS if check.weakening == name], sure=False)


@pytest.mark.parametrize(("way", "check"), [(way, check) for way, (_, _, checks) in WAYS.items() for check in checks], ids=_words)
def test_promise_is_kept(way: str, check: Check, found: Found, request: pytest.FixtureRequest) -> None:
    mode, fresh, checks = WAYS[way]
    if mode == DOCKER_MODE:
        request.getfixturevalue("docker_image")
    outcome = once(found, way, partial(examine_mode, mode, fresh, checks))[check.name]
    assert outcome.verdict in ("kept", "not promised"), f"{check.tried}: expected {check.expected!r}, saw {outcome.saw}"


@pytest.mark.docker
@pytest.mark.parametrize(("weakening", "check"), WEAKENED, ids=_words)
def test_check_fails_without_the_protection(weakening: str, check: Check, found: Found, docker_image: str) -> None:
    outcome = once(found, weakening, partial(examine_weakened, weakening))[check.name]
    assert outcome.bad, f"without its protection it is {outcome.verdict}, and saw {outcome.saw}"


def test_there_are_many_different_checks() -> None:
    assert len({(check.source, check.weakening) for check in CHECKS}) == len(CHECKS) >= 100


@pytest.mark.parametrize("name", WEAKENINGS)
def test_a_weakening_of_the_guest_finds_what_it_takes_away(name: str) -> None:
    assert altered(guest_source(), WEAKENINGS[name].source) != guest_source() or not WEAKENINGS[name].source


def test_every_weakening_is_used_and_exists() -> None:
    assert {check.weakening for check in CHECKS} == set(WEAKENINGS)


def test_checks_have_names_and_promises_of_their_own() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert all(check.promise.endswith(".") and check.tried for check in CHECKS)


PAGE = Path(__file__).resolve().parents[2] / "docs" / "security.md"


def test_every_check_proves_a_line_of_the_docs_and_every_line_is_proved() -> None:
    assert set(anchors(PAGE.read_text("utf-8"))) == {check.proves for check in CHECKS}


def test_the_page_lists_every_check() -> None:
    page = PAGE.read_text("utf-8")
    assert page == renewed(page), "run: python -m gleitzeit_nb.sandbox.selfcheck.page docs/security.md"
