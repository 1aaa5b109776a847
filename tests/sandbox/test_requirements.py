"""Images with the packages of requirements: made from wheels without any network, and of no use to a wheel that wants more."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gleitzeit_nb.core.execution import DOCKER_MODE, RESTRICTED_MODE, ModeSettings
from gleitzeit_nb.core.requirements import Requirements
from gleitzeit_nb.errors import ConfigError, ImageMissingError, SandboxProtocolError
from gleitzeit_nb.sandbox import Sandbox, images
from gleitzeit_nb.sandbox.bundle import PACKAGES_DIR
from gleitzeit_nb.sandbox.daemon import DockerDaemon
from gleitzeit_nb.sandbox.docker import DockerLauncher
from gleitzeit_nb.sandbox.images import labels, layers, recipes, wheels
from gleitzeit_nb.sandbox.images.layers import Resolved
from gleitzeit_nb.sandbox.images.workshop import probe, workshop
from gleitzeit_nb.sandbox.profile import Profile
from tests.support.waiting import until

PLANT = "import builtins; builtins.PLANTED = True\n"


def wheel(folder: Path, name: str, version: str, files: dict[str, str]) -> Path:
    """A wheel with `files`, as the format (PEP 427) wants it."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        rows = []
        for inner, text in files.items():
            archive.writestr(inner, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            rows.append(f"{inner},sha256={digest},{len(text.encode())}")
        archive.writestr(f"{info}/RECORD", "\n".join([*rows, f"{info}/RECORD,,"]) + "\n")
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def daemon(docker_daemon: Any) -> AsyncIterator[DockerDaemon]:
    made = DockerDaemon()
    yield made
    made.close()


@pytest.fixture(scope="module")
def made_images(docker_daemon: Any) -> Iterator[list[str]]:
    names: list[str] = []
    yield names
    for name in names:
        docker_daemon.images.remove(name, force=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def wheelhouse(tmp_path_factory: pytest.TempPathFactory, daemon: DockerDaemon, docker_image: str) -> Path:
    """A package, and one that tries everything that a file can try when it merely lies somewhere."""
    found, _ = wheels.pinned(recipes.lock("pip.txt"), wheels.by_hash(wheels.wheel_cache(await probe(daemon, docker_image))))
    if not found:
        pytest.skip("no wheel of pip in the cache: gleitzeit-nb images build datascience")
    folder = tmp_path_factory.mktemp("wheelhouse")
    wheel(folder, "polite", "1.5", {"polite/__init__.py": "GREETING = 'good day'\n"})
    evil = {f"{name}.py": PLANT for name in ("sitecustomize", "usercustomize", "json")}
    wheel(folder, "evil", "1.0", {"evil.pth": PLANT, "evil/__init__.py": "", **evil})
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def layer(docker_image: str, daemon: DockerDaemon, wheelhouse: Path, made_images: list[str]) -> str:
    """With both packages."""
    base = await layers.base_of(docker_image, daemon)
    name = await layers.make(base, Requirements.of("polite>=1\nevil"), wheelhouse, lambda line: None, daemon)
    made_images.append(name)
    return name


def workshops(client: Any) -> list[Any]:
    """The containers of this process in which something was made."""
    found = client.containers.list(
        all=True, filters={"name": "gleitzeit-build-", "label": f"gleitzeit.pid={os.getpid()}"}, ignore_removed=True
    )
    return list(found)


# -- decisions --------------------------------------------------------------------------------------------------------------------


def test_what_the_container_answers_is_checked() -> None:
    there = {"a" * 64: Path("x.whl")}
    answer = layers.ANSWER + json.dumps({"packages": [["a", "1.0", "a" * 64]], "replaced": []})
    assert Resolved.of(f"noise\n{answer}\n", there) == Resolved((("a", "1.0", "a" * 64),), False)


@pytest.mark.parametrize(
    "package",
    [["a", "1", "b" * 64], ["a b", "1", "a" * 64], ["a", "1\n2", "a" * 64], ["--evil", "1", "a" * 64], ["a", "1"], "abc", None, [1, 2, 3]],
)
def test_what_it_cannot_have_found_is_refused(package: Any) -> None:
    answer = layers.ANSWER + json.dumps({"packages": [package], "replaced": []})
    with pytest.raises((ValueError, TypeError)):
        Resolved.of(answer, {"a" * 64: Path("x.whl")})


@pytest.mark.parametrize("said", ["", "no answer", layers.ANSWER + "[]", layers.ANSWER + "{", layers.ANSWER + "{}"])
def test_a_container_that_answers_nothing_is_refused(said: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        Resolved.of(said, {})


async def test_only_containers_take_requirements() -> None:
    async with Sandbox({"modes": {"local": {"enabled": True}}}) as sandbox:
        for mode in (RESTRICTED_MODE, "local"):
            with pytest.raises(ConfigError, match="is no container and takes no requirements"):
                await sandbox.execute("1", mode, requirements="polite")
        with pytest.raises(ConfigError, match="requirements: '-r x' is an option of pip"):
            await sandbox.execute("1", DOCKER_MODE, requirements="-r x")


# -- on the daemon ------------------------------------------------------------------------------------------------------------------


@pytest.mark.docker
@pytest.mark.asyncio(loop_scope="module")
async def test_a_run_finds_its_requirements_and_so_do_programs_that_it_starts(layer: str, wheelhouse: Path) -> None:
    code = "import polite, subprocess, sys\nprint(polite.GREETING, polite.__file__)\n"
    code += "subprocess.run([sys.executable, '-c', 'import polite; print(polite.GREETING)'])"
    said: list[str] = []
    async with Sandbox({"wheelhouse": str(wheelhouse)}) as sandbox:
        result = await sandbox.execute(code, DOCKER_MODE, requirements=["evil", "polite>=1"], on_progress=said.append)
        assert result.stdout == f"good day {PACKAGES_DIR}/polite/__init__.py\ngood day\n", result
        assert layer in result.isolation
        assert said == []  # it was there
        plain = await sandbox.execute("import importlib.util; print(importlib.util.find_spec('polite'))", DOCKER_MODE)
        assert plain.stdout == "None\n"


@pytest.mark.docker
@pytest.mark.asyncio(loop_scope="module")
async def test_a_session_has_them_in_every_cell(layer: str, wheelhouse: Path) -> None:
    wanted = ["evil", "polite>=1"]
    async with Sandbox({"wheelhouse": str(wheelhouse), "default_mode": DOCKER_MODE}) as sandbox:
        await sandbox.execute("import polite; x = polite.GREETING", session="s", requirements=wanted)
        again = await sandbox.execute("import sys; print(x, polite.__file__)", session="s", requirements=wanted)
        assert again.stdout == f"good day {PACKAGES_DIR}/polite/__init__.py\n"
        assert (await sandbox.execute("print(x)", session="s")).stdout == "good day\n"


@pytest.mark.docker
def test_the_image_says_what_it_holds_and_has_nothing_else_from_the_workshop(layer: str, docker_daemon: Any) -> None:
    made = docker_daemon.images.get(layer).attrs
    marks = made["Config"]["Labels"]
    assert marks[labels.KIND] == "requirements"
    assert sorted(marks[labels.PACKAGES].split()) == ["evil==1.0", "polite==1.5"]
    assert labels.REPLACED not in marks
    assert not any(key.startswith("gleitzeit.owner") for key in marks)
    assert workshops(docker_daemon) == []


LOOK = "import builtins, json, sys; print(hasattr(builtins, 'PLANTED'), json.__file__.startswith('/usr/'))"


class Careless(Profile):
    """As without -I, and with the packages where every Python looks."""

    def container_config(self, *arguments: Any) -> dict[str, Any]:
        config = super().container_config(*arguments)
        config["command"] = [word for word in config["command"] if word != "-I"]
        config["environment"]["PYTHONPATH"] = PACKAGES_DIR
        return config


@pytest.mark.docker
@pytest.mark.asyncio(loop_scope="module")
async def test_a_wheels_files_never_run_in_the_guests_first_process(layer: str) -> None:
    async with Sandbox() as sandbox:
        assert (await sandbox.execute(LOOK, DOCKER_MODE, image=layer)).stdout == "False True\n"
    async with Sandbox(launchers={"docker": DockerLauncher(profile=Careless())}) as weakened:
        try:
            seen = (await weakened.execute(LOOK, DOCKER_MODE, image=layer)).stdout
        except SandboxProtocolError as exc:
            seen = str(exc)  # the guest read its source with the json of the wheel
    assert seen != "False True\n"


@pytest.mark.docker
@pytest.mark.asyncio(loop_scope="module")
async def test_the_same_requirements_are_made_once(layer: str, docker_image: str, daemon: DockerDaemon, wheelhouse: Path) -> None:
    base = await layers.base_of(docker_image, daemon)
    said: list[str] = []
    wanted = Requirements.of("evil\npolite >= 1")
    assert await layers.find(base, wanted, daemon) == layer
    assert await layers.make(base, wanted, wheelhouse, said.append, daemon) == layer
    assert said[-1] == f"{layer} is there already"
    assert await layers.find(base, Requirements.of("polite==1.5"), daemon) is None


@pytest.mark.docker
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("wanted", ["polite==2", f"polite==1.5 --hash=sha256:{'0' * 64}"])
async def test_what_the_wheels_do_not_give_names_the_command_that_fetches(docker_image: str, wheelhouse: Path, wanted: str) -> None:
    async with Sandbox({"wheelhouse": str(wheelhouse)}) as sandbox:
        with pytest.raises(ImageMissingError) as caught:
            await sandbox.execute("1", DOCKER_MODE, requirements=wanted)
    message = str(caught.value)
    assert "nothing is fetched unasked" in message
    assert "pip could not resolve it" in message
    assert f"images build --base {docker_image} --requirements " in message
    assert "--download" in message


@pytest.mark.docker
@pytest.mark.asyncio(loop_scope="module")
async def test_an_empty_wheelhouse_is_said_to_be_empty(docker_image: str, tmp_path: Path) -> None:
    async with Sandbox({"wheelhouse": str(tmp_path)}) as sandbox:
        with pytest.raises(ImageMissingError, match=r"(?s)holds no wheel.*--download"):
            await sandbox.execute("1", DOCKER_MODE, requirements="polite")


@pytest.mark.docker
@pytest.mark.asyncio(loop_scope="module")
async def test_wheels_are_unpacked_without_network_and_capabilities(docker_image: str, daemon: DockerDaemon) -> None:
    look = "import os; print(os.getuid(), sorted(os.listdir('/sys/class/net')), open('/proc/self/status').read())"
    async with workshop(daemon, docker_image, ["python3", "-I", "-c", look], root=True) as shop:
        status, said = await shop.run()
    assert status == 0
    assert said.startswith("0 ['lo'")
    facts = dict(line.split(":\t", 1) for line in said.splitlines() if ":\t" in line)
    assert (facts["CapEff"], facts["CapBnd"], facts["NoNewPrivs"], facts["Seccomp"]) == ("0" * 16, "0" * 16, "1", "2")


@pytest.mark.docker
@pytest.mark.asyncio(loop_scope="module")
async def test_whoever_leaves_leaves_no_container_behind(docker_image: str, daemon: DockerDaemon, docker_daemon: Any) -> None:
    async def work() -> None:
        async with workshop(daemon, docker_image, ["python3", "-c", "import time; time.sleep(600)"]) as shop:
            await shop.run()

    running = asyncio.create_task(work())
    await until(lambda: any(each.status == "running" for each in workshops(docker_daemon)))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert workshops(docker_daemon) == []


def test_packages_that_replace_those_of_the_base_are_not_hidden_by_what_was_preloaded() -> None:
    class Api:
        def __init__(self, marks: dict[str, str]) -> None:
            self.marks = marks

        def inspect_image(self, image: str) -> Any:
            return {"Config": {"Labels": self.marks}}

    plain: Any = Api({labels.PRELOAD: "numpy"})
    replaced: Any = Api({labels.PRELOAD: "numpy", labels.REPLACED: "true"})
    assert images.preload_of(plain, "x") == ("numpy",)
    assert images.preload_of(plain, "x", ("json",)) == ("json",)
    assert images.preload_of(replaced, "x", ("numpy",)) == ()
    assert ModeSettings("m", "docker", "M").preload is None
