"""The house's order, proved on the source: who imports whom, what core never touches, who reads the environment."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "gleitzeit_nb"
SOURCE = Path(__file__).resolve().parent.parent / PACKAGE

# Lowest first. A module may import its own package and every layer below; never a neighbour or a layer above.
LAYERS = (
    {"errors"},
    {"core"},
    {"events", "snapshot", "protocols"},
    {"config"},
    {"llm", "sandbox", "embedded", "batch", "workflow", "fleet"},
    {"doctor", "glance", "jobs"},
    {"engine", "rendering"},
    {"metrics", "runtime"},
    {"client"},
    {"cli", "jupyter"},
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

IMPURE = set(
    "aiohttp asyncio concurrent datetime docker httpx importlib io logging multiprocessing os pathlib pydantic secrets selectors shutil "
    "signal socket subprocess sys tempfile threading time urllib uuid yaml".split()
)
NOTEBOOK_ONLY = {"IPython", "ipykernel", "ipywidgets", "comm", "traitlets"}


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every imported name with its line, also those inside functions and under TYPE_CHECKING: knowing is importing."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def component(dotted: str) -> str:
    """`gleitzeit_nb.core.breaker` → `core`; "" for the package itself or one of its public names."""
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in RANK else ""


def direction_faults(own: str, tree: ast.AST) -> list[str]:
    faults = []
    for line, name in imported(tree):
        if name.startswith("."):
            faults.append(f"line {line}: relative import {name}")
        elif name.partition(".")[0] == PACKAGE and (other := component(name)) != own:
            if not other and name != f"{PACKAGE}.__version__":
                faults.append(f"line {line}: {own} imports the public face {name}")
            elif other and RANK[other] >= RANK[own]:
                faults.append(f"line {line}: {own} imports {other}")
    return faults


def purity_faults(tree: ast.AST) -> list[str]:
    faults = [f"line {line}: core imports {name}" for line, name in imported(tree) if name.partition(".")[0] in IMPURE]
    for node in ast.walk(tree):
        shared_chance = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random"
        if shared_chance and node.attr != "Random":
            faults.append(f"line {node.lineno}: core uses the shared random.{node.attr}")
        if isinstance(node, ast.AsyncFunctionDef | ast.Await):
            faults.append(f"line {node.lineno}: core is asynchronous here")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"open", "print", "input", "exec", "eval"}:
            faults.append(f"line {node.lineno}: core calls {node.func.id}()")
    return faults


def environment_faults(tree: ast.AST) -> list[str]:
    names = {"environ", "environb", "getenv", "putenv", "unsetenv"}
    faults = [f"line {line}: {name}" for line, name in imported(tree) if name in {f"os.{each}" for each in names}]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in names and isinstance(node.value, ast.Name) and node.value.id == "os":
            faults.append(f"line {node.lineno}: os.{node.attr}")
    return faults


def sources() -> list[Path]:
    return [path for path in sorted(SOURCE.rglob("*.py")) if "labextension" not in path.parts]


def own_component(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def report(path: Path, faults: list[str]) -> list[str]:
    return [f"{path.relative_to(SOURCE.parent)} {fault}" for fault in faults]


def parsed(path: Path) -> ast.AST:
    return ast.parse(path.read_text(), str(path))


def test_every_module_has_a_layer() -> None:
    assert [own for path in sources() if (own := own_component(path)) not in RANK and own != "__init__"] == []


def test_imports_run_one_way() -> None:
    faults = [
        fault for path in sources() if (own := own_component(path)) in RANK for fault in report(path, direction_faults(own, parsed(path)))
    ]
    assert faults == []


def test_core_is_pure() -> None:
    assert [fault for path in sources() if own_component(path) == "core" for fault in report(path, purity_faults(parsed(path)))] == []


def test_only_config_reads_the_environment() -> None:
    # They run in a guest, and write into the code's own environment.
    inside = [SOURCE / "sandbox" / name for name in ("tunnels.py", "preloading.py")]
    assert [
        fault
        for path in sources()
        if own_component(path) != "config" and path not in inside
        for fault in report(path, environment_faults(parsed(path)))
    ] == []


def test_only_jupyter_imports_the_notebook_packages() -> None:
    faults = [
        f"{path.relative_to(SOURCE.parent)} line {line}: {name}"
        for path in sources()
        if own_component(path) != "jupyter"
        for line, name in imported(parsed(path))
        if name.partition(".")[0] in NOTEBOOK_ONLY
    ]
    assert faults == []


@pytest.mark.parametrize(
    ("own", "source"),
    [
        ("core", "from gleitzeit_nb.llm import pool"),
        ("core", "def f():\n    import gleitzeit_nb.events"),
        ("llm", "from gleitzeit_nb.sandbox.pool import SandboxPool"),
        ("engine", "from . import config"),
        ("batch", "from gleitzeit_nb import GleitzeitClient"),
    ],
)
def test_a_wrong_direction_is_found(own: str, source: str) -> None:
    assert direction_faults(own, ast.parse(source))


def test_a_right_direction_passes() -> None:
    source = "import json\nfrom gleitzeit_nb.core.load import peak\nfrom gleitzeit_nb import errors\nfrom gleitzeit_nb.llm import pool"
    assert direction_faults("llm", ast.parse(source)) == []


@pytest.mark.parametrize(
    "source", ["import asyncio", "from time import monotonic", "import random\nrandom.random()", "async def f(): ...", "open('x')"]
)
def test_impurity_is_found(source: str) -> None:
    assert purity_faults(ast.parse(source))


@pytest.mark.parametrize("source", ["import os\nos.environ['X']", "from os import environ", "import os\nos.getenv('X')"])
def test_reading_the_environment_is_found(source: str) -> None:
    assert environment_faults(ast.parse(source))


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after `code`."""
    tail = "\nimport sys; print('\\n'.join(sorted(name for name in sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code + tail], check=False, capture_output=True, text=True, timeout=120, cwd=SOURCE.parent)
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in done.stdout.splitlines()}


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = {"aiohttp", "asyncio", "docker", "httpx", "IPython", "ipywidgets", "pydantic", "requests", "starlette", "xllamacpp", "yaml"}
    assert loaded_by(f"import {PACKAGE}") & heavy == set()


def test_importing_the_package_starts_no_thread() -> None:
    code = f"import {PACKAGE}, threading; assert threading.enumerate() == [threading.main_thread()], threading.enumerate()"
    loaded_by(code)


def test_loading_the_extension_leaves_the_heavy_packages_alone() -> None:
    code = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        f"shell.run_line_magic('load_ext', '{PACKAGE}')\n"
        "assert 'llm' in shell.magics_manager.magics['cell'], 'the magics are not there'\n"
    )
    assert loaded_by(code) & {"aiohttp", "docker", "ipywidgets", "xllamacpp"} == set()
