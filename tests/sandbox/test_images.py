"""Making the images: what goes in, what is fetched and what never is, what they hold; on the real daemon, and offline."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gleitzeit_nb.core.execution import DATASCIENCE_IMAGE, DATASCIENCE_MODE, ExecutionResult
from gleitzeit_nb.errors import ImageMissingError, SandboxUnavailableError
from gleitzeit_nb.sandbox import Sandbox, images
from gleitzeit_nb.sandbox.daemon import DockerDaemon
from gleitzeit_nb.sandbox.images import building, debian, labels, making, recipes, wheels
from gleitzeit_nb.sandbox.images.apt import Source
from gleitzeit_nb.sandbox.images.building import Plan
from gleitzeit_nb.sandbox.images.making import Ways
from gleitzeit_nb.sandbox.images.workshop import Target, probe

HERE = Target((3, 11), "x86_64", ("glibc", "2.36"))


@pytest_asyncio.fixture
async def daemon(docker_daemon: Any) -> AsyncIterator[DockerDaemon]:
    made = DockerDaemon()
    yield made
    made.close()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def removed_afterwards(docker_daemon: Any) -> Iterator[list[str]]:
    """Names of images that a test makes."""
    names: list[str] = []
    yield names
    for name in names:
        docker_daemon.images.remove(name, force=True)


# -- what goes in ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", recipes.KINDS)
def test_nothing_that_an_image_is_made_of_can_change_under_its_name(kind: str) -> None:
    text = recipes.dockerfile(kind)
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert set(bases) == {"${BASE}"}
    assert "pip install" not in text or ("--require-hashes" in text and "--no-index" in text)
    assert text.count("apt-get") == 0
    assert re.findall(r"^USER (.*)", text, re.MULTILINE)[-1] == "65534:65534"


def test_the_base_that_is_pulled_is_pinned_by_digest() -> None:
    assert re.fullmatch(r"python:3\.\d+-slim\S*@sha256:[0-9a-f]{64}", recipes.pinned_base())


def test_every_package_of_the_data_science_image_is_pinned_by_hash_for_every_python() -> None:
    pins = {pin.name: pin for pin in recipes.lock("datascience.txt")}
    assert {"numpy", "pandas", "matplotlib"} <= set(pins)
    assert all(pin.version and pin.hashes and all(re.fullmatch("[0-9a-f]{64}", digest) for digest in pin.hashes) for pin in pins.values())
    assert len(pins["numpy"].hashes) == 8  # four Pythons, two machines


def test_another_base_or_another_recipe_is_another_image(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {recipes.name_of(kind, base) for kind in recipes.KINDS for base in ("sha256:1", "sha256:2")}
    assert len(names) == 4
    monkeypatch.setattr(recipes, "RECIPE", recipes.RECIPE + 1)
    recipes.recipe.cache_clear()
    assert recipes.name_of("sandbox", "sha256:1") not in names
    recipes.recipe.cache_clear()


def test_a_lock_takes_its_own_wheels_and_says_which_are_missing(tmp_path: Path) -> None:
    for name, content in {"a-1-py3-none-any.whl": b"a", "b-1-py3-none-any.whl": b"b", "a-2.tar.gz": b"a"}.items():
        (tmp_path / name).write_bytes(content)
    there = wheels.by_hash(tmp_path)
    assert len(there) == 2
    [digest] = [digest for digest, path in there.items() if path.name.startswith("a")]
    taken, missing = wheels.pinned([recipes.Pin("a", "1", frozenset({digest, "0"})), recipes.Pin("b", "1", frozenset({"1"}))], there)
    assert [path.name for path in taken] == ["a-1-py3-none-any.whl"]
    assert missing == ["b 1"]
    assert wheels.by_hash(tmp_path / "nowhere") == {}


# -- what is fetched, and what never is ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "platforms"),
    [
        (Target((3, 12), "aarch64", ("glibc", "2.19")), ["manylinux_2_19", "manylinux_2_18", "manylinux_2_17", "manylinux2014"]),
        (Target((3, 13), "x86_64", ("", "")), ["musllinux_1_2", "musllinux_1_1"]),
    ],
)
async def test_wheels_are_chosen_for_the_image_and_no_source_is_ever_built(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: list[str], target: Target, platforms: list[str]
) -> None:
    ran: list[list[str]] = []

    async def run(command: list[str], hear: Any, *, doing: str) -> None:
        ran.append(list(command))
        hear("Downloading https://example.org/some-1-py3-none-any.whl (1 kB)")

    monkeypatch.setattr(wheels.programs, "run", run)
    await wheels.fetch(tmp_path / "new", ["some"], target, said.append)
    [command] = ran
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert command[command.index("--only-binary") + 1] == ":all:"
    assert [command[place + 1] for place, word in enumerate(command) if word == "--platform"] == [
        f"{p}_{target.machine}" for p in platforms
    ]
    assert command[command.index("--python-version") + 1] == target.version
    assert said[-1] == "  some-1-py3-none-any.whl"


async def test_without_pip_it_says_how_to_come_by_wheels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: list[str]) -> None:
    monkeypatch.setattr(wheels.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SandboxUnavailableError, match=r"ensurepip.*--wheelhouse"):
        await wheels.fetch(tmp_path, ["some"], HERE, said.append)


async def test_what_pip_says_last_is_in_the_error(tmp_path: Path, said: list[str]) -> None:
    with pytest.raises(SandboxUnavailableError, match=r"(?s)Could not fetch the wheels.*Invalid requirement"):
        await wheels.fetch(tmp_path, ["no such thing!"], HERE, said.append)


@pytest.mark.docker
async def test_offline_nothing_is_fetched_and_every_missing_wheel_is_named(
    docker_image: str, daemon: DockerDaemon, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "RECIPE", "never made")
    recipes.recipe.cache_clear()
    monkeypatch.setattr(wheels, "fetch", None)
    try:
        with pytest.raises(SandboxUnavailableError, match=r"Missing: contourpy .*numpy .*pip 26"):
            await making.make("datascience", Ways(offline=True, wheelhouse=tmp_path, base=docker_image), said.append, daemon)
    finally:
        recipes.recipe.cache_clear()


@pytest.mark.docker
@pytest.mark.parametrize("kind", recipes.KINDS)
async def test_a_base_that_is_not_there_is_not_pulled(daemon: DockerDaemon, said: list[str], kind: str) -> None:
    with pytest.raises(ImageMissingError, match=r"no/such:base is not on the Docker daemon, and nothing is pulled unasked"):
        await making.make(kind, Ways(base="no/such:base"), said.append, daemon)


async def test_elsewhere_than_on_debian_the_other_ways_are_named(monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    monkeypatch.setattr(making.apt, "find_source", lambda: None)
    with pytest.raises(SandboxUnavailableError, match=r"neither Debian nor Ubuntu.*\n.*--pull.*--base IMAGE"):
        await making.make("sandbox", Ways(), said.append, DockerDaemon())


async def test_without_root_the_other_ways_are_named(monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    monkeypatch.setattr(debian.os, "geteuid", lambda: 1000)
    with pytest.raises(SandboxUnavailableError, match=r"takes root and debootstrap.*\n.*--pull.*--base IMAGE"):
        await debian.bootstrap("name:tag", Source("bookworm", ""), {}, said.append, DockerDaemon())


@pytest.mark.parametrize(
    ("target", "words"),
    [(Target((3, 10), "x86_64", ("glibc", "2.35")), "Python 3.10"), (Target((3, 12), "x86_64", ("", "")), "without glibc")],
)
def test_a_base_for_which_no_wheels_are_pinned_is_refused(target: Target, words: str) -> None:
    with pytest.raises(SandboxUnavailableError, match=rf"(?s)some:base has .*{words}.*3\.11 to 3\.14.*--base IMAGE"):
        making._refuse_other_pythons(target, "some:base")


# -- what the daemon reports ------------------------------------------------------------------------------------------------------


class BuildingApi:
    """A daemon that reports `events` for a build, and has the image afterwards if there was no error."""

    base_url = "http+docker://fake"

    def __init__(self, *events: dict[str, Any]) -> None:
        self.events = events

    def build(self, **_: Any) -> Iterator[dict[str, Any]]:
        return iter(self.events)

    def images(self, name: str = "", filters: Any = None) -> list[dict[str, Any]]:
        return [] if filters else [{"Id": name}]

    def close(self) -> None:
        pass


async def build_on(api: Any, said: list[str]) -> None:
    await building.build("some:image", Plan("FROM x", {}, {}), said.append, DockerDaemon(lambda: api))


async def test_steps_that_take_their_time_are_told_once(said: list[str]) -> None:
    steps = ["Step 1/3 : ARG X", "Step 2/3 : RUN long", "output", "\n", "Step 2/3 : RUN long", "Step 3/3 : COPY a b"]
    await build_on(BuildingApi(*({"stream": step} for step in steps)), said)
    assert said == ["  Step 2/3 : RUN long", "  Step 3/3 : COPY a b"]


async def test_a_build_that_fails_shows_what_was_said_before(said: list[str]) -> None:
    events = [
        {"stream": "Step 1/1 : RUN pip\n"},
        {"stream": "\x1b[91mERROR: hash mismatch\n\x1b[0m"},
        {"error": "returned a non-zero code: 1"},
    ]
    with pytest.raises(SandboxUnavailableError, match=r"some:image: returned a non-zero code: 1\n    ERROR: hash mismatch$"):
        await build_on(BuildingApi(*events), said)


async def test_a_full_disk_says_what_to_remove(said: list[str]) -> None:
    with pytest.raises(SandboxUnavailableError, match=r"The disk is full: .*write /x: no space left on device.*\n.*images prune"):
        await build_on(BuildingApi({"error": "write /x: no space left on device"}), said)


# -- what comes out --------------------------------------------------------------------------------------------------------------


@pytest.mark.docker
async def test_the_sandboxs_dockerfile_builds_offline_on_a_base_that_is_there(
    docker_image: str,
    docker_daemon: Any,
    daemon: DockerDaemon,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
    removed_afterwards: list[str],
) -> None:
    monkeypatch.setattr(making, "LATEST", {"sandbox": "gleitzeit-test/sandbox:latest"})
    name = await making.make("sandbox", Ways(base=docker_image), said.append, daemon)
    removed_afterwards += [name, "gleitzeit-test/sandbox:latest"]
    made = docker_daemon.images.get(name).attrs["Config"]
    assert (made["User"], made["Cmd"], made["Entrypoint"]) == ("65534:65534", ["python3"], None)
    assert made["Labels"][labels.KIND] == "sandbox"
    assert made["Labels"][labels.RECIPE] == recipes.recipe("sandbox")
    assert made["Labels"][labels.BASE] == docker_daemon.images.get(docker_image).id
    assert made["Labels"][labels.PYTHON] == (await probe(daemon, docker_image)).version
    async with Sandbox() as sandbox:
        looked = await sandbox.execute(SET_UID, "docker-sandbox", image=name)
    assert looked.stdout == "[]\n"
    again: list[str] = []
    await making.make("sandbox", Ways(base=docker_image), again.append, daemon)
    assert again == [f"{name} is there already", f"{name} is ready"]


SET_UID = """
import os, stat
paths = [os.path.join(folder, name) for folder, _, names in os.walk("/usr") for name in names]
print([path for path in paths if stat.S_ISREG(os.lstat(path).st_mode) and os.lstat(path).st_mode & (stat.S_ISUID | stat.S_ISGID)])
"""


# -- the data-science image -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def datascience_image(docker_daemon: Any) -> str:
    try:
        docker_daemon.images.get(DATASCIENCE_IMAGE)
    except Exception as exc:  # noqa: BLE001 - whatever it is, the image cannot be had
        pytest.skip(f"{exc}: gleitzeit-nb images build datascience")
    return DATASCIENCE_IMAGE


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def datascience(datascience_image: str) -> AsyncIterator[Sandbox]:
    async with Sandbox({"default_mode": DATASCIENCE_MODE}) as sandbox:
        yield sandbox


SAVE_FIGURE = """
import io, sys
ready = "matplotlib.pyplot" in sys.modules
import matplotlib.pyplot as plt
figure, axes = plt.subplots()
axes.plot([1, 2, 4], label="αβγ"); axes.set_title("title"); axes.legend()
target = io.BytesIO(); plt.savefig(target, format="png"); plt.savefig("figure.pdf"); plt.savefig("figure.svg")
print(ready, target.getvalue()[:8] == b"\\x89PNG\\r\\n\\x1a\\n")
"""
LIBRARIES = {
    "numpy": (
        "import numpy as np; print(np.linalg.norm(np.arange(10_000.) @ np.ones((10_000, 3))) > 0, np.fft.fft([1, 0])[0].real)",
        "True 1.0",
    ),
    "numpy.testing": ("import numpy.testing, pandas.testing; numpy.testing.assert_allclose([1], [1]); print(1)", "1"),
    "pandas": (
        "import pandas as pd; print(pd.DataFrame({'k': list('aab'), 'v': [1, 2, 3]}).groupby('k').v.sum().to_dict())",
        "{'a': 3, 'b': 3}",
    ),
    "pandas dates": ("import pandas as pd; print(pd.Timestamp('2026-03-29 12:00', tz='Europe/Berlin').utcoffset())", "2:00:00"),
    "pandas files": ("import pandas as pd; pd.DataFrame({'a': [1]}).to_csv('f.csv'); print(pd.read_csv('f.csv').a.sum())", "1"),
    "matplotlib": (SAVE_FIGURE, "True True"),
    "sqlite3": ("import sqlite3; c = sqlite3.connect('a.db'); c.execute('create table t(x)'); c.commit(); print(c.total_changes)", "0"),
    "asyncio": ("import asyncio\nasync def f(): await asyncio.sleep(0); return 3\nprint(sum(await asyncio.gather(f(), f())))", "6"),
    "subprocess": (
        "import asyncio\np = await asyncio.create_subprocess_exec('echo', 'x', stdout=-1)\nprint((await p.communicate())[0])",
        "b'x\\n'",
    ),
    "multiprocessing": ("import multiprocessing as m\nwith m.get_context('fork').Pool(2) as p: print(p.map(abs, [-1, -2]))", "[1, 2]"),
    "threads": ("import concurrent.futures as c\nwith c.ThreadPoolExecutor(4) as p: print(list(p.map(abs, [-1, -2])))", "[1, 2]"),
}


@pytest.mark.docker
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("library", LIBRARIES)
async def test_the_data_stack_works_under_the_seccomp_list(datascience: Sandbox, library: str) -> None:
    code, expected = LIBRARIES[library]
    result = await datascience.execute(code)
    assert (result.stdout.strip(), result.stderr, result.status) == (expected, "", "ok"), result


@pytest.mark.docker
@pytest.mark.asyncio(loop_scope="module")
async def test_pandas_is_there_before_it_is_imported_and_random_numbers_are_each_runs_own(datascience: Sandbox) -> None:
    async def run(code: str) -> ExecutionResult:
        result = await datascience.execute(code)
        assert result.ok, result
        return result

    loaded = await run("import sys; print(all(name in sys.modules for name in ('numpy', 'pandas', 'matplotlib.pyplot')))")
    assert loaded.stdout == "True\n"
    drawn = [
        await run("import random, numpy; print(random.random(), numpy.random.random(), numpy.random.default_rng().random())")
        for _ in range(3)
    ]
    assert len({one.container for one in drawn}) == 1
    numbers = [number for one in drawn for number in one.stdout.split()]
    assert len(set(numbers)) == 9
    assert (await run("import os; print(os.listdir('/work'), os.listdir('/tmp'))")).stdout == "[] []\n"


@pytest.mark.docker
@pytest.mark.asyncio(loop_scope="module")
async def test_a_mode_may_preload_something_else_or_nothing(datascience_image: str) -> None:
    seen = "import sys; print('pandas' in sys.modules, 'json.tool' in sys.modules)"
    modes = {
        "docker-none": {"image": datascience_image, "preload": []},
        "docker-own": {"image": datascience_image, "preload": ["json.tool"]},
    }
    modes |= {"docker-bad": {"image": datascience_image, "preload": ["sklearn"]}}
    async with Sandbox({"modes": modes, "container_pool": {"min_warm": 0}}) as sandbox:
        assert (await sandbox.execute(seen, "docker-none")).stdout == "False False\n"
        assert (await sandbox.execute(seen, "docker-own")).stdout == "False True\n"
        with pytest.raises(SandboxUnavailableError, match=r"sklearn: ModuleNotFoundError.*\n.*`preload`"):
            await sandbox.execute(seen, "docker-bad")


@pytest.mark.docker
def test_the_image_says_what_it_is_and_holds_no_wheels(datascience_image: str, docker_daemon: Any) -> None:
    made = docker_daemon.images.get(datascience_image).attrs
    assert made["Config"]["User"] == "65534:65534"
    assert labels.preloaded(made["Config"]["Labels"]) == ("numpy", "pandas", "matplotlib.pyplot")
    assert made["Config"]["Labels"][labels.KIND] == "datascience"
    assert labels.STAGE not in made["Config"]["Labels"]
    assert images.preload_of(docker_daemon.api, datascience_image) == ("numpy", "pandas", "matplotlib.pyplot")
