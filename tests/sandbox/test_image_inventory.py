"""Which images there are, what is said of them, and which of them go."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gleitzeit_nb.core.execution import ModeSettings
from gleitzeit_nb.errors import UsageError
from gleitzeit_nb.rendering.images import inventory_text, removal_text
from gleitzeit_nb.sandbox.daemon import DockerDaemon
from gleitzeit_nb.sandbox.images import archives, labels, recipes
from gleitzeit_nb.sandbox.images.inventory import Inventory, Made, Wanted, remove, take_stock

BASE = Made("sha256:b", ("gleitzeit/sandbox:1", "gleitzeit/sandbox:latest"), "sandbox", 1.0, 1, "0.1", "", "bookworm", "3.11", (), ())
BASE = replace(BASE, recipe=recipes.recipe("sandbox"))
OLD_BASE = replace(BASE, id="sha256:o", names=("gleitzeit/sandbox:0",), recipe="older")
DATA = replace(BASE, id="sha256:d", names=("gleitzeit/datascience:latest",), kind="datascience", base=BASE.id, preload=("numpy",))
DATA = replace(DATA, recipe=recipes.recipe("datascience"))
LAYER = Made("sha256:l", ("gleitzeit/requirements:1",), "requirements", 3.0, 3, "0.1", "", BASE.id, "3.11", (), ("a==1", "b==2"))


def stock(*images: Made, modes: dict[str, str]) -> Inventory:
    wanted = [Wanted(mode, f"name of {image}", image, "" if image else "It is not there.") for mode, image in modes.items()]
    return Inventory(images, tuple(wanted))


# -- decisions --------------------------------------------------------------------------------------------------------------------


def test_what_a_mode_runs_in_and_what_that_was_made_from_stay() -> None:
    assert stock(BASE, DATA, modes={"m": DATA.id}).unused() == ()
    assert stock(BASE, OLD_BASE, DATA, LAYER, modes={"m": DATA.id}).unused() == (OLD_BASE, LAYER)
    assert stock(BASE, DATA, modes={}).unused() == (BASE, DATA)
    assert stock(replace(DATA, base=DATA.id), modes={"m": DATA.id}).unused() == ()


def test_an_image_that_this_version_would_make_otherwise_is_out_of_date() -> None:
    inventory = stock(BASE, OLD_BASE, modes={})
    assert inventory.age(BASE) == ""
    assert "made by version 0.1; this one makes it otherwise" in inventory.age(OLD_BASE)
    assert inventory.age(DATA) == ""
    assert inventory.age(replace(DATA, base="sha256:gone")) == "its base is gone"
    assert inventory.age(replace(DATA, base=OLD_BASE.id)) == "its base was made anew since"
    assert inventory.age(LAYER) == ""


def test_the_listing_names_use_contents_age_and_what_is_missing() -> None:
    text = inventory_text(stock(BASE, OLD_BASE, DATA, LAYER, modes={"docker-sandbox": BASE.id, "docker-none": ""}))
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert "docker-sandbox, base of gleitzeit/datascience:l" in text
    assert "numpy ready" in text
    assert "a==1, b==2" in text
    assert "gleitzeit/sandbox:0: sha256:o, out of date: made by version 0.1" in text
    assert lines["docker-none"].split(maxsplit=1)[1] == "missing: name of"
    assert "It is not there." in text
    assert "images build" in inventory_text(stock(modes={}))


def test_labels_cannot_act_on_the_terminal() -> None:
    text = inventory_text(stock(replace(LAYER, packages=("\x1b[31mred",), names=("evil\x07:1",)), modes={}))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "nothing to remove" in removal_text(())


# -- files ------------------------------------------------------------------------------------------------------------------------


def archive(tmp_path: Path, files: dict[str, Any], link: str = "") -> Path:
    path = tmp_path / "image.tar"
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            data = json.dumps(content).encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        if link:
            info = tarfile.TarInfo(link)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(info)
    return path


def looked(path: Path) -> tuple[archives.Archived, ...]:
    with path.open("rb") as file:
        return archives.look_into(file)


@pytest.mark.parametrize(
    ("names", "marks", "problem"),
    [
        (["gleitzeit/sandbox:latest"], {labels.KIND: "sandbox"}, ""),
        (["gleitzeit/sandbox:latest"], {}, "carries no label"),
        (None, None, "an image without a name carries no label"),
        (["gleitzeit/sandbox:latest", "python:3.12-slim"], {labels.KIND: "sandbox"}, "it would take the name python:3.12-slim"),
    ],
)
def test_a_file_says_which_images_it_holds(tmp_path: Path, names: Any, marks: Any, problem: str) -> None:
    path = archive(tmp_path, {"c.json": {"config": {"Labels": marks}}, "manifest.json": [{"Config": "c.json", "RepoTags": names}]})
    [image] = looked(path)
    assert problem in image.problem
    assert bool(problem) == bool(image.problem)


@pytest.mark.parametrize(
    ("files", "link"),
    [
        ({}, ""),
        ({"manifest.json": 3}, ""),
        ({"manifest.json": [{"Config": "missing"}]}, ""),
        ({"manifest.json": [{"Config": "c.json"}]}, "c.json"),
        ({"manifest.json": [{"Config": "c.json"}], "c.json": [1]}, ""),
        ({"manifest.json": {"a": "b"}}, ""),
        ({}, "manifest.json"),
    ],
)
def test_a_file_that_lies_about_its_contents_is_refused(tmp_path: Path, files: dict[str, Any], link: str) -> None:
    with pytest.raises(UsageError, match="no file that `gleitzeit-nb images save`"):
        looked(archive(tmp_path, files, link))


def test_a_huge_manifest_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_JSON_BYTES", 10)
    with pytest.raises(UsageError, match="sensible size"):
        looked(archive(tmp_path, {"manifest.json": [{"Config": "c.json"}]}))


# -- on the daemon -----------------------------------------------------------------------------------------------------------------


@pytest.mark.docker
async def test_an_image_of_ours_is_listed_and_removed_unless_a_container_uses_it(docker_daemon: Any, tmp_path: Path) -> None:
    path = archive(tmp_path, {"file": 1})
    changes = [f"LABEL {labels.KIND}=test {labels.PRELOAD}=a,b {labels.PACKAGES}=x==1"]
    docker_daemon.api.import_image(src=str(path), repository="gleitzeit-test/listed", tag="latest", changes=changes)
    daemon = DockerDaemon()
    holder = docker_daemon.api.create_container("gleitzeit-test/listed:latest", command=["x"])["Id"]
    try:
        modes = [ModeSettings("docker-test", "docker", "Test", image="gleitzeit-test/listed:latest"), ModeSettings("r", "restricted", "R")]
        inventory = await take_stock(modes, daemon)
        [made] = [image for image in inventory.images if image.kind == "test"]
        assert (made.names, made.preload, made.packages) == (("gleitzeit-test/listed:latest",), ("a", "b"), ("x==1",))
        assert [(wanted.mode, wanted.id) for wanted in inventory.modes] == [("docker-test", made.id)]
        assert made not in inventory.unused()
        assert made in (await take_stock([], daemon)).unused()
        assert await remove([made], daemon) == [(made, "a container uses it")]
        docker_daemon.api.remove_container(holder)
        assert await remove([made], daemon) == [(made, "")]
        assert all(image.kind != "test" for image in (await take_stock(modes, daemon)).images)
    finally:
        daemon.close()
