"""Fetching the base from a registry: only when asked, only by its digest. The registry is one of our own, on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gleitzeit_nb.errors import SandboxUnavailableError
from gleitzeit_nb.sandbox.daemon import DockerDaemon
from gleitzeit_nb.sandbox.images import labels, making, recipes
from gleitzeit_nb.sandbox.images.making import Ways
from tests.support.registry import Registry

pytestmark = pytest.mark.docker


@pytest.fixture
def registry(docker_daemon: Any, docker_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """Serves the sandbox's own image as if it were a slim Python."""
    if not str(docker_daemon.api.base_url).startswith("http+docker"):
        pytest.skip("the daemon is on another machine, which does not reach a registry on this one")
    saved = tmp_path / "saved.tar"
    with saved.open("wb") as file:
        for piece in docker_daemon.api.get_image(docker_image):
            file.write(piece)
    made = Registry(saved, tmp_path)
    with made.serving():
        name = f"{made.address}/python:slim@{made.digest}"
        monkeypatch.setattr(recipes, "pinned_base", lambda: name)
        monkeypatch.setattr(making, "LATEST", {"sandbox": "gleitzeit-test/pulled:latest"})
        yield made


async def test_a_base_is_pulled_by_its_digest_and_built_upon(registry: Registry, docker_daemon: Any) -> None:
    daemon, said = DockerDaemon(), []
    removed = ["gleitzeit-test/pulled:latest"]
    try:
        name = await making.make("sandbox", Ways(pull=True), said.append, daemon)
        removed.append(name)
        made = docker_daemon.images.get(name).attrs["Config"]
        assert made["Labels"][labels.KIND] == "sandbox"
        assert made["User"] == "65534:65534"
        assert said[0] == f"pulling {recipes.pinned_base()}"
        assert any(path.endswith(f"/manifests/{registry.digest}") for path in registry.asked)
    finally:
        daemon.close()
        for each in removed:
            docker_daemon.images.remove(each, force=True)
        docker_daemon.images.remove(f"{registry.address}/python@{registry.digest}", force=True)


async def test_a_registry_that_serves_something_else_is_refused(registry: Registry) -> None:
    registry.lies = True
    daemon = DockerDaemon()
    try:
        with pytest.raises(SandboxUnavailableError, match=r"could not (pull|make) .*(digest|verif|manifest)"):
            await making.make("sandbox", Ways(pull=True), lambda line: None, daemon)
    finally:
        daemon.close()


async def test_nothing_is_asked_of_a_registry_unasked(registry: Registry, docker_image: str) -> None:
    daemon = DockerDaemon()
    try:
        await making._base(Ways(base=docker_image), "", lambda line: None, daemon)
        assert registry.asked == []
    finally:
        daemon.close()
